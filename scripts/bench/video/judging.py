"""A video's scene against a capture of the same by other cameras, with masks: shapes, distances, background.

Silhouettes are looked at from the capture's cameras, against their masks, at four times the size, as the rasteriser's
blur of half a pixel is a tenth of a ball of ten; pixels where a nearer object stands do not count. Beside each the same
for a card: the video's own mask, flat. Both are judged at the true distance, and the scene also where it put things.
Distances are against places that all cameras' masks agree on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from bench.figures import record
from legs4d.gaussians.gaussians import Gaussians, dc_from_rgb
from legs4d.gaussians.store.run import Run
from legs4d.raster import render
from legs4d.scene.camera import Cameras
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence
from legs4d.video.input.things import Crop, box_of, is_cut
from legs4d.video.objects.surface import blow_up

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
ASIDE = 20
"""Degrees from where it was filmed, up to which cameras judge the background."""
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


def objects_of(capture: Capture) -> list[int]:
    return sorted(int(n) for n in np.unique(capture.ids(0)) if n > 0)


def silhouettes(gaussians: Gaussians, cameras: Cameras, near: float) -> NDArray[np.bool_]:
    """[C, H, W] at the cameras' size."""
    with torch.no_grad():
        alpha = render(gaussians.torch(), cameras.scaled(FINE), near=near).alpha.numpy()
    count, height, width = len(cameras), cameras.height, cameras.width
    solid = (alpha > 0.5).astype(np.float32).reshape(count, height, FINE, width, FINE)
    return np.asarray(solid.mean(axis=(2, 4)) > 0.5)


def card(mask: NDArray[np.bool_], camera: Cameras, distance: float) -> Gaussians:
    """A frame's mask, flat, across its middle's ray at a distance (camera z)."""
    box = box_of(mask)
    assert box is not None
    size = 1.15 * max(box[2] - box[0], box[3] - box[1])
    crop = Crop.around((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, size, 96)
    matrix = crop.intrinsics(camera.intrinsics[0])
    inside = crop.take(mask.astype(np.float32)) > 0.5
    flat = blow_up(np.zeros((96, 96, 3), np.float32), inside, matrix, flat=True).gaussians
    pose = camera.world_to_camera[0].astype(np.float64)
    middle = np.linalg.inv(matrix) @ [48, 48, 1]
    places = (distance * (flat.means + middle) - pose[:3, 3]) @ pose[:3, :3]
    turned = Rotation.from_matrix(pose[:3, :3].T) * Rotation.from_quat(flat.quats, scalar_first=True)
    return flat.replace(
        means=places.astype(np.float32),
        quats=turned.as_quat(scalar_first=True).astype(np.float32),
        scales=(flat.scales * distance).astype(np.float32),
    )


@dataclass(frozen=True)
class Film:
    """The video that a run was made of, and where it truly was filmed.

    Attributes:
        ids: frame → [H, W] object ids; picture: frame → [H, W, 3] 0..1; camera: frame → its camera, in the capture's
            world.
        own: which of the capture's cameras it is, None where it is none of them.
        unit: the capture's units in one of the run's.
    """

    ids: Callable[[int], NDArray[np.uint8]]
    picture: Callable[[int], NDArray[np.float32]]
    camera: Callable[[int], Cameras]
    own: int | None
    unit: float

    def there(self, run: Run, frame: int, gaussians: Gaussians, factor: float) -> Gaussians:
        """A run's Gaussians in the capture's world, seen from its camera as before, `factor` times as far away."""
        own, true = (c.world_to_camera[0].astype(np.float64) for c in (run.cameras("train", frame), self.camera(frame)))
        local = factor * (gaussians.means @ own[:3, :3].T + own[:3, 3])
        turn = Rotation.from_matrix(true[:3, :3].T @ own[:3, :3])
        turned = turn * Rotation.from_quat(gaussians.quats, scalar_first=True)
        return gaussians.replace(
            means=((local - true[:3, 3]) @ true[:3, :3]).astype(np.float32),
            quats=turned.as_quat(scalar_first=True).astype(np.float32),
            scales=gaussians.scales * np.float32(factor),
        )


def new_figures() -> dict[str, Any]:
    """What `judge` adds to."""
    return {name: defaultdict(list) for name in ("iou", "distance", "plate")}


def judge(run: Run, capture: Capture, film: Film, frames: list[int], found: dict[str, Any]) -> None:
    """Add a run's numbers: IoU by object and angle (scene, card), distances, the background."""
    for frame in frames:
        everything, belongs = run.frame(frame), run.object_ids(frame)
        assert belongs is not None
        places = {number: capture.places(number, frame) for number in objects_of(capture)}
        for row, told in enumerate(run.info["report"]["objects"]):
            if frame not in told["hidden"]:
                _judge_object(run, capture, film, frame, told, everything.take(belongs == row), places, found)
        static = everything.take(np.arange(len(belongs)) < run.num_static)
        _judge_background(run, capture, film, frame, static, places, found)


def _judge_object(
    run: Run,
    capture: Capture,
    film: Film,
    frame: int,
    told: dict[str, Any],
    thing: Gaussians,
    places: dict[int, Floats | None],
    found: dict[str, Any],
) -> None:
    cameras, number, ids, mine = capture.cameras, told["id"], capture.ids(frame), film.ids(frame)
    here = places[number]
    if here is None:
        return
    camera = film.camera(frame)
    depth = float(camera.world_to_camera[0, 2, :3] @ here + camera.world_to_camera[0, 2, 3])
    depths = cameras.world_to_camera[:, 2, :3] @ here + cameras.world_to_camera[:, 2, 3]
    later = capture.places(number, min(frame + 1, capture.sequence.num_frames - 1))
    moves = later is not None and float(np.linalg.norm(later - here)) > STILL_MOVES
    distance = film.unit * told["distance"][frame]
    found["distance"][number, "moves" if moves else "rests", told["routes"][frame]].append(abs(distance / depth - 1))
    # areas at one distance and focal length
    focals = cameras.intrinsics[:, 0, 0]
    areas = np.array([(ids[c] == number).sum() * (depths[c] / focals[c]) ** 2 for c in range(len(cameras))])
    shown = mine == number
    area = shown.sum() * (depth / camera.intrinsics[0, 0, 0]) ** 2
    if area < WHOLE * np.quantile(areas, 0.7) or is_cut(shown):
        return
    eye = camera.centers[0]
    ray, others = here - eye, here - cameras.centers
    cosine = others @ ray / np.linalg.norm(others, axis=1) / np.linalg.norm(ray)
    angles = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    near = film.unit * run.info["near"]
    drawn = {
        "shape": silhouettes(film.there(run, frame, thing, depth / told["distance"][frame]), cameras, near),
        "placed": silhouettes(film.there(run, frame, thing, film.unit), cameras, near),
        "card": silhouettes(card(shown, camera, depth), cameras, 0.05),
    }
    for other in range(len(cameras)):
        mask = ids[other] == number
        if other == film.own or mask.sum() < LEAST or is_cut(mask):
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
        for name, solid in drawn.items():
            own = solid[other] & ~before
            found["iou"][number, nearest, name].append(float((own & mask).sum() / (own | mask).sum()))


def _judge_background(
    run: Run,
    capture: Capture,
    film: Film,
    frame: int,
    static: Gaussians,
    places: dict[int, Floats | None],
    found: dict[str, Any],
) -> None:
    seen, near = run.seen(frame), film.unit * run.info["near"]
    assert seen is not None
    marks = dc_from_rgb(np.repeat(seen[: len(static), None], 3, axis=1))
    placed = film.there(run, frame, static, film.unit)

    def compare(cameras: Cameras, ids: NDArray[np.uint8], truth: NDArray[np.float32], name: str) -> None:
        with torch.no_grad():
            plate = render(placed.torch(), cameras, near=near).color[0].clamp(0, 1).numpy()
            known = render(placed.replace(colors=marks).torch(), cameras, near=near).color[0].numpy()[..., 0] > 0.9
        free = (ids == 0) & known
        if free.mean() > 0.2:
            found["plate"][name].append(float(-10 * np.log10(((plate - truth) ** 2)[free].mean())))

    camera = film.camera(frame)
    compare(camera, film.ids(frame), film.picture(frame), "own")
    middle = np.average([place for place in places.values() if place is not None], axis=0)
    ray, truth = middle - camera.centers[0], capture.sequence.images("train", frame)
    for other in range(len(capture.cameras)):
        way = middle - capture.cameras.centers[other]
        angle = np.degrees(np.arccos(np.clip(way @ ray / np.linalg.norm(way) / np.linalg.norm(ray), -1, 1)))
        if other != film.own and angle < ASIDE:
            compare(capture.cameras.take([other]), capture.ids(frame)[other], truth[other], "aside")


def tell(found: dict[str, Any], how: str) -> None:
    """Print the tables, and keep the figures.

    Args:
        how: the video was made, for the figures' names.
    """
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
