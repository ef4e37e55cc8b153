"""The effects by name: from prompts and a camera path to a video."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch

from legs4d.context import QUIET, Context
from legs4d.effects.bullet_time import FULL, SECONDS, bullet_time
from legs4d.effects.cuts import Cut, find_cuts, write_json, write_otio
from legs4d.effects.film import Picture, intervals_of, lit, write_film
from legs4d.effects.highlight import DEFAULT_STYLE, GREY_REST
from legs4d.effects.run_video import VIRTUAL, choose_cameras, near_plane
from legs4d.effects.video import check_video_name
from legs4d.effects.zoom import FILL, zoom
from legs4d.gaussians.outputs import check_output
from legs4d.gaussians.store.run import Run
from legs4d.grounding import Grounding
from legs4d.scene.camera_path import Shot


class Kind(StrEnum):
    """What an effect does with a film.

    highlight: what a prompt names lights up, the rest goes dim and grey.
    desaturate: only what a prompt names keeps its colour.
    bullet_time: time stops at the prompt's moment, and the camera circles it.
    zoom: the cameras move to the action while it happens.
    scenes: only the scenes in which the prompts hold, one after another, with a cut list.
    """

    highlight = "highlight"
    desaturate = "desaturate"
    bullet_time = "bullet-time"
    zoom = "zoom"
    scenes = "scenes"


@dataclass(frozen=True)
class EffectSettings:
    """How effects are made; each matters to the effect that it is named after.

    Attributes:
        circle_seconds: of bullet time's circle, > 0.
        circle_degrees: of it, 0..360; less than 360 is swung through to either side.
        zoom_fill: share of the picture's shorter side that the action takes up, 0..1.
        scene_handles: seconds before and after each scene, ≥ 0.
    """

    circle_seconds: float = SECONDS
    circle_degrees: float = FULL
    zoom_fill: float = FILL
    scene_handles: float = 0.0


DEFAULT_SETTINGS = EffectSettings()


def write_effect(
    run: Run,
    kind: Kind,
    groundings: list[Grounding],
    out: str | Path,
    device: torch.device,
    context: Context = QUIET,
    *,
    cameras: str = "test",
    settings: EffectSettings = DEFAULT_SETTINGS,
) -> list[Path]:
    """Write an effect as a video; scenes also as x.json and x.otio beside it (`cuts`).

    Args:
        groundings: of this run; one, or for scenes at least one.
        out: see `video.write_video`.
        cameras: see `run_video.choose_cameras`.

    Returns:
        What was written, the video first.

    Raises:
        PromptError: a prompt was not found in the run.
        Legs4dError: there are no such cameras, they do not show what the prompt is about, or `out` cannot be written.
        ValueError: several groundings for an effect of one.
        Stopped: `stop` was set; no video is left.
    """
    if kind is not Kind.scenes and len(groundings) != 1:
        raise ValueError(f"{kind} is of one prompt, not {len(groundings)}")
    target = Path(out)
    check_video_name(target)
    check_output(run, target)
    for grounding in groundings:
        intervals_of(grounding)
    path = choose_cameras(run, cameras)
    near, shots = near_plane(run, path), path.shots
    cuts = find_cuts(groundings, round(settings.scene_handles * run.info["fps"])) if kind is Kind.scenes else []
    if kind is Kind.bullet_time:
        pictures = bullet_time(run, shots, groundings[0], settings.circle_seconds, settings.circle_degrees)
    elif kind is Kind.zoom:
        pictures = zoom(run, shots, groundings[0], near=near, fill=settings.zoom_fill)
    elif kind is Kind.scenes:
        pictures = scenes(shots, groundings, cuts)
    else:
        pictures = lit(shots, groundings[0])
    style = GREY_REST if kind is Kind.desaturate else DEFAULT_STYLE
    write_film(run, pictures, target, style, device, context, near=near)
    if kind is not Kind.scenes:
        return [target]
    filmed = cameras not in VIRTUAL and not cameras.endswith(".json")
    return [target, *_write_cuts(run, cuts, target, shots[0].cameras.ids[0] if filmed else None)]


def scenes(shots: list[Shot], groundings: list[Grounding], cuts: list[Cut]) -> list[Picture]:
    """The film's pictures of each cut, in the cuts' order, with the cut's prompt lit up."""
    lit_up = {grounding.prompt: lit(shots, grounding) for grounding in groundings}
    return [picture for cut in cuts for picture in lit_up[cut.prompt] if cut.start <= picture.frame <= cut.end]


def _write_cuts(run: Run, cuts: list[Cut], film: Path, camera: int | None) -> list[Path]:
    """x.json and x.otio beside x.mp4; the timeline's media are the camera's pictures, if it is one of the dataset's."""
    written = [film.with_suffix(".json"), film.with_suffix(".otio")]
    write_json(written[0], run, cuts)
    write_otio(written[1], run, cuts, film.name, camera)
    return written
