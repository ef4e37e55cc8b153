"""Things that are not there in the first frame and come into the picture later.

No tracked Gaussian is on them, so that nothing could carry what is born there. They show as foreground that no moving
Gaussian covers. Where most of it shows, silhouettes give a surface (`visual_hull`) on which Gaussians begin. These are
fitted to that frame, then followed forwards and backwards as the others were, until they are no longer in the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from legs4d.config import ClipFitSettings
from legs4d.errors import DatasetError
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.progress import StageReporter
from legs4d.reconstruct.births.clip import Clip
from legs4d.reconstruct.births.evidence import FOREGROUND, drawn_depth, look, uncolored
from legs4d.reconstruct.births.patches import patches
from legs4d.reconstruct.births.seeds import round_gaussians
from legs4d.reconstruct.births.spans import said
from legs4d.reconstruct.initialise import AGREEMENT, FEWEST, MOTION_AGREEMENT, visual_hull
from legs4d.reconstruct.observation import Observation
from legs4d.reconstruct.refine import TrackedFrame, refine
from legs4d.reconstruct.tracker import Tracker
from legs4d.reconstruct.tracking import Motion, find_structure
from legs4d.reconstruct.views import look_up

THINGS = 4
"""That may enter at different times: each is begun where most of it shows that the ones before do not cover."""
TRIES = 2
"""Frames, those with most that is bare, in which views may agree on nothing before no more is looked for."""
PIXELS = 60
"""Of foreground that nothing moving covers, over all views of a frame, from which something has entered."""
SHARE = 0.5
"""Of its Gaussians in the picture that foreground has to cover for a thing to be there."""
AROUND = 3
"""Neighbours whose distance says how wide a new Gaussian is."""

Frames = dict[int, Gaussians]


def with_entered(
    clip: Clip,
    depth: dict[int, NDArray[np.float32]],
    most: int,
    settings: ClipFitSettings,
    reporter: StageReporter,
) -> Clip:
    """The clip with what enters it, as further moving Gaussians, which come after its own.

    Args:
        depth: frames to look for it in, and [C, H, W] how far away what moves is in their views, nan where nothing is.
        most: Gaussians that may begin.
        settings: of the fit to the frame in which they begin.

    Raises:
        Stopped: the reporter was told to stop.
    """
    bare, tries = {frame: _bare(clip.observe(frame), one) for frame, one in depth.items()}, TRIES
    for _ in range(THINGS + TRIES):
        shown = {frame: _pixels(one) for frame, one in bare.items()}
        reporter.check()
        if not tries or most <= AROUND or not shown or max(shown.values()) < PIXELS:
            return clip
        frame = max(shown, key=lambda one: shown[one])
        observed, alone = clip.observe(frame).to(clip.device), bare.pop(frame)
        begun = _begun(clip, observed, alone, most, reporter.check)
        if begun is not None:
            begun = _borne_out(clip, _fitted(clip, begun, observed, frame, settings, reporter), observed, frame)
        if begun is None or not len(begun):
            tries -= 1
            continue
        found = _followed(clip, begun, frame, reporter.check)
        most -= len(begun)
        clip = _joined(clip, found, _label(observed, alone))
        bare = {one: _bare_of(clip, one) for one in bare if one not in found}
    return clip


def _bare_of(clip: Clip, frame: int) -> NDArray[np.bool_]:
    observed = clip.observe(frame)
    return _bare(observed, drawn_depth(clip.moving(frame), observed.cameras, clip.stage.near, clip.device))


def _bare(observed: Observation, depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """[C, H, W] bool: patches of foreground where no moving Gaussian is drawn."""
    masks = observed.masks.cpu().numpy()
    return patches((masks >= FOREGROUND) & np.isnan(depth))


def _pixels(bare: NDArray[np.bool_]) -> int:
    """Over all views; 0 where too few views show any for a shape."""
    return int(bare.sum()) if bare.any(axis=(1, 2)).sum() >= FEWEST else 0


def _begun(
    clip: Clip, observed: Observation, bare: NDArray[np.bool_], most: int, check: Callable[[], None]
) -> Gaussians | None:
    """Gaussians on the surface of what is bare; None where views agree on nothing."""
    masks = torch.from_numpy(bare).to(observed.masks)
    count = min(most, int(bare.sum()))
    points = None
    # Where something hides it from some of the views they agree less. Most that is bare is an error of masks, on which
    # views agree not at all, and which costs one try so.
    for agreement in (MOTION_AGREEMENT, AGREEMENT):
        try:
            points = visual_hull(masks, observed.cameras, clip.stage, count, agreement, check, widely=SHARE)
        except DatasetError:
            break
    if points is None:
        return None
    target = uncolored(observed, clip.colors)
    values, seen = look_up(torch.cat([target, masks[..., None]], dim=-1), observed.cameras, points, clip.stage.near)
    shows = (seen & (values[..., 3] > FOREGROUND))[..., None]
    rgb = torch.where(shows, values[..., :3], torch.nan).nanmedian(dim=0).values.nan_to_num(nan=0.5)
    places = points.cpu().numpy().astype(np.float32)
    near = cKDTree(places).query(places, k=min(AROUND + 1, len(places)))[0][:, 1:].mean(axis=1)
    return round_gaussians(places, near, rgb.cpu().numpy().astype(np.float32), np.ones(len(places), np.bool_))


def _fitted(
    clip: Clip, begun: Gaussians, observed: Observation, frame: int, settings: ClipFitSettings, reporter: StageReporter
) -> Gaussians:
    """The new Gaussians as they suit their frame best, among all that is known of it."""
    if not settings.steps:
        return begun
    device = observed.images.device
    known = clip.at(frame).torch(device)
    frames = [TrackedFrame.of(observed, known)]
    return refine(
        begun.torch(device), known.opacities, frames, clip.colors, clip.stage, settings, reporter
    ).static.numpy()


def _borne_out(clip: Clip, begun: Gaussians, observed: Observation, frame: int) -> Gaussians:
    """Those that the pictures of their frame show: of silhouettes from one side alone a shape reaches far back."""
    known = clip.at(frame)
    evidence = look(concatenate(known, begun), observed, clip.colors, clip.stage.near)
    return begun.take(said(evidence, slice(len(known), None))[0])


def _followed(clip: Clip, begun: Gaussians, frame: int, check: Callable[[], None]) -> Frames:
    """The new Gaussians in their frame and all before and after it in which they are in the picture."""
    found = {frame: begun}
    settings, device = clip.tracking, clip.device
    structure = find_structure(begun.torch(device).means, settings)
    tracker = Tracker(clip.colors, structure, clip.stage, clip.floor, settings)
    for step, end in ((1, clip.num_frames), (-1, -1)):
        last = before = begun
        for other in range(frame + step, end, step):
            observed = clip.observe(other).to(device)
            now = last.torch(device)
            previous = before.torch(device)
            motion = Motion(now, (previous.means, previous.quats))
            moved, _ = tracker.track(motion, clip.at(other).torch(device), observed, other, check)
            if not _is_there(moved, observed, clip.stage.near):
                break
            before, last = last, moved.numpy()
            found[other] = last
    return found


def _is_there(gaussians: Gaussians, observed: Observation, near: float) -> bool:
    values, seen = look_up(observed.masks[..., None], observed.cameras, gaussians.means, near)
    on = (values[..., 0] >= FOREGROUND) & seen
    return bool(seen.any()) and float(on.sum()) >= SHARE * float(seen.sum())


def _label(observed: Observation, bare: NDArray[np.bool_]) -> int:
    """What masks call most of what is bare; 0 where they call it nothing."""
    return 0 if observed.labels is None else int(np.bincount(observed.labels[bare]).argmax())


def _joined(clip: Clip, found: Frames, label: int) -> Clip:
    count, first, last = len(next(iter(found.values()))), min(found), max(found)
    born, died = clip.spans
    ids = clip.ids if label == 0 or label in clip.ids else np.append(clip.ids, label)
    row = -1 if label == 0 else int(np.flatnonzero(ids == label)[0])
    dynamic = clip.dynamic
    return replace(
        clip,
        dynamic=lambda frame: concatenate(dynamic(frame), found[min(max(frame, first), last)]),
        objects=np.append(clip.objects, np.full(count, row)),
        ids=ids,
        entered=(
            np.append(born, np.full(count, first, np.int32)),
            np.append(died, np.full(count, last, np.int32)),
        ),
    )
