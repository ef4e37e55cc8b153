"""A run as video: its own cameras side by side, or one that circles it; with a prompt lit up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from legs4d.effects.highlight import fade, highlight
from legs4d.effects.video import grid, write_video
from legs4d.errors import Legs4dError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store import Run
from legs4d.grounding import query
from legs4d.grounding.masks import render_views
from legs4d.progress import OnProgress, StageReporter, StopSignal
from legs4d.raster import render
from legs4d.scene.camera import Cameras
from legs4d.scene.paths import orbit

ORBIT_RADIUS = 0.8
"""Of the filming cameras' median distance: inside their circle, where there are no walls."""


def choose_cameras(run: Run, wanted: str) -> list[Cameras]:
    """The cameras of each frame: "test", "train", "orbit" (one circle over the whole run) or ids such as "0,10".

    Raises:
        Legs4dError: there are no such cameras.
    """
    if wanted == "orbit":
        like = run.cameras("train")
        center, down = (np.array(run.info[name], np.float32) for name in ("center", "down"))
        circle = orbit(center, ORBIT_RADIUS * run.info["radius"], down, run.num_frames, like)
        return [circle.take([frame]) for frame in range(run.num_frames)]
    if wanted in ("train", "test"):
        return [run.cameras(wanted)] * run.num_frames  # type: ignore[arg-type]
    known: dict[int, Cameras] = {}
    for split in ("train", "test"):
        try:
            cameras = run.cameras(split)
        except Legs4dError:
            continue  # a run without test cameras is legal
        known |= {camera: cameras.take([i]) for i, camera in enumerate(cameras.ids)}
    names = [name.strip() for name in wanted.split(",")]
    if not all(name.isdigit() and int(name) in known for name in names):
        raise Legs4dError(
            f"{wanted!r} names no cameras of this run",
            where="--cameras",
            fix=f"use test, train, orbit, or some of {','.join(str(i) for i in sorted(known))}",
        )
    chosen = [known[int(name)] for name in names]
    together = Cameras(
        np.concatenate([c.world_to_camera for c in chosen]),
        np.concatenate([c.intrinsics for c in chosen]),
        chosen[0].width,
        chosen[0].height,
        tuple(c.ids[0] for c in chosen),
    )
    return [together] * run.num_frames


def write_run_video(
    run: Run,
    out: str | Path,
    cameras: str,
    prompt: str | None,
    device: torch.device,
    *,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> None:
    """Write every frame of a run, all chosen cameras in one picture, as a video or a folder of PNGs.

    Args:
        out: an .mp4, or a folder.
        cameras: see `choose_cameras`.
        prompt: lit up where and while it holds, the rest fading to grey; None shows the run as it is.

    Raises:
        Legs4dError: no such cameras, an unusable prompt, or `out` cannot be written.
    """
    per_frame = choose_cameras(run, cameras)
    near = run.info["near"]
    grounding = query(run, [prompt])[0] if prompt is not None else None
    amount = None
    if grounding is not None:
        amount = fade(np.array([grounding.holds(frame) for frame in range(run.num_frames)]))
    reporter = StageReporter("render", progress, stop)
    with write_video(out, run.info["fps"]) as write, torch.no_grad():
        for frame in range(run.num_frames):
            if grounding is not None and amount is not None:
                views = render_views(run, grounding, frame, per_frame[frame], near=near, device=device)
                pictures = highlight(views.color, views.matte, float(amount[frame]))
            else:
                pictures = _plain(run.frame(frame).torch(device), per_frame[frame], near)
            write(grid(pictures))
            reporter.step(frame + 1, run.num_frames)


def _plain(gaussians: Gaussians, cameras: Cameras, near: float) -> np.ndarray:
    return render(gaussians, cameras, near=near).color.clamp(0, 1).cpu().numpy()
