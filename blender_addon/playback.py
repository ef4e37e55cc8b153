"""Frame changes: the current frame's arrays go from the cache into the clouds, and nothing else writes them."""

from __future__ import annotations

import logging
from typing import Any

import bpy
import numpy as np
from bpy.app.handlers import persistent

from . import attributes, layers, names, sequence, storage
from .attributes import AttributeProblem
from .cache import STEPS, CacheError, RunCache
from .layers import Weight
from .sequence import Sequence

log = logging.getLogger(__name__)

_WEIGHTS = "legs4d:weights"
_LEVELS = np.linspace(0.0, 1.0, 256, dtype=np.float32)
"""What the stored relevancies 0..255 stand for."""

_players: dict[int, _Player] = {}
_messages: dict[int, str] = {}
_versions: dict[int, int] = {}
_epoch = 0
_rendering = False


def message(empty: bpy.types.Object) -> str:
    """Why a sequence does not show its current frame, as a sentence for the panel; empty if it does."""
    return _messages.get(empty.session_uid, "")


def version(child: bpy.types.Object) -> tuple[int, int]:
    """Another one whenever a cloud's points may have changed: for what is derived from them."""
    return _epoch, _versions.get(child.session_uid, 0)


def show(scene: bpy.types.Scene, shown: Sequence) -> None:
    """Write the scene's current frame of a sequence; what is missing keeps its last state and is said in `message`."""
    problem = shown.deleted
    try:
        cache = storage.find(shown.empty)
        if shown.fill(cache):
            player = _player(shown.empty, cache)
            problem = player.show(scene, shown) or problem
        else:
            problem = problem or f"'{shown.empty.name}' has not arrived yet; connect a backend and press Fetch."
    except (CacheError, AttributeProblem) as missing:
        problem = f"{missing}; the points keep their last frame."
    _say(shown.empty, problem)


def refresh(empty: bpy.types.Object) -> None:
    """Write a sequence's current frame again in every scene that has it: its layers changed, or data arrived."""
    if _rendering:  # the render's own thread writes now; it changes frames by itself
        return
    for scene in empty.users_scene:
        show(scene, Sequence(empty))


def refresh_run(run_id: str) -> None:
    """Write the current frame of every sequence that shows a run."""
    for _, shown in sequence.everywhere():
        if shown.empty.legs4d.run_id == run_id:
            refresh(shown.empty)


def invalidate(empty: bpy.types.Object) -> None:
    """Write the static points' layers again at the next frame: the cache holds another answer of the same prompt."""
    still = empty.legs4d.static_object
    if still is not None:
        still.data.pop(_WEIGHTS, None)


def refresh_all() -> None:
    """Write the current frame of every sequence of the file."""
    for scene, shown in sequence.everywhere():
        show(scene, shown)


def register() -> None:
    """Add the handlers, in the place of those that an earlier load of this module left."""
    unregister()
    for event, handler in _HANDLERS:
        getattr(bpy.app.handlers, event).append(handler)


def unregister() -> None:
    """Remove the handlers, found by name."""
    for event, handler in _HANDLERS:
        installed = getattr(bpy.app.handlers, event)
        for old in [h for h in installed if (h.__module__, h.__name__) == (handler.__module__, handler.__name__)]:
            installed.remove(old)
    _players.clear()
    _messages.clear()
    _versions.clear()


class _Player:
    """One sequence's buffers: made once, so that a frame change allocates nothing."""

    def __init__(self, cache: RunCache) -> None:
        self.cache = cache
        points = cache.description.num_dynamic
        constants = cache.dynamic()
        self._opacities = np.array(constants["opacities"])
        self._born, self._died = np.array(constants["born"]), np.array(constants["died"])
        self._before, self._after = np.empty(points, bool), np.empty(points, bool)
        self._position = np.empty((points, 3), np.float32)
        self._rotation = np.empty((points, 4), np.float32)
        self._radiance = np.empty((points, 4), np.float32)
        self._velocity = np.empty((points, 3), np.float32)
        self._dynamic = _Highlighter(points)
        self._static = _Highlighter(cache.description.num_static)

    def show(self, scene: bpy.types.Scene, shown: Sequence) -> str:
        """Write the current frame; what is missing, as a sentence."""
        frame = shown.capture_frame(scene.frame_current)
        weights = layers.weights(shown, scene.frame_current_final)
        still, moving = shown.static_object, shown.dynamic_object
        if still is not None:
            self._show_static(still, weights)
        if moving is None:
            return ""
        if not self.cache.has_frame(frame):
            return f"Frame {frame} of '{shown.empty.name}' has not arrived yet; the points keep their last frame."
        self._show_frame(moving.data, frame, scene.render.fps / scene.render.fps_base)
        self._show_relevancy(moving.data, frame, weights)
        _touch(moving)
        return ""

    def _show_frame(self, cloud: bpy.types.PointCloud, frame: int, fps: float) -> None:
        arrays = self.cache.frame(frame)
        np.copyto(self._position, arrays["means"])
        np.multiply(arrays["quats"], STEPS["quats"], out=self._rotation)
        np.multiply(arrays["colors"], STEPS["colors"], out=self._radiance[:, :3])
        np.less_equal(self._born, frame, out=self._after)
        np.greater_equal(self._died, frame, out=self._before)
        np.logical_and(self._after, self._before, out=self._after)
        np.multiply(self._opacities, self._after, out=self._radiance[:, 3])
        self._find_velocity(frame, fps)
        for name, values in (
            (names.POSITION, self._position),
            (names.ROTATION, self._rotation),
            (names.RADIANCE, self._radiance),
            (names.VELOCITY, self._velocity),
        ):
            attributes.write(cloud, name, names.CLOUD_ATTRIBUTES[name], values)

    def _find_velocity(self, frame: int, fps: float) -> None:
        """Units per second of the scene's clock, as a capture frame lasts one scene frame."""
        if self.cache.has_frame(frame + 1):
            np.subtract(self.cache.frame(frame + 1)["means"], self._position, out=self._velocity)
        elif frame > 0 and self.cache.has_frame(frame - 1):
            np.subtract(self._position, self.cache.frame(frame - 1)["means"], out=self._velocity)
        else:
            self._velocity.fill(0.0)
        np.multiply(self._velocity, np.float32(fps), out=self._velocity)

    def _show_relevancy(self, cloud: bpy.types.PointCloud, frame: int, weights: tuple[Weight, ...]) -> None:
        self._dynamic.begin()
        for weight in weights:
            known = weight.answer_key and self.cache.has_relevancy(weight.answer_key, frame)
            levels = self.cache.relevancy(weight.answer_key, frame) if known else None
            self._dynamic.add(cloud, weight, levels)
        self._dynamic.end(cloud)

    def _show_static(self, still: bpy.types.Object, weights: tuple[Weight, ...]) -> None:
        cloud = still.data
        # What a cloud was last given is noted on the cloud itself, so that undo and load take the note back with it.
        signature = repr(weights)
        if cloud.get(_WEIGHTS) == signature:
            return
        self._static.begin()
        for weight in weights:
            known = weight.answer_key and self.cache.answer(weight.answer_key) is not None
            self._static.add(cloud, weight, self.cache.static_relevancy(weight.answer_key) if known else None)
        self._static.end(cloud)
        cloud[_WEIGHTS] = signature
        _touch(still)


class _Highlighter:
    """Writes each layer's relevancy of one cloud, and the strongest of them all as `highlight`."""

    def __init__(self, points: int) -> None:
        self._relevancy = np.empty(points, np.float32)
        self._highlight = np.empty(points, np.float32)

    def begin(self) -> None:
        """Start a frame."""
        self._highlight.fill(0.0)

    def add(self, cloud: bpy.types.PointCloud, weight: Weight, levels: np.ndarray[Any, Any] | None) -> None:
        """Write one layer; `levels` [points] uint8, None where nothing is known."""
        if levels is None:
            self._relevancy.fill(0.0)
        else:
            np.take(_LEVELS, levels, out=self._relevancy, mode="clip")  # "clip": else numpy buffers the output
        attributes.write(cloud, names.layer_attribute(weight.layer_id), "FLOAT", self._relevancy)
        if levels is not None and weight.weight > 0.0:
            np.take(shown_levels(weight), levels, out=self._relevancy, mode="clip")
            np.maximum(self._highlight, self._relevancy, out=self._highlight)

    def end(self, cloud: bpy.types.PointCloud) -> None:
        """Write `highlight`."""
        attributes.write(cloud, names.HIGHLIGHT, "FLOAT", self._highlight)


def shown_levels(weight: Weight) -> np.ndarray[Any, Any]:
    """[256] float32: how strongly each stored relevancy shows under this layer's threshold, softness and weight."""
    low, width = weight.threshold - weight.softness, 2.0 * weight.softness
    if width < 1e-6:
        step = np.greater_equal(_LEVELS, weight.threshold).astype(np.float32)
    else:
        x = np.clip((_LEVELS - low) / width, 0.0, 1.0)
        step = x * x * (3.0 - 2.0 * x)
    return (step * weight.weight).astype(np.float32)


def _touch(child: bpy.types.Object) -> None:
    child.data.update_tag()
    _versions[child.session_uid] = _versions.get(child.session_uid, 0) + 1


def _player(empty: bpy.types.Object, cache: RunCache) -> _Player:
    player = _players.get(empty.session_uid)
    if player is None or player.cache is not cache:
        player = _players[empty.session_uid] = _Player(cache)
    return player


def _say(empty: bpy.types.Object, problem: str) -> None:
    if problem and bpy.app.background and _messages.get(empty.session_uid) != problem:
        log.warning(problem)  # nobody sees the panel: a render's log must say it
    _messages[empty.session_uid] = problem


@persistent
def _legs4d_frame_change(scene: bpy.types.Scene, *_: Any) -> None:
    for shown in sequence.find(scene):
        show(scene, shown)


@persistent
def _legs4d_load(*_: Any) -> None:
    global _epoch
    _epoch += 1
    _players.clear()
    _versions.clear()
    _messages.clear()
    storage.forget()
    refresh_all()


@persistent
def _legs4d_undo(*_: Any) -> None:
    global _epoch
    _epoch += 1
    refresh_all()


@persistent
def _legs4d_render_begins(*_: Any) -> None:
    global _rendering
    _rendering = True


@persistent
def _legs4d_render_ends(*_: Any) -> None:
    global _rendering
    _rendering = False


_HANDLERS = (
    ("frame_change_pre", _legs4d_frame_change),
    ("load_post", _legs4d_load),
    ("undo_post", _legs4d_undo),
    ("redo_post", _legs4d_undo),
    ("render_init", _legs4d_render_begins),
    ("render_complete", _legs4d_render_ends),
    ("render_cancel", _legs4d_render_ends),
)
