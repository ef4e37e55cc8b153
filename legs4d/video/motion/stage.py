"""Stage "motion" of all objects, kept object by object and, of the one at hand, every few seconds."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch

from legs4d.context import Context
from legs4d.priors.protocols import FlowPrior
from legs4d.video.input.clip import Clip
from legs4d.video.input.things import Thing
from legs4d.video.kept import Kept, State
from legs4d.video.motion.colors import Shown, shares_of, show
from legs4d.video.motion.fit import MotionFit, crop_cameras, relative_size, target_of
from legs4d.video.motion.tracks import Path, follow, pixel_crops, track
from legs4d.video.objects.canonical import Canonical
from legs4d.video.scene.compose import Moving
from legs4d.video.scene.filming import Filming
from legs4d.video.settings import VideoSettings


def fit_object(
    clip: Clip,
    things: list[Thing],
    row: int,
    canonical: Canonical,
    filming: Filming,
    flow: FlowPrior,
    settings: VideoSettings,
    device: torch.device,
    kept: Kept,
    context: Context,
) -> Shown:
    """Follow, fit and colour one object.

    Raises:
        Stopped: the stop signal is set; what is fitted is kept.
    """
    thing = things[row]
    path = follow(thing, settings.motion_side)
    count = clip.num_frames
    followed = track(
        clip, thing, path, canonical.points[: settings.most_tracked], flow, context.reporter("following_points")
    )
    others = [other for other in things if other is not thing]
    target = target_of(clip, thing, others, path, device)
    fit = MotionFit(canonical.blown, target, crop_cameras(filming, path), path, followed, settings, device)
    reporter = context.reporter("motion")
    of = fit.total + count
    kept.finish(f"fit-{thing.id}", fit, reporter, after=count)
    # bending is found in small crops; colours are those of the picture's own pixels

    def look_at(crops: Path) -> None:
        fit.look_at(target_of(clip, thing, others, crops, device), crop_cameras(filming, crops), crops)

    look_at(follow(thing, min(settings.seen_side, finest_side(path))))
    shares = shares_of(fit)
    look_at(pixel_crops(path, settings.color_side))
    shown = show(fit, shares, settings.color_steps, reporter, fit.total, of)
    reporter.step(of, of, fit.loss)
    return shown


def finest_side(path: Path) -> int:
    """Of crops whose pixels are those of the picture, where the object is largest, or that are as fine as `path`'s."""
    return max(path.crops[0].side, round(max(crop.scale * crop.side for crop in path.crops)))


def moving_of(shown: Shown, path: Path, filming: Filming) -> Moving:
    """An object's motion for the scene."""
    count = len(path.crops)
    centers = np.stack([filming.ray(frame, path.centers[frame]) for frame in range(count)])
    sizes = np.array([relative_size(filming, path, frame) for frame in range(count)])
    return Moving(
        shown.means,
        shown.quats,
        shown.colors,
        shown.scales,
        shown.opacities,
        shown.seen,
        centers,
        sizes,
        path.there,
        path.canonical,
    )


def as_state(shown: Shown) -> State:
    """To be kept."""
    return {f.name: np.asarray(getattr(shown, f.name)) for f in fields(Shown)}


def from_state(state: State) -> Shown:
    """What `as_state` gave."""
    return Shown(**{f.name: state[f.name] for f in fields(Shown)})
