"""`legs4d video` against the truth: each of a capture's cameras taken as an ordinary video of one camera that stands.

    scripts/bench/video/truth.py CAPTURE WORK [--cameras 0,4,8] [--frames 0:23] [--full]

CAPTURE has cameras all around and object masks (`make demo` leaves out/demo/capture). Each camera's pictures and
masks become a video with a camera file, which tells its pose and the floor, as one who knows his studio would. What
comes of it is looked at from the other cameras: silhouettes against their masks, at four times the size, as the
rasteriser's blur of half a pixel is a tenth of a ball of ten; pixels where a nearer object stands do not count. Beside
each the same for a card: the frame's own mask, flat. Both are judged at the true distance, and the scene also where it
put things. Distances are against places that all
cameras' masks agree on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench.figures import parse, record
from legs4d.commands import Video
from legs4d.context import Context
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.raster import render
from legs4d.scene.camera import Cameras
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence
from legs4d.video.input.things import Crop, box_of, is_cut
from legs4d.video.objects.surface import blow_up
from legs4d.video.work import make_video_run

SUBJECT = "One ordinary video"
ANGLES = (30, 60, 90)
AIMS = {1: (0.60, 0.50, 0.50), 2: (0.60, 0.50, 0.50), 3: (0.90, 0.85, 0.85), 4: (0.85, 0.85, 0.85)}
"""IoU that the demo's people, ball and box should have from `ANGLES`."""
FINE = 4
"""Times the capture's size at which silhouettes are drawn."""
LEAST = 30
"""Pixels of a mask that is judged."""
WHOLE = 0.6
"""Of the area that an object has in most views, at one distance: less is hidden by something else."""
STILL_MOVES = 0.02
"""Scene units a frame by which something at rest may move."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Capture:
    """A capture's cameras (training and test ones), and its masks."""

    sequence: Sequence
    cameras: Cameras
    up: Floats
    floor: float

    @classmethod
    def read(cls, path: Path) -> Capture:
        sequence = open_sequence(path)
        cameras = sequence.cameras("train", 0)
        return cls(sequence, cameras, np.array([0.0, -1.0, 0.0]), 0.0)

    def ids(self, frame: int) -> NDArray[np.uint8]:
        """[C, H, W]."""
        found = self.sequence.objects("train", frame)
        assert found is not None, "the capture has object masks"
        return found

    def places(self, number: int, frame: int) -> Floats | None:
        """[3] where rays through the middles of an object's masks meet; None where too few show it."""
        matrix, aim, count = np.zeros((3, 3)), np.zeros(3), 0
        for camera, ids in enumerate(self.ids(frame)):
            mask = ids == number
            if mask.sum() < LEAST / 2 or is_cut(mask):
                continue
            rows, columns = np.nonzero(mask)
            pose, intrinsics = self.cameras.world_to_camera[camera], self.cameras.intrinsics[camera]
            ray = pose[:3, :3].T @ np.linalg.inv(intrinsics) @ [columns.mean() + 0.5, rows.mean() + 0.5, 1]
            ray /= np.linalg.norm(ray)
            across = np.eye(3) - np.outer(ray, ray)
            matrix += across
            aim += across @ self.cameras.centers[camera]
            count += 1
        return None if count < 3 else np.asarray(np.linalg.solve(matrix, aim), np.float64)


def write_video(capture: Capture, camera: int, folder: Path, frames: range) -> None:
    """One camera's pictures, masks and camera file."""
    for kind in ("JPEGImages/video", *(f"Annotations/video/{n:03d}" for n in objects_of(capture))):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for frame in frames:
        picture = capture.sequence.images("train", frame, [camera])[0]
        Image.fromarray(np.rint(picture * 255).astype(np.uint8)).save(folder / f"JPEGImages/video/{frame:05d}.png")
        ids = capture.ids(frame)[camera]
        for number in objects_of(capture):
            mask = ((ids == number) * 255).astype(np.uint8)
            Image.fromarray(mask).save(folder / f"Annotations/video/{number:03d}/{frame:05d}.png")
    cameras = capture.cameras
    told = {
        "w": cameras.width,
        "h": cameras.height,
        "up": capture.up.tolist(),
        "floor": [*capture.up.tolist(), capture.floor],
        "cameras": [
            {"w2c": cameras.world_to_camera[camera].tolist(), "k": cameras.intrinsics[camera].tolist(), "frame": 0}
        ],
    }
    (folder / "camera.json").write_text(json.dumps(told))


def objects_of(capture: Capture) -> list[int]:
    return sorted(int(n) for n in np.unique(capture.ids(0)) if n > 0)


def silhouettes(gaussians: Gaussians, cameras: Cameras, near: float) -> NDArray[np.bool_]:
    """[C, H, W] at the cameras' size."""
    with torch.no_grad():
        alpha = render(gaussians.torch(), cameras.scaled(FINE), near=near).alpha.numpy()
    count, height, width = len(cameras), cameras.height, cameras.width
    solid = (alpha > 0.5).astype(np.float32).reshape(count, height, FINE, width, FINE)
    return np.asarray(solid.mean(axis=(2, 4)) > 0.5)


def card(mask: NDArray[np.bool_], capture: Capture, camera: int, distance: float) -> Gaussians:
    """A frame's mask, flat, across its middle's ray at a distance (camera z)."""
    box = box_of(mask)
    assert box is not None
    size = 1.15 * max(box[2] - box[0], box[3] - box[1])
    crop = Crop.around((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, size, 96)
    matrix = crop.intrinsics(capture.cameras.intrinsics[camera])
    inside = crop.take(mask.astype(np.float32)) > 0.5
    flat = blow_up(np.zeros((96, 96, 3), np.float32), inside, matrix, flat=True).gaussians
    pose = capture.cameras.world_to_camera[camera].astype(np.float64)
    middle = np.linalg.inv(matrix) @ [48, 48, 1]
    places = (distance * (flat.means + middle) - pose[:3, 3]) @ pose[:3, :3]
    turned = Rotation.from_matrix(pose[:3, :3].T) * Rotation.from_quat(flat.quats[:, [1, 2, 3, 0]])
    return flat.replace(
        means=places.astype(np.float32),
        quats=turned.as_quat()[:, [3, 0, 1, 2]].astype(np.float32),
        scales=(flat.scales * distance).astype(np.float32),
    )


def judge(run: Run, capture: Capture, camera: int, frames: list[int], found: dict[str, Any]) -> None:
    """Add one camera's numbers: IoU by object and angle (scene, card), distances, the background."""
    cameras = capture.cameras
    report = run.info["report"]
    for frame in frames:
        ids = capture.ids(frame)
        everything = run.frame(frame)
        belongs = run.object_ids(frame)
        assert belongs is not None
        places = {n: capture.places(n, frame) for n in objects_of(capture)}
        for row, told in enumerate(report["objects"]):
            number = told["id"]
            here = places[number]
            if here is None or frame in told["hidden"]:
                continue
            depths = cameras.world_to_camera[:, 2, :3] @ here + cameras.world_to_camera[:, 2, 3]
            later = capture.places(number, min(frame + 1, capture.sequence.num_frames - 1))
            moves = later is not None and float(np.linalg.norm(later - here)) > STILL_MOVES
            off = abs(told["distance"][frame] / float(depths[camera]) - 1)
            found["distance"][number, "moves" if moves else "rests", told["routes"][frame]].append(off)
            areas = np.array([(ids[c] == number).sum() * depths[c] ** 2 for c in range(len(cameras))])
            if areas[camera] < WHOLE * np.quantile(areas, 0.7) or is_cut(ids[camera] == number):
                continue
            ray = here - cameras.centers[camera]
            others = here - cameras.centers
            cosine = others @ ray / np.linalg.norm(others, axis=1) / np.linalg.norm(ray)
            angles = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
            thing = everything.take(belongs == row)
            right = float(depths[camera]) / told["distance"][frame]
            eye = cameras.centers[camera]
            moved = thing.replace(means=eye + right * (thing.means - eye), scales=right * thing.scales)
            drawn = silhouettes(moved, cameras, run.info["near"])
            placed = silhouettes(thing, cameras, run.info["near"])
            flat = silhouettes(card(ids[camera] == number, capture, camera, float(depths[camera])), cameras, 0.05)
            for other in range(len(cameras)):
                mask = ids[other] == number
                if other == camera or mask.sum() < LEAST or is_cut(mask):
                    continue
                nearest = min(ANGLES, key=lambda angle: abs(angle - angles[other]))
                if abs(nearest - angles[other]) > 15:
                    continue
                before = np.zeros(mask.shape, bool)
                for n, there in places.items():
                    if n != number and there is not None:
                        z = cameras.world_to_camera[other, 2, :3] @ there + cameras.world_to_camera[other, 2, 3]
                        if z < depths[other]:
                            before |= ids[other] == n
                for name, shown in (("shape", drawn[other]), ("card", flat[other]), ("placed", placed[other])):
                    shown = shown & ~before
                    found["iou"][number, nearest, name].append(float((shown & mask).sum() / (shown | mask).sum()))
        static = everything.take(np.arange(len(belongs)) < run.num_static)
        with torch.no_grad():
            plate = render(static.torch(), cameras, near=run.info["near"]).color.clamp(0, 1).numpy()
            seen = run.seen(frame)
            assert seen is not None
            marks = static.replace(
                colors=np.repeat((seen[: len(static), None] - 0.5) / 0.2820948, 3, 1).astype(np.float32)
            )
            known = render(marks.torch(), cameras, near=run.info["near"]).color.numpy()[..., 0] > 0.9
        truth = capture.sequence.images("train", frame)
        ray = np.array(run.info["center"]) - cameras.centers[camera]
        for other in range(len(cameras)):
            own = np.array(run.info["center"]) - cameras.centers[other]
            angle = np.degrees(np.arccos(np.clip(own @ ray / np.linalg.norm(own) / np.linalg.norm(ray), -1, 1)))
            free = (ids[other] == 0) & known[other]
            if (other == camera or angle < 20) and free.mean() > 0.2:
                error = ((plate[other] - truth[other]) ** 2)[free].mean()
                found["plate"]["own" if other == camera else "aside"].append(float(-10 * np.log10(error)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--cameras", default="0,4,8")
    parser.add_argument("--frames", default=None)
    parser.add_argument("--full", action="store_true", help="not lite")
    parser.add_argument("--every", type=int, default=4, help="frames between two that are judged")
    given = parse(parser)
    capture = Capture.read(given.capture)
    first, last = map(int, given.frames.split(":")) if given.frames else (0, capture.sequence.num_frames - 1)
    found: dict[str, Any] = {name: defaultdict(list) for name in ("iou", "distance", "plate")}
    for camera in map(int, given.cameras.split(",")):
        folder = given.work / f"camera{camera}"
        write_video(capture, camera, folder / "video", range(first, last + 1))
        began = time.perf_counter()
        make_video_run(
            Video(
                source=str(folder / "video"),
                out=str(folder / "run"),
                camera_file=str(folder / "video" / "camera.json"),
                fps=float(capture.sequence.fps),
                lite=not given.full,
                scale=1.0,
            ),
            Context("auto", tell=print),
        )
        run = Run.open(folder / "run")
        print(f"camera {camera}: {time.perf_counter() - began:.0f} s, {run.info['report']['seconds']}", flush=True)
        judge(run, capture, camera, list(range(0, last + 1 - first, given.every)), found)
    how = f"cameras {given.cameras}, {'full' if given.full else 'lite'}"
    print("object  from  shape  card   as placed  views")
    for number in sorted({key[0] for key in found["iou"]}):
        for angle in ANGLES:
            own, flat, put = (found["iou"][number, angle, name] for name in ("shape", "card", "placed"))
            if own:
                print(f"{number:6} {angle:4}°  {np.mean(own):.3f} {np.mean(flat):.3f}  {np.mean(put):.3f}  {len(own)}")
                what = f"demo's object {number} from {angle}°, {how}: IoU of silhouettes (a card: {np.mean(flat):.2f})"
                aim = f"{AIMS[number][ANGLES.index(angle)]:.2f}" if number in AIMS else ""
                record(SUBJECT, what, float(np.mean(own)), aim=aim)
    for key in sorted(found["distance"], key=str):
        off = found["distance"][key]
        print(f"distance of {key[0]} ({key[1]}, {key[2]}): {100 * np.median(off):.1f} % median of {len(off)}")
    for kind, aim in (("rests", "5 %"), ("moves", "20 %")):
        off = [100 * value for key, values in found["distance"].items() if key[1] == kind for value in values]
        if off:
            print(f"distance of all that {kind}: {np.median(off):.1f} % median of {len(off)}, {max(off):.1f} % at most")
            record(SUBJECT, f"demo, {how}: distance of what {kind}, median", float(np.median(off)), "%", aim=aim)
    for name, values in found["plate"].items():
        print(f"background, {name}: {np.mean(values):.2f} dB of {len(values)}")
        aim = {"own": "28 dB", "aside": "22 dB"}[name]
        record(SUBJECT, f"demo, {how}: PSNR of the background, {name}", float(np.mean(values)), "dB", aim=aim)


if __name__ == "__main__":
    main()
