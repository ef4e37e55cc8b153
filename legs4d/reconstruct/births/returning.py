"""Gaussians that are left behind by the object that they are: taken along by those that are on it.

Tracking moves what pictures show. What hands hide for a while, or what turns away, is pulled along by its neighbours
alone, and where a thing is thrown these are too slow. Object masks tell which Gaussians have left their object. All
were on it in the first frame, so that the motion of those that still are says where the others have to be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from legs4d.gaussians.formats.placing import quaternions
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.rigid import fit_robustly
from legs4d.reconstruct.births.clip import Clip
from legs4d.reconstruct.births.evidence import Evidence
from legs4d.reconstruct.fitting.quaternions import multiply
from legs4d.reconstruct.objects.votes import FAINTEST
from legs4d.reconstruct.views import look_up

STAYS = 0.7
"""Of the share of its pixels that show its object in the first frame: what has less left than this was left behind."""
LOST = 0.05
"""Share of an object's Gaussians that are left behind, and would lie better, from which they are carried."""
BETTER = 0.1
"""Share of the views by which more have to show its object where a Gaussian is carried than where it is: what is off
by an outline that errs comes to lie no better."""
CARRIERS = 200
"""Gaussians of the object that carry one along: all of a small thing, of a person the limb around it."""
LEAST = 1e-6
"""Weight of what is not on the object, so that there is always a motion."""


def with_returned(clip: Clip, evidence: list[Evidence], known: list[int], check: Callable[[], None]) -> Clip:
    """The clip with what its objects left behind back on them; the clip itself where they left nothing.

    Args:
        evidence: of the known frames, ascending, with the clip's objects, of static and moving Gaussians; each speaks
            for the frames that are nearer to it than to others.
    """
    standing = [_Standing.of(clip, one) for one in evidence]
    left = []
    for frame, now in zip(known, standing, strict=True):
        gone = now.left(standing[0], clip.objects)
        if len(gone):
            places = _carried(clip, gone, frame, now.weight)[0]
            gone = now.many(gone[_better(clip, gone, places, frame)], clip.objects)
        left.append(gone)
        check()
    found: dict[int, tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]] = {}
    for frame in range(clip.num_frames):
        nearest = int(np.argmin(np.abs(np.array(known) - frame)))
        if len(left[nearest]):
            found[frame] = left[nearest], *_carried(clip, left[nearest], frame, standing[nearest].weight)
        check()
    if not found:
        return clip
    dynamic = clip.dynamic

    def returned(frame: int) -> Gaussians:
        moving = dynamic(frame)
        if frame not in found:
            return moving
        left, means, quats = found[frame]
        moved, turned = moving.means.copy(), moving.quats.copy()
        moved[left], turned[left] = means, quats
        return moving.replace(means=moved, quats=turned)

    return replace(clip, dynamic=returned)


@dataclass(frozen=True)
class _Standing:
    """How the M moving Gaussians stand in a frame.

    Attributes:
        own: [M] pixels of its object that each fills, over all views; shown: [M] all pixels that it fills.
    """

    own: NDArray[np.float32]
    shown: NDArray[np.float32]

    @classmethod
    def of(cls, clip: Clip, evidence: Evidence) -> _Standing:
        moving = slice(len(clip.static), len(clip.static) + len(clip.objects))
        of_objects = np.pad(evidence.objects[moving], ((0, 0), (0, 1)))  # the last is nobody's
        return cls(of_objects[np.arange(len(clip.objects)), clip.objects], evidence.mass[moving])

    @property
    def share(self) -> NDArray[np.float32]:
        """[M] 0..1, of the pixels that each fills."""
        return (self.own / np.maximum(self.shown, FAINTEST)).astype(np.float32)

    @property
    def weight(self) -> NDArray[np.float32]:
        """[M] how much each says of where its object is."""
        return (self.own * self.share).astype(np.float32)

    def left(self, first: _Standing, objects: NDArray[np.int64]) -> NDArray[np.int64]:
        """Indices of those that were left behind since the first frame, of objects that lost many, but not all: then
        nothing is left that could carry them, as where masks no longer tell an object."""
        told = (objects >= 0) & (self.shown > FAINTEST)
        return self.many(np.flatnonzero(told & (self.share < STAYS * first.share)), objects)

    def many(self, gone: NDArray[np.int64], objects: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of those that are gone [K], indices, those whose objects lost many, but not all."""
        kept = np.ones(len(gone), np.bool_)
        for row in np.unique(objects[gone]):
            of_it, lost = objects == row, objects[gone] == row
            few = lost.sum() <= LOST * (of_it & (self.shown > FAINTEST)).sum()
            if few or self.own[of_it].max() <= FAINTEST:
                kept &= ~lost
        return gone[kept]


def _better(clip: Clip, which: NDArray[np.int64], places: NDArray[np.float32], frame: int) -> NDArray[np.bool_]:
    """[K] bool: more of the views in which it lies have its object there than where it is."""
    observed = clip.observe(frame)
    assert observed.labels is not None
    labels = torch.as_tensor(observed.labels)[..., None]
    numbers = torch.from_numpy(clip.ids[clip.objects[which]])

    def inside(means: NDArray[np.float32]) -> torch.Tensor:
        shown, seen = look_up(labels, observed.cameras, torch.from_numpy(means), clip.stage.near)
        hit = seen & (shown[..., 0] == numbers)
        return hit.sum(dim=0) / seen.sum(dim=0).clamp(min=1)

    return (inside(places) >= inside(clip.dynamic(frame).means[which]) + BETTER).numpy()


def _carried(
    clip: Clip, left: NDArray[np.int64], frame: int, weight: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(means, quats) in a frame of those that were left behind, moved as those of their object around them."""
    start, now, objects = clip.dynamic(0), clip.dynamic(frame).means, clip.objects
    means, quats = np.zeros((len(left), 3), np.float32), np.zeros((len(left), 4), np.float32)
    for row in np.unique(objects[left]):
        here, members = np.flatnonzero(objects[left] == row), np.flatnonzero(objects == row)
        which = left[here]
        near = cKDTree(start.means[members]).query(start.means[which], k=min(CARRIERS, len(members)))[1]
        carriers = members[near.reshape(len(which), -1)]
        fit = fit_robustly(start.means[carriers], now[carriers], weight[carriers] + LEAST)
        means[here] = np.einsum("bij,bj->bi", fit.rotation, start.means[which]) + fit.translation
        turn = torch.from_numpy(quaternions(fit.rotation))
        quats[here] = multiply(turn, torch.from_numpy(start.quats[which]).to(turn)).numpy()
    return means, quats
