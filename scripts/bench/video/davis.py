"""`legs4d video` on real clips with masks of every frame (DAVIS, as DreamScene4D has them).

    scripts/bench/video/davis.py FOLDER WORK [--clips rollerblade,kid-football,stroller] [--parts scene,carry,truth]
                                  [--full] [--first]

FOLDER holds clips in the layout of DreamScene4D. Of each object: PSNR over its own pixels as it was filmed, beside that
of a card (the frame that shows it best, moved and scaled as the object); the IoU of silhouettes, how far their middles
lie apart, and which share of the points that the first frame shows is still inside the object in the last. Masks of the
first frame alone are carried through the clip, to the next frame and on and on; `truth` is what flow would do that was
told where the object is in both frames.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench.figures import parse, record
from legs4d.commands import Video
from legs4d.context import QUIET, Context
from legs4d.gaussians.store.run import Run
from legs4d.priors.flow.dis import DisFlow
from legs4d.raster import render
from legs4d.video.input.carried import _Carrier, carry
from legs4d.video.input.clip import Clip, open_clip
from legs4d.video.input.masks import masks_beside, read_masks
from legs4d.video.input.things import Crop, Thing, box_of
from legs4d.video.motion.tracks import follow
from legs4d.video.work import make_video_run


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max((one | other).sum(), 1))


def decibels(off: NDArray[np.floating]) -> float:
    return float(-10 * np.log10(max(float(np.mean(off)), 1e-10)))


def card(clip: Clip, thing: Thing) -> list[float]:
    """PSNR of each frame if the best frame's picture is moved and scaled as the object."""
    path = follow(thing, 256)
    best = path.crops[path.canonical].take(clip.picture(path.canonical))
    found = []
    for frame in np.flatnonzero(path.there).tolist():
        crop = path.crops[frame]
        inside = crop.take(thing.masks[frame].astype(np.float32)) > 0.5
        if inside.any():
            found.append(decibels((best - crop.take(clip.picture(frame)))[inside] ** 2))
    return found


def middle(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()])


SUBJECT = "One ordinary video"
DRAWN, CARRIED = 27.0, {"rollerblade": [0.92], "kid-football": [0.969, 0.987], "stroller": [0.930, 0.976]}
"""dB over objects, and IoU of masks carried to the next frame, that they should have."""
INSIDE = {"rollerblade": [0.75], "kid-football": [0.90, 0.98], "stroller": [0.80, 0.95]}
"""Of the first frame's points, that should be inside at the end."""


def judge(run: Run, clip: Clip, things: list[Thing], name: str, how: str) -> None:
    for row, told in enumerate(run.info["report"]["objects"]):
        thing = next(one for one in things if one.id == told["id"])
        quality, apart, alike = [], [], []
        for frame in np.flatnonzero(thing.areas >= 24).tolist():
            everything = run.frame(frame)
            ids = run.object_ids(frame)
            assert ids is not None
            camera = run.cameras("train", frame)
            with torch.no_grad():
                whole = render(everything.torch(), camera, near=run.info["near"]).color[0].clamp(0, 1).numpy()
                own = render(everything.take(ids == row).torch(), camera, near=run.info["near"]).alpha[0].numpy() > 0.5
            mask = thing.masks[frame]
            quality.append(decibels((whole - clip.picture(frame))[mask] ** 2))
            others = np.any([one.masks[frame] for one in things if one is not thing] or [np.zeros_like(mask)], axis=0)
            alike.append(overlap(own & ~others, mask))
            if (own & ~others).any():
                apart.append(float(np.linalg.norm(middle(own & ~others) - middle(mask))))
        flat, kept = np.mean(card(clip, thing)), inside(run, thing, row)
        print(
            f"  {told['id']}: {np.mean(quality):.1f} dB (card {flat:.1f}), IoU {np.mean(alike):.3f}, middles "
            f"{np.mean(apart):.2f} px apart (most {max(apart):.2f}), inside at the end {kept:.2f}"
        )
        called, value = f"{name} {told['id']}, {how}", float(np.mean(quality))
        record(SUBJECT, f"{called}: PSNR over the object (a card: {flat:.1f} dB)", value, "dB", aim=f"{DRAWN:g} dB")
        record(SUBJECT, f"{called}: IoU of silhouettes", float(np.mean(alike)))
        record(SUBJECT, f"{called}: middles of silhouettes apart", float(np.mean(apart)), "pixels", aim="2 pixels")
        least = INSIDE.get(name, [])[row : row + 1]
        record(SUBJECT, f"{called}: points inside at the end", kept, aim=f"{least[0]:g}" if least else "")


def inside(run: Run, thing: Thing, row: int) -> float:
    """Share of the Gaussians that the first frame shows in front which lie in the object's mask in the last."""
    shown = np.flatnonzero(thing.areas >= 24)
    first, last = int(shown[0]), int(shown[-1])

    def pixels(frame: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
        ids = run.object_ids(frame)
        assert ids is not None
        places = run.frame(frame).means[ids == row].astype(np.float64)
        camera = run.cameras("train", frame)
        local = places @ camera.world_to_camera[0, :3, :3].T + camera.world_to_camera[0, :3, 3]
        pixel = local @ camera.intrinsics[0].T
        at = np.floor(pixel[:, :2] / pixel[:, 2:]).astype(int)
        height, width = thing.masks.shape[1:]
        there = (at >= 0).all(1) & (at[:, 0] < width) & (at[:, 1] < height)
        at = np.clip(at, 0, [width - 1, height - 1])
        return at, local[:, 2], there & thing.masks[frame][at[:, 1], at[:, 0]]

    at, depth, within = pixels(first)
    nearest = np.full(thing.masks.shape[1:], np.inf)
    np.minimum.at(nearest, (at[:, 1], at[:, 0]), depth)
    front = within & (depth <= nearest[at[:, 1], at[:, 0]] * 1.002)
    return float(pixels(last)[2][front].mean())


def carried(clip: Clip, things: list[Thing], name: str) -> None:
    for row, thing in enumerate(things):
        true = thing.masks.copy()
        carrier, step, velocity = _Carrier(clip), [], np.zeros(2)
        for frame in range(1, clip.num_frames):
            mask, velocity = carrier.next(frame - 1, frame, true[frame - 1], velocity)
            step.append(overlap(mask, true[frame]))
        carry(clip, [thing], 0, QUIET.reporter("carrying"))
        chain = [overlap(thing.masks[frame], true[frame]) for frame in range(1, clip.num_frames)]
        thing.masks[:] = true
        print(
            f"  {thing.id}: masks carried to the next frame IoU {np.mean(step):.3f}; from the first on "
            f"{np.mean(chain):.3f} (at the end {chain[-1]:.3f})",
            flush=True,
        )
        least = CARRIED.get(name, [])[row : row + 1]
        aim = f"{least[0]:g}" if least else ""
        record(SUBJECT, f"{name} {thing.id}: IoU of masks carried to the next frame", float(np.mean(step)), aim=aim)
        record(SUBJECT, f"{name} {thing.id}: IoU of masks carried on from the first frame", float(np.mean(chain)))


def by_truth(clip: Clip, things: list[Thing], name: str) -> None:
    """Masks brought to the next frame by flow in crops that both frames' true masks tell, the objects alone on grey:
    what no video has of which the first frame's masks are all that is known."""
    flow, side = DisFlow(), 256
    for thing in things:
        found: dict[str, list[float]] = {"box": [], "flow": []}
        for frame in range(1, clip.num_frames):
            masks = [thing.masks[frame - 1], thing.masks[frame]]
            boxes = [box_of(mask) for mask in masks]
            if boxes[0] is None or boxes[1] is None:
                continue
            crops = [
                Crop.around((b[0] + b[2]) / 2, (b[1] + b[3]) / 2, max(b[2] - b[0], b[3] - b[1]) / 0.65, side)
                for b in boxes
                if b is not None
            ]
            cut = [crop.take(mask.astype(np.float32)) for crop, mask in zip(crops, masks, strict=True)]
            shown = [
                crop.take(clip.picture(at)) * mask[..., None] + 0.5 * (1 - mask[..., None])
                for crop, mask, at in zip(crops, cut, (frame - 1, frame), strict=True)
            ]
            back = flow.flow(shown[1], shown[0])
            rows, columns = np.mgrid[0:side, 0:side].astype(np.float64)
            moved = map_coordinates(cut[0], [rows + back[..., 1], columns + back[..., 0]], order=1)
            for how, mask in (("box", cut[0]), ("flow", moved)):
                found[how].append(overlap(_Carrier._put_back(mask > 0.5, crops[1], masks[1].shape), masks[1]))
        box, own = (float(np.mean(found[how])) for how in ("box", "flow"))
        print(f"  {thing.id}: by the next frame's true box IoU {box:.3f}, and flow between the true cut-outs {own:.3f}")
        record(SUBJECT, f"{name} {thing.id}: IoU of masks brought to the next frame by its true box and cut-out", own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--clips", default="rollerblade,kid-football,stroller")
    parser.add_argument("--full", action="store_true", help="not lite")
    parser.add_argument("--first", action="store_true", help="of the masks the first frame's alone are given")
    parser.add_argument("--scale", type=float, default=None)
    parser.add_argument(
        "--parts", default="scene,carry", help="the scene; first masks carried on; truth: brought on by truth"
    )
    given = parse(parser)
    how = ("full" if given.full else "lite") + ("" if given.scale is None else f", scale {given.scale:g}")
    how += ", first masks alone" if given.first else ""
    for name in given.clips.split(","):
        clip = open_clip(given.folder / name, QUIET.reporter("reading"), scale=given.scale)
        folder = masks_beside(clip)
        assert folder is not None
        things = read_masks(clip, folder, QUIET.reporter("reading"))
        if "carry" in given.parts.split(","):
            carried(clip, things, name)
        if "truth" in given.parts.split(","):
            by_truth(clip, things, name)
        if "scene" not in given.parts.split(","):
            continue
        began, busy = time.perf_counter(), time.process_time()
        out = given.work / name
        asked = Video(
            source=str(given.folder / name),
            out=str(out),
            first=given.first,
            lite=not given.full,
            scale=given.scale,
            fps=24.0,
        )
        make_video_run(asked, Context("auto", tell=print))
        run = Run.open(out)
        told = run.info["report"]
        spent, used = time.perf_counter() - began, time.process_time() - busy
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{name}: {spent:.0f} s, {used:.0f} s of a core, {peak:.1f} GiB; camera {told['camera']['route']}")
        judge(run, clip, things, name, how)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
