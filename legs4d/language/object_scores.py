"""A generated object beside the video that it was made of, in CLIP's space: what `legs4d eval --clip` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d.context import QUIET, Context
from legs4d.errors import EncoderError, RunError
from legs4d.gaussians.store.run import Run
from legs4d.generate.subject.source import read_subject
from legs4d.generate.work import STAGE
from legs4d.language.encoders import get_encoder
from legs4d.language.encoders.openclip import OpenClipEncoder
from legs4d.language.metrics import clip_score, clip_t
from legs4d.raster.rasterise import render
from legs4d.reconstruct.stages import choose_device
from legs4d.scene.camera import Cameras

VIEWS = 10
"""Renderings of each moment, in a level circle from the front on."""
SIDES = {"front": 0.0, "right": 90.0, "back": 180.0}
"""Degrees from which CLIP-T is taken."""


def object_scores(run: Run, encoder: str, context: Context = QUIET) -> dict[str, Any]:
    """{clip, clip_t, clip_t_sides: {front, right, back}, encoder, frames}, lower being more alike, of RGB on white.

    Args:
        encoder: "openclip:MODEL", whose weights the context names.

    Raises:
        RunError: it was not made of a video.
        EncoderError: the encoder is no model of open_clip, or its weights are not there.
    """
    made = run.info.get("made_from", {})
    if run.info.get("kind") != "generated" or not Path(str(made.get("source", ""))).exists():
        raise RunError(
            "is not of `legs4d object`, or the video that it was made of is gone",
            where=str(run.path),
            fix="--clip compares an object with its video",
        )
    looking = get_encoder(encoder, context.files)
    if not isinstance(looking, OpenClipEncoder):
        raise EncoderError("does not see single pictures", where=encoder, fix="give openclip:MODEL")
    device = choose_device(context.engine)
    model = looking.vision(device)
    size = looking.input_size
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (looking.mean, looking.std))

    def seen(pictures: torch.Tensor) -> NDArray[np.float64]:
        """[N, D] of pictures [N, H, W, 3] in 0..1."""
        values = torch.nn.functional.interpolate(
            pictures.to(device).permute(0, 3, 1, 2), (size, size), mode="bicubic", antialias=True
        ).clamp(0, 1)
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        parts = ((values - mean) / std).to(dtype).split(model.batch)
        return np.concatenate([model.embed_frames(part).float().cpu().numpy() for part in parts]).astype(np.float64)

    record = run.stages[STAGE].made_from
    chosen = None if record is None else record.settings.get("frames")
    frames = None if chosen is None else (int(chosen[0]), int(chosen[1]))
    centred = run.info["report"]["prior"] != "given"
    subject = read_subject(
        Path(made["source"]), 256, device, context.reporter("reading_pictures"), frames=frames, centred=centred
    )
    shown = torch.from_numpy(subject.pictures[: run.num_frames].astype(np.float32) / np.float32(255))
    reference = seen(shown[..., :3] + 1 - shown[..., 3:])
    front = run.cameras("train").take([0]).scaled(0.5)
    center = np.array(run.info["center"])
    around = [turned(front, center, run.up, 360 * number / VIEWS) for number in range(VIEWS)]
    sides = [turned(front, center, run.up, degrees) for degrees in SIDES.values()]
    found: list[NDArray[np.float64]] = []
    steps: dict[str, list[NDArray[np.float64]]] = {name: [] for name in SIDES}
    reporter = context.reporter("looking")
    for frame in range(run.num_frames):
        reporter.step(frame, run.num_frames)
        now = run.frame(frame).torch(device)

        cameras = Cameras.together([*around, *sides])
        drawn = render(now, cameras, background=torch.ones(3, device=device), near=run.info["near"])
        features = seen(drawn.color.clamp(0, 1))
        found.append(features[:VIEWS])
        for name, one in zip(SIDES, features[VIEWS:], strict=True):
            steps[name].append(one)
    each = {name: clip_t(np.stack(features)) for name, features in steps.items()}
    return {
        "clip": clip_score(np.stack(found), reference),
        "clip_t": float(np.mean(list(each.values()))),
        "clip_t_sides": each,
        "encoder": looking.name,
        "frames": run.num_frames,
    }


def turned(camera: Cameras, center: NDArray[np.float64], up: NDArray[np.float64], degrees: float) -> Cameras:
    """A camera [1] after it has gone around a point, about `up`, towards its own right."""
    turn = Rotation.from_rotvec(np.radians(degrees) * up).as_matrix()
    pose = camera.world_to_camera[0].astype(np.float64)
    # What was seen of x is now seen of turn x.
    found = pose.copy()
    found[:3, :3] = pose[:3, :3] @ turn.T
    found[:3, 3] = pose[:3, 3] + pose[:3, :3] @ (center - turn.T @ center)
    return Cameras(found[None].astype(np.float32), camera.intrinsics, camera.width, camera.height, camera.ids)
