"""A run as video: its own cameras side by side, one that circles it, or a camera path; with a prompt lit up.

Beside the colours, on request, in files of their own:

- depth: near plane / depth, so white at the near plane and black where less than half of a pixel is filled (PNGs have
  16 bits; depth in scene units is near / value);
- alpha: how much of a pixel the Gaussians fill;
- segmentation: how much of a pixel the foreground's Gaussians fill;
- mask, similarity, segments, components: of the run's selections and segments, see `segment_layers`.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.effects.backdrop import AUTO, backdrop_of, before
from legs4d.effects.highlight import fade, highlight
from legs4d.effects.segment_layers import SEGMENT_LAYERS, SegmentLayers
from legs4d.effects.video import check_video_name, grid, write_video
from legs4d.errors import Legs4dError, RunError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.nodes import SAME_TIME, frame_between, read_nodes
from legs4d.gaussians.outputs import check_output
from legs4d.gaussians.part import part_of
from legs4d.gaussians.store.footage import place_of_footage
from legs4d.gaussians.store.run import Run
from legs4d.grounding import Grounding
from legs4d.grounding.masks import OPAQUE, render_views
from legs4d.portable.pointing import DEFAULT_SCALE
from legs4d.raster import render
from legs4d.scene.camera import Cameras
from legs4d.scene.camera_path import CameraPath, Shot, read_camera_path
from legs4d.scene.paths import arc, orbit
from legs4d.scene.readers import open_sequence, reading_of
from legs4d.scene.sequence import Split

VIRTUAL = ("orbit", "arc")
"""Cameras that nobody filmed with."""
ORBIT_RADIUS = 0.8
"""Of the filming cameras' median distance: inside their circle, where there are no walls."""

STILL_PICTURES = 120
"""Of the circle around a run of one frame."""

Layer = Literal["depth", "alpha", "segmentation", "mask", "similarity", "segments", "components"]


def choose_cameras(run: Run, wanted: str, fps: float | None = None, pictures: int | None = None) -> CameraPath:
    """The film's pictures: "test", "train", "orbit" (one circle over the whole run), "arc" (up and down before it,
    where the first camera is), ids such as "0,10", or the name of a camera path's file (`scene.camera_path`), which
    ends in .json. A run that nobody filmed has no test cameras: there "test" is the orbit.

    Args:
        fps: pictures a second, of moments between frames too; None: a picture a frame. A camera path's are its own.
        pictures: of "orbit" or "arc", while the run goes by once; None: as many as there are moments.

    Raises:
        Legs4dError: there are no such cameras, or not at every moment, or not so many pictures of them.
    """
    if pictures is not None and (wanted not in VIRTUAL or fps is not None):
        raise Legs4dError("are of an orbit or an arc without --fps", where="--pictures", fix="leave it out, or --fps")
    if wanted.endswith(".json"):
        like = run.cameras("train") if run.has_cameras else None
        return read_camera_path(Path(wanted), run.num_frames, like)
    if wanted in VIRTUAL or (wanted == "test" and run.info.get("cameras") == "virtual"):
        like = run.cameras("train")
        center = np.array(run.info["center"], np.float32)
        if pictures is not None:
            moments = np.linspace(0, run.num_frames - 1, pictures).tolist()
        else:
            moments = _moments(run, fps) if run.num_frames > 1 else [0.0] * STILL_PICTURES
        radius, count = ORBIT_RADIUS * run.info["radius"], len(moments)
        if wanted == "arc":
            circle = arc(center, radius, -run.up, like.centers[0] - center, count, like)
        else:
            circle = orbit(center, radius, -run.up, count, like)
        return CameraPath([Shot(circle.take([at]), moment) for at, moment in enumerate(moments)], None)
    filmed = _filming_cameras(run)
    if wanted == "test" and not any(len(cameras["test"]) for cameras in filmed):
        raise RunError("has no test cameras", where=str(run.path), fix="use train, or orbit")
    if fps is not None:
        moments = _moments(run, fps)
        return CameraPath([Shot(_at(run, filmed[0], wanted, moment), moment) for moment in moments], None)
    is_split = wanted in ("train", "test")
    chosen = [cameras[wanted] for cameras in filmed] if is_split else _by_number(filmed, wanted)
    return CameraPath([Shot(cameras, frame) for frame, cameras in enumerate(chosen) if len(cameras)], None)


def _moments(run: Run, fps: float | None) -> list[float]:
    """What a film of a run shows, in frames: every frame, or so many moments a second of the time that it took."""
    if fps is None:
        return [float(frame) for frame in range(run.num_frames)]
    times = np.array(run.info.get("times") or np.arange(run.num_frames) / run.info["fps"])
    moments = np.arange(int(times[-1] * fps + SAME_TIME) + 1) / fps
    return [float(moment) for moment in np.interp(moments, times, np.arange(run.num_frames))]


def _at(run: Run, first: dict[str, Cameras], wanted: str, moment: float) -> Cameras:
    """Cameras that are asked for, at a moment: those that stand still, and of moving ones a single one that films."""
    if not run.info.get("cameras_move"):
        return first[wanted] if wanted in first else _by_number([first], wanted)[0]
    splits: tuple[Split, ...] = ("train", "test") if run.has_test_cameras else ("train",)
    tracks = {split: run.track(split) for split in splits}
    for split, track in tracks.items():
        if track is None:
            continue
        ids = track.cameras.ids
        if track.is_one and (split == "train" or len(set(ids)) == 1) and wanted in (split, str(ids[0])):
            return track.between(moment)
        asked = [i for i, camera in enumerate(ids) if wanted in (split, str(camera))]
        if (still := _still(track.cameras.take(asked))) is not None:
            return still
    train = tracks["train"]
    raise Legs4dError(
        f"cameras {wanted!r} move, and are not known between frames",
        where="--fps",
        fix="use --cameras orbit or path.json" + (", or train" if train is not None and train.is_one else ""),
    )


def _still(taken: Cameras) -> Cameras | None:
    """Each of the cameras that took these pictures, if all of them stand still; of one picture each nobody knows."""
    first, where = ([taken.ids.index(camera) for camera in ids] for ids in (dict.fromkeys(taken.ids), taken.ids))
    stands = np.array_equal(taken.world_to_camera, taken.world_to_camera[where])
    zooms = not np.array_equal(taken.intrinsics, taken.intrinsics[where])
    return taken.take(first) if stands and not zooms and len(first) < len(taken) else None


def _filming_cameras(run: Run) -> list[dict[str, Cameras]]:
    """The training and the test cameras of each frame."""
    if run.info.get("cameras_move") and run.track("train") is not None:
        none, tested = run.cameras("train").take([]), run.has_test_cameras
        return [
            {"train": run.cameras("train", frame), "test": run.cameras("test", frame) if tested else none}
            for frame in range(run.num_frames)
        ]
    if run.info.get("cameras_move"):  # older runs keep the cameras of the first frame alone, but footage tells
        sequence = open_sequence(place_of_footage(run), reading_of(run.info), found=False)
        splits: tuple[Split, Split] = ("train", "test")
        return [{split: sequence.cameras(split, frame) for split in splits} for frame in range(run.num_frames)]
    train = run.cameras("train")
    return [{"train": train, "test": run.cameras("test") if run.has_test_cameras else train.take([])}] * run.num_frames


def _by_number(filmed: list[dict[str, Cameras]], wanted: str) -> list[Cameras]:
    """The cameras of these numbers in each frame; a moving camera's test pictures have their own, in one frame each."""
    known = {camera for cameras in filmed for split in cameras.values() for camera in split.ids}
    names = [name.strip() for name in wanted.split(",")]
    if not all(name.isdigit() and int(name) in known for name in names):
        raise Legs4dError(
            f"{wanted!r} names no cameras of this run",
            where="--cameras",
            fix=f"use test, train, orbit, arc, path.json, or some of {','.join(str(i) for i in sorted(known))}",
        )
    numbers = [int(name) for name in names]
    return [_together([_pick(cameras, n) for n in numbers], cameras["train"].take([])) for cameras in filmed]


def _pick(cameras: dict[str, Cameras], number: int) -> Cameras:
    """The camera of this number, or none."""
    for split in cameras.values():
        if number in split.ids:
            return split.take([split.ids.index(number)])
    return cameras["train"].take([])


def _together(chosen: list[Cameras], none: Cameras) -> Cameras:
    chosen = [cameras for cameras in chosen if len(cameras)]
    if not chosen:
        return none
    return Cameras(
        np.concatenate([c.world_to_camera for c in chosen]),
        np.concatenate([c.intrinsics for c in chosen]),
        chosen[0].width,
        chosen[0].height,
        tuple(c.ids[0] for c in chosen),
    )


def layer_path(out: Path, layer: Layer) -> Path:
    """Where a layer is written: film_depth.mp4 beside film.mp4, and pictures_depth/ beside pictures/."""
    return out.with_name(f"{out.stem}_{layer}{out.suffix}")


def write_run_video(
    run: Run,
    out: str | Path,
    cameras: str,
    grounding: Grounding | None,
    device: torch.device,
    context: Context = QUIET,
    *,
    layers: Several[Layer] = (),
    fps: float | None = None,
    pictures: int | None = None,
    selections: Several[str] = (),
    without: Several[str] = (),
    scale: float = DEFAULT_SCALE,
    background: str = AUTO,
) -> list[Path]:
    """Write every picture of a film, all chosen cameras in one picture, as a video or a folder of PNGs.

    Args:
        out: an .mp4, a .mov, or a folder.
        cameras: see `choose_cameras`.
        grounding: a prompt's, lit up where and while it holds, the rest fading to grey; None shows the run as it is.
        layers: what to write besides, each in a file of its own (`layer_path`).
        fps: pictures a second, see `choose_cameras`; by default the run's frames, as fast as they were filmed.
        pictures: see `choose_cameras`; they are shown as fast as the run's frames were filmed.
        selections: names of selections; what belongs to any of them is shown alone.
        without: likewise of what is not shown. Layers of segments show it all the same, as they are seen among the
            rest.
        scale: 0..1, of the layer `segments`.
        background: see `backdrop.backdrop_of`.

    Returns:
        What was written: `out`, then the layers.

    Raises:
        Legs4dError: no such cameras or colour, or a file cannot be written.
        Stopped: the stop signal is set; no video is left, of PNGs those that were done.
    """
    target = Path(out)
    check_video_name(target)
    check_output(run, target)
    behind = backdrop_of(run, background, target)
    path = choose_cameras(run, cameras, fps, pictures)
    near, rate = near_plane(run, path), fps or run.info["fps"]
    nodes = read_nodes(run)
    of_segments = [layer for layer in SEGMENT_LAYERS if layer in layers]
    things = SegmentLayers(run, of_segments, selections, scale) if of_segments else None
    run = part_of(run, selections, without, keep_places=True)
    amount = None
    if grounding is not None:
        amount = fade(np.array([grounding.holds(frame) for frame in range(run.num_frames)]))
    reporter = context.reporter("render")
    files = {layer: layer_path(target, layer) for layer in dict.fromkeys(layers)}
    with ExitStack() as stack, torch.no_grad():
        write = stack.enter_context(write_video(target, rate))
        extra = {
            layer: stack.enter_context(write_video(file, rate, deep=layer == "depth")) for layer, file in files.items()
        }
        for done, shot in enumerate(path.shots, 1):
            if grounding is not None and amount is not None:
                held = grounding.nearest_held(shot.frame)
                views = render_views(
                    *(run, grounding, shot.frame, shot.cameras),
                    near=near,
                    device=device,
                    lit_as=held,
                    shown=frame_between(run, shot.moment, nodes),
                )
                share = float(np.interp(shot.moment, np.arange(len(amount)), amount))
                write(grid(before(behind, highlight(views.color, views.matte, share), views.alpha)))
            if grounding is None or extra:
                color, made = _render(frame_between(run, shot.moment, nodes), shot.cameras, near, device)
                if things is not None:
                    made |= cast(dict[Layer, NDArray[np.float32]], things.pictures(shot, near, device))
                if grounding is None:
                    write(grid(before(behind, color, made["alpha"])))
                for layer, append in extra.items():
                    append(grid(made[layer]))
            reporter.step(done, len(path.shots))
    return [target, *files.values()]


def near_plane(run: Run, path: CameraPath) -> float:
    """The near plane of a film, scene units. Raises Legs4dError when neither the path nor the run tells one."""
    near = path.near if path.near is not None else run.info.get("near")
    if near is None:
        raise Legs4dError(
            "has no near plane, as it was made without footage",
            where=str(run.path),
            fix='give "near" in the camera path, or import it with --dataset',
        )
    return float(near)


def _render(
    shown: Gaussians, cameras: Cameras, near: float, device: torch.device
) -> tuple[NDArray[np.float32], dict[Layer, NDArray[np.float32]]]:
    """Colours [C, H, W, 3], and the layers, [C, H, W] in 0..1."""
    gaussians = shown.torch(device)
    foreground = gaussians.is_foreground[:, None].to(torch.float32)
    rendered = render(gaussians, cameras, foreground, near=near, depth=True)
    assert rendered.depth is not None and rendered.features is not None
    nearness = torch.where(rendered.alpha >= OPAQUE, near * rendered.alpha / rendered.depth.clamp(min=near / 2), 0)
    layers: dict[Layer, torch.Tensor] = {
        "depth": nearness,
        "alpha": rendered.alpha,
        "segmentation": rendered.features[..., 0],
    }
    return rendered.color.clamp(0, 1).cpu().numpy(), {name: v.clamp(0, 1).cpu().numpy() for name, v in layers.items()}
