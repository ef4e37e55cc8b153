"""A generated object beside the video that it was made of: what `legs4d eval` prints of such a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d.context import QUIET, Context
from legs4d.errors import EncoderError, Legs4dError, RunError
from legs4d.gaussians.store.run import Run
from legs4d.generate.subject.source import read_subject
from legs4d.generate.work import STAGE
from legs4d.language.encoders import get_encoder
from legs4d.language.encoders.openclip import OpenClipEncoder
from legs4d.language.metrics import clip_score, clip_t
from legs4d.language.xclip import XClip
from legs4d.priors.perceptual.lpips import open_lpips
from legs4d.raster.rasterise import render
from legs4d.reconstruct.fitting.losses import ssim
from legs4d.reconstruct.stages import choose_device
from legs4d.scene.camera import Cameras
from legs4d.scene.images import as_unit

VIEWS = 10
"""Renderings of each moment, in a level circle from the front on."""
SIDES = {"front": 0.0, "right": 90.0, "back": 180.0}
"""Degrees from which CLIP-T is taken, and X-CLIP."""
SIZE = 256
"""Pixels of what is compared."""


@dataclass(frozen=True)
class Asked:
    """What is measured beside PSNR and SSIM.

    Attributes:
        lpips: "alex", "vgg" or a file of weights.
        clip: "openclip:MODEL", whose weights the context names.
        xclip: the folder of an X-CLIP; words: what the video should show, by default what the run was made of.
    """

    lpips: str | Path | None = None
    clip: str | None = None
    xclip: Path | None = None
    words: str | None = None


def is_object(run: Run) -> bool:
    """Whether a run is of `legs4d object`."""
    return bool(run.info.get("kind") == "generated")


def object_scores(run: Run, asked: Asked = Asked(), context: Context = QUIET) -> dict[str, Any]:
    """How a run compares with its video, both in RGB on white.

    Returns:
        {frames, psnr, ssim, lpips, per_frame: [dB]}: from the video's own camera, `lpips` None where it is not asked
        for. With `clip` also {clip, clip_t, clip_t_sides: {front, right, back}, encoder}, lower being more alike. With
        `xclip` also {xclip, xclip_sides, words}, higher being more alike.

    Raises:
        RunError: it was not made of a video.
        EncoderError: the encoder is no model of open_clip, or its weights are not there.
        Legs4dError: other weights are not there, or there are no words for X-CLIP.
    """
    made = run.info.get("made_from", {})
    if not is_object(run) or not Path(str(made.get("source", ""))).exists():
        raise RunError(
            "is not of `legs4d object`, or the video that it was made of is gone",
            where=str(run.path),
            fix="objects are compared with their video",
        )
    device = choose_device(context.engine)
    seen = None if asked.clip is None else _seeing(asked.clip, device, context)
    told = None if asked.xclip is None else XClip(asked.xclip, device)
    words = asked.words or _words_of(run)
    if told is not None and not words:
        fix = "say what the video should show by --text"
        raise Legs4dError("there are no words to compare with", where="--xclip", fix=fix)
    distance = None if asked.lpips is None else open_lpips(asked.lpips, device)
    reference = _reference(run, device, context)
    front, center = run.cameras("train").take([0]), np.array(run.info["center"])
    front = front.scaled(SIZE / front.width)
    sides = len(SIDES) if seen is not None or told is not None else 1  # the front is looked at in any case
    degrees = [*SIDES.values()][:sides] + [360 * number / VIEWS for number in range(VIEWS) if seen is not None]
    cameras = Cameras.together([turned(front, center, run.up, each) for each in degrees])
    white, near = torch.ones(3, device=device), run.info["near"]
    films: list[torch.Tensor] = []
    features: list[NDArray[np.float64]] = []
    scores: list[tuple[float, float, float | None]] = []
    reporter = context.reporter("looking")
    for frame in range(run.num_frames):
        reporter.step(frame, run.num_frames)
        color = render(run.frame(frame).torch(device), cameras, background=white, near=near).color.clamp(0, 1)
        own, truth = color[:1].contiguous(), reference[frame : frame + 1]
        apart = float((own - truth).square().mean())
        felt = None if distance is None else float(distance(own, truth))
        scores.append((-10 * float(np.log10(max(apart, 1e-10))), float(ssim(own, truth).mean()), felt))
        if told is not None:
            films.append(color[:sides].cpu())
        if seen is not None:
            features.append(seen(color))
    psnr, alike, felt_all = zip(*scores, strict=True)
    found: dict[str, Any] = {"frames": run.num_frames, "psnr": float(np.mean(psnr)), "ssim": float(np.mean(alike))}
    found |= {"lpips": None if distance is None else float(np.mean(felt_all)), "per_frame": [*psnr]}
    if seen is not None:
        moments = np.stack(features)
        each = {name: clip_t(moments[:, row]) for row, name in enumerate(SIDES)}
        found |= {"clip": clip_score(moments[:, sides:], seen(reference))}
        found |= {"clip_t": float(np.mean(list(each.values()))), "clip_t_sides": each, "encoder": asked.clip}
    if told is not None and words:
        shown = torch.stack(films)
        by_side = {name: told.score(shown[:, row], words) for row, name in enumerate(SIDES)}
        found |= {"xclip": float(np.mean(list(by_side.values()))), "xclip_sides": by_side, "words": words}
    return found


def _settings_of(run: Run) -> dict[str, Any]:
    record = run.stages[STAGE].made_from
    return {} if record is None else record.settings


def _words_of(run: Run) -> str | None:
    """What an object was made of, and what it should do, where that was words."""
    settings = _settings_of(run)
    return ". ".join(str(said) for said in (settings.get("words"), settings.get("prompt")) if said) or None


def _reference(run: Run, device: torch.device, context: Context) -> torch.Tensor:
    """[T, S, S, 3] of the video on white, of each of the run's moments the nearest picture."""
    settings, report = _settings_of(run), run.info["report"]
    chosen = settings.get("frames")
    subject = read_subject(
        Path(run.info["made_from"]["source"]),
        SIZE,
        device,
        context.reporter("reading_pictures"),
        frames=None if chosen is None else (int(chosen[0]), int(chosen[1])),
        fps=settings.get("fps"),
        centred=report.get("centred", report["prior"] != "given"),
    )
    moments = np.arange(len(subject)) / subject.fps
    which = np.abs(np.array(run.info["times"])[:, None] - moments).argmin(axis=1)
    shown = torch.from_numpy(as_unit(subject.pictures[which])).to(device)
    return shown[..., :3] + 1 - shown[..., 3:]


def _seeing(encoder: str, device: torch.device, context: Context) -> Callable[[torch.Tensor], NDArray[np.float64]]:
    """[N, D] of pictures [N, H, W, 3] in 0..1 as a model of open_clip sees them."""
    looking = get_encoder(encoder, context.files)
    if not isinstance(looking, OpenClipEncoder):
        raise EncoderError("does not see single pictures", where=encoder, fix="give openclip:MODEL")
    model = looking.vision(device)
    size = looking.input_size
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (looking.mean, looking.std))
    dtype = torch.float16 if device.type == "cuda" else torch.float32

    def seen(pictures: torch.Tensor) -> NDArray[np.float64]:
        values = torch.nn.functional.interpolate(
            pictures.to(device).permute(0, 3, 1, 2), (size, size), mode="bicubic", antialias=True
        ).clamp(0, 1)
        parts = ((values - mean) / std).to(dtype).split(model.batch)
        return np.concatenate([model.embed_frames(part).float().cpu().numpy() for part in parts]).astype(np.float64)

    return seen


def turned(camera: Cameras, center: NDArray[np.float64], up: NDArray[np.float64], degrees: float) -> Cameras:
    """A camera [1] after it has gone around a point, about `up`, towards its own right."""
    turn = Rotation.from_rotvec(np.radians(degrees) * up).as_matrix()
    pose = camera.world_to_camera[0].astype(np.float64)
    # What was seen of x is now seen of turn x.
    found = pose.copy()
    found[:3, :3] = pose[:3, :3] @ turn.T
    found[:3, 3] = pose[:3, 3] + pose[:3, :3] @ (center - turn.T @ center)
    return Cameras(found[None].astype(np.float32), camera.intrinsics, camera.width, camera.height, camera.ids)
