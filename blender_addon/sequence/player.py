"""A sequence's arrays at any moment of the capture, between two captured frames too, on their way into its clouds."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import bpy
import numpy as np

from .. import names
from ..cache.frames import STEPS, RunCache
from ..layers import layers
from ..layers.layers import Weight
from ..portable.averaging import around, averaged
from ..selection import frames, mask
from . import attributes, timing
from .bending import Bending
from .carried import Carried
from .changing import Changing
from .highlighter import Highlighter
from .loose import LooseFrames
from .nodes import Poses
from .properties import cloud_of
from .sequence import Sequence

Array = np.ndarray[Any, Any]

Moment = tuple[tuple[Weight, ...], int, float, float]
"""How layers show, the capture frame, the share of the way to the next, and capture frames per scene frame."""

_WEIGHTS = "legs4d:weights"
BENT = "legs4d:bent"
"""Custom property of a cloud of still points whose nodes bend it."""
KEPT_MEANS = 3
"""Means of frames that are kept, as a moment needs that of the next frame too."""
NEARLY_UNTURNED = 0.9999
"""Cosine between two quaternions above which their linear blend is shorter than 1 by less than 0.00003."""


class Player:
    """A sequence's buffers: made once, so that a frame change allocates little."""

    def __init__(self, cache: RunCache) -> None:
        self.cache = cache
        points = cache.description.num_dynamic
        constants = cache.dynamic()
        self._opacities = np.array(constants["opacities"])
        self._born, self._died = np.array(constants["born"]), np.array(constants["died"])
        self._always = not self._born.any() and bool((self._died >= cache.description.num_frames - 1).all())
        self._position, self._step = np.empty((points, 3), np.float32), np.empty((points, 3), np.float32)
        self._rotation, self._next_rotation = np.empty((points, 4), np.float32), np.empty((points, 4), np.float32)
        self._color, self._next_color = np.empty((points, 3), np.float32), np.empty((points, 3), np.float32)
        self._radiance = np.empty((points, 4), np.float32)
        self._radiance[:, 3] = self._opacities
        self._is_dimmed = False
        self._changing = Changing(cache) if cache.description.changing else None
        self._dynamic = Highlighter(points)
        self._static = Highlighter(cache.description.num_static)
        self._loose = LooseFrames(cache)
        self._carried = Carried(cache)
        self._bending, self._still = Bending(cache), np.empty((0, 3), np.float32)
        self.poses: Poses | None = None
        self._reach, self._means = 0, OrderedDict[tuple[int, ...], dict[str, Array]]()
        self.last: Moment | None = None
        self._placed = False

    def show(
        self,
        scene: bpy.types.Scene,
        shown: Sequence,
        layers_only: bool,
        complete: bool = True,
        looks: Sequence | None = None,
        poses: Poses | None = None,
    ) -> tuple[str, list[bpy.types.Object]]:
        """Write the scene's moment, or what its layers say only.

        Args:
            poses: of its control nodes that are there as empties.
            looks: the sequence as Blender evaluated it at this moment; without it what it will be is told ahead.
            complete: with the view dependence that frames have; without it, it stays that of another frame.

        Returns:
            What is missing, as a sentence, and the objects that were written.
        """
        at = scene.frame_current_final
        moment = self.moment(looks or shown, at)
        if self._reach != shown.its.averaging:
            self._reach = shown.its.averaging
            self._means.clear()
        weights, frame, share, rate = moment
        self.last, touched, problem = moment, [], ""
        still, moving, loose = shown.static_object, shown.dynamic_object, shown.loose_object
        if not layers_only:
            self.poses = poses
        bent = still is not None and not layers_only and self._bend_static(cloud_of(still), poses)
        if still is not None and (self._show_static(cloud_of(still), weights) or bent):
            touched.append(still)
        if moving is None and loose is None:
            return "", touched
        if not self.cache.has_frame(frame):
            return (
                f"Frame {frame} of '{shown.empty.name}' has not arrived yet; the points keep their last frame.",
                touched,
            )
        if loose is not None:
            masks = frames.masks(shown.empty, self.cache, frame)
            self._loose.show(cloud_of(loose), frame, weights, masks, layers_only=layers_only, sh=complete)
            touched.append(loose)
        if moving is None:
            return "", touched
        if share and not self.cache.has_frame(frame + 1):
            problem = f"Frame {frame + 1} of '{shown.empty.name}' has not arrived yet; frame {frame} shows until then."
            share = 0.0
        stretched = timing.clock(scene, 1.0)
        per_second = rate * stretched * scene.render.fps / scene.render.fps_base
        bound_at = shown.its.bound_at
        if self._bending.lacks(self.poses, bound_at):
            problem = problem or (
                f"Frame {bound_at} of '{shown.empty.name}', in which points hang on nodes, has not arrived yet; the "
                "moving points do not bend until then."
            )
        if not layers_only:
            self._show_frame(cloud_of(moving), frame, share, per_second, bound_at)
            if self._changing is not None:
                self._changing.show(cloud_of(moving), frame, share, sh=complete)
        self._show_relevancy(cloud_of(moving), frame, share, weights, complete)
        return problem, [*touched, moving]

    def take_over(self, other: Player, cloud: bpy.types.PointCloud, some: Array, now: Moment) -> bool:
        """Go on from where another player of the run is, if a cloud, a copy of its own, shows `now`; whether it does.

        What layers say of `now` may differ.

        Args:
            some: [P] numbers of points to compare.
        """
        if other.last is None or not other._placed or other.last[1:] != now[1:]:
            return False
        data: Any = cloud.attributes[names.POSITION]
        if len(cloud.points) != len(other._position) or not np.array_equal(
            [data.data[int(index)].vector for index in some], other._position[some]
        ):
            return False
        np.copyto(self._position, other._position)
        self._placed, self.last = True, now
        return True

    def shows_layers_of(self, other: Player, still: bpy.types.PointCloud | None) -> bool:
        """Whether copies of another player's clouds show layers as this one has to: alike but for the layers' ids.

        Args:
            still: the copied cloud of what does not move, if there is one, on which that is noted.
        """
        assert self.last is not None and other.last is not None, "after take_over"
        here, there = self.last[0], other.last[0]
        if [replace(one, layer_id="") for one in here] != [replace(one, layer_id="") for one in there]:
            return False
        if still is not None:
            if still.get(_WEIGHTS) != _signature(there):
                return False
            still[_WEIGHTS] = _signature(here)
        return True

    @property
    def position(self) -> Array | None:
        """[M, 3] where the points that move were shown last; None before the first time."""
        return self._position if self._placed else None

    def still(self, cloud: bpy.types.PointCloud) -> Array | None:
        """[N, 3] where the points that do not move were shown last; None where that is not known."""
        if not cloud.get(BENT):
            return self.cache.static()["means"]
        return self._still if len(self._still) == len(cloud.points) else None

    @staticmethod
    def moment(shown: Sequence, at: float) -> Moment:
        """What is shown at a scene frame, as F-curves count."""
        frame, share = timing.shown_frames(shown.empty, at)
        return layers.weights(shown, at), frame, share, timing.rate(shown.empty, at)

    def _show_frame(
        self, cloud: bpy.types.PointCloud, frame: int, share: float, per_second: float, bound_at: int = 0
    ) -> None:
        """Write a moment.

        Args:
            per_second: capture frames that pass in a second of the scene's clock.
            bound_at: as in `Bending.move`.
        """
        arrays = self._state(frame)
        np.copyto(self._position, arrays["means"])
        self._placed = True
        self._find_step(frame)
        np.multiply(arrays["quats"], STEPS["quats"], out=self._rotation)
        np.multiply(arrays["colors"], STEPS["colors"] * np.float32(1.0 - share), out=self._color)
        if self._changing is not None:
            self._opacities = self._changing.opacities(frame, share, self._opacities)
        if not self._always:
            np.multiply(self._opacities, self._alive(frame), out=self._radiance[:, 3])
        elif self._changing is not None or self._is_dimmed:
            self._radiance[:, 3] = self._opacities
        if share:
            self._move_on(frame, share)
        if self.poses is not None:
            self._bending.move(cloud, self._position, self._rotation, self.poses, frame, share, bound_at)
        np.copyto(self._radiance[:, :3], self._color)
        keep = mask.kept(cloud)  # read every time: undo changes it, too
        self._is_dimmed = keep is not None
        if keep is not None:
            self._radiance[:, 3] *= keep
        self._step *= np.float32(per_second)
        for name, values in (
            (names.POSITION, self._position),
            (names.ROTATION, self._rotation),
            (names.RADIANCE, self._radiance),
            (names.VELOCITY, self._step),
        ):
            attributes.write(cloud, name, names.CLOUD_ATTRIBUTES[name], values)

    def _state(self, frame: int) -> dict[str, Array]:
        """A frame as the cache has it, or the mean of the frames around it; of those that are here."""
        if not self._reach:
            return self.cache.frame(frame)
        near = around(frame, self._reach, self.cache.description.num_frames, self.cache.has_frame)
        key = frame, *near  # another one when more of them have arrived
        if key not in self._means:
            others = [(self.cache.frame(one), self._alive(one).astype(np.float32)) for one in near if one != frame]
            self._means[key] = averaged(self.cache.frame(frame), others)
            while len(self._means) > KEPT_MEANS:
                self._means.popitem(last=False)
        return self._means[key]

    def _alive(self, frame: int) -> Array:
        return np.logical_and(self._born <= frame, self._died >= frame)

    def _find_step(self, frame: int) -> None:
        """How far each point moves until the next frame; in the last one, how far it moved since the one before."""
        if self.cache.has_frame(frame + 1):
            np.subtract(self._state(frame + 1)["means"], self._position, out=self._step)
        elif frame > 0 and self.cache.has_frame(frame - 1):
            np.subtract(self._position, self._state(frame - 1)["means"], out=self._step)
        else:
            self._step.fill(0.0)

    def _move_on(self, frame: int, share: float) -> None:
        """Take the buffers from `frame` the share of the way to the next frame."""
        later, carried = self._state(frame + 1), self._carried.is_any and not self._reach
        np.multiply(self._step, np.float32(share), out=self._next_color)  # as room for the part of the way
        here = None if self._always and not carried else self._position.copy()
        self._position += self._next_color
        np.multiply(later["quats"], STEPS["quats"], out=self._next_rotation)
        then = later["means"], self._next_rotation.copy() if carried else self._next_rotation
        now = None if here is None else (here, self._rotation.copy())
        turn_on(self._rotation, self._next_rotation, share)
        if now is not None and carried:
            self._carried.place(self._position, self._rotation, now, then, frame, share)
        np.multiply(later["colors"], STEPS["colors"] * np.float32(share), out=self._next_color)
        self._color += self._next_color
        if here is not None and not self._always:
            self._come_and_go(frame, share, here, later["means"])

    def _come_and_go(self, frame: int, share: float, here: Array, there: Array) -> None:
        """What dies or is born between two frames fades where it last or first was: elsewhere it never was."""
        now, then = self._alive(frame), self._alive(frame + 1)
        dying, born = np.flatnonzero(now & ~then), np.flatnonzero(then & ~now)
        self._position[dying], self._position[born] = here[dying], there[born]
        self._step[dying] = self._step[born] = 0.0
        self._radiance[dying, 3] = self._opacities[dying] * (1.0 - share)
        self._radiance[born, 3] = self._opacities[born] * share

    def _show_relevancy(
        self, cloud: bpy.types.PointCloud, frame: int, share: float, weights: tuple[Weight, ...], complete: bool
    ) -> None:
        """Of layers that do not show, nothing is written where nobody looks at the attributes."""
        self._dynamic.begin()
        for weight in weights:
            if complete or weight.weight > 0.0:
                self._dynamic.add(cloud, weight, self._relevancy(weight.answer_key, frame, share))
        self._dynamic.end(cloud)

    def _relevancy(self, key: str, frame: int, share: float) -> Array | None:
        """[M] uint8; None where nothing is known."""
        levels = self.cache.known_relevancy(key, frame) if key else None
        if levels is None or not share:
            return levels
        later = self.cache.known_relevancy(key, frame + 1)
        if later is None:
            return levels
        part = round(share * 256)  # 8 bit arithmetic in 16: a quarter of the time that floats take
        blended = levels * np.uint16(256 - part)
        blended += later * np.uint16(part)
        blended += 128
        blended >>= 8
        return blended.astype(np.uint8)

    def _bend_static(self, cloud: bpy.types.PointCloud, poses: Poses | None) -> bool:
        """Bend the points that do not move; whether they were written."""
        bends = poses is not None and poses.near.are_moved
        if not bends and not cloud.get(BENT):
            return False
        constants = self.cache.static()
        self._still, rotation = (
            self._bending.still(cloud, poses)
            if poses is not None
            else (np.array(constants[name], np.float32) for name in ("means", "quats"))
        )
        for name, values in ((names.POSITION, self._still), (names.ROTATION, rotation)):
            attributes.write(cloud, name, names.CLOUD_ATTRIBUTES[name], values)
        if bends:
            cloud[BENT] = True
        else:
            cloud.pop(BENT)
        return True

    def _show_static(self, cloud: bpy.types.PointCloud, weights: tuple[Weight, ...]) -> bool:
        # What a cloud was last given is noted on the cloud itself, so that undo and load take the note back with it.
        signature = _signature(weights)
        if cloud.get(_WEIGHTS) == signature:
            return False
        self._static.begin()
        for weight in weights:
            known = weight.answer_key and self.cache.answer(weight.answer_key) is not None
            self._static.add(cloud, weight, self.cache.static_relevancy(weight.answer_key) if known else None)
        self._static.end(cloud)
        cloud[_WEIGHTS] = signature
        return True


def _signature(weights: tuple[Weight, ...]) -> str:
    """What a cloud of still points was given, with the type: files before had another."""
    return f"{names.LEVELS} {weights!r}"


def turn_on(rotation: Array, later: Array, share: float) -> None:
    """Turn unit quaternions [N, 4] in place the share of the shorter way to `later`, which is overwritten.

    A normalised linear blend: it leaves the great circle of slerp nowhere, and its pace by less than 0.1 degrees for
    turns below 30 degrees between two frames.
    """
    along = np.einsum("ij,ij->i", rotation, later)
    far = np.flatnonzero(along < NEARLY_UNTURNED)  # few, mostly: for the others the blend has its length already
    turned, target, cosine = rotation[far], later[far], along[far]
    rotation *= np.float32(1.0 - share)
    later *= np.float32(share)
    rotation += later
    length = np.sqrt(1.0 - 2.0 * share * (1.0 - share) * (1.0 - np.abs(cosine)))
    weight = np.where(cosine < 0.0, -share, share) / length
    blended = turned * ((1.0 - share) / length)[:, None] + target * weight[:, None]
    rotation[far] = blended


def forget_static(cloud: bpy.types.PointCloud) -> None:
    """Write the static points' layers again at the next frame."""
    cloud.pop(_WEIGHTS, None)
