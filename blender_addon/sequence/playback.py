"""Frame changes: the current frame's arrays go from the cache into the clouds, and nothing else writes them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import bpy
from bpy.app.handlers import persistent

from .. import look
from ..cache import storage
from ..cache.frames import CacheError, RunCache
from ..layers import curves
from ..whole import applied, libraries
from . import handlers, hanging, nodes, player, sequence
from .attributes import AttributeProblem
from .nodes import Poses
from .player import Player
from .properties import cloud_of, properties_of
from .sequence import Sequence

log = logging.getLogger(__name__)

_players: dict[int, Player] = {}
_messages: dict[int, str] = {}
_versions: dict[int, int] = {}
_epoch = 0
_rendering = False
provide_files: Callable[[Sequence, int], RunCache] | None = None
"""Reads a frame of a sequence of splat files now; `splats` sets it."""
_complete = 0
"""How many `complete` blocks are open."""


@contextlib.contextmanager
def complete() -> Iterator[None]:
    """In this block frames are written with all that they have: for what reads it from the clouds."""
    global _complete
    _complete += 1
    try:
        yield
    finally:
        _complete -= 1


def message(empty: bpy.types.Object) -> str:
    """Why a sequence does not show its current frame, as a sentence for the panel; empty if it does."""
    return _messages.get(empty.session_uid, "")


def version(child: bpy.types.Object) -> tuple[int, int]:
    """Another one whenever a cloud's points may have changed: for what is derived from them."""
    return _epoch, _versions.get(child.session_uid, 0)


def show(
    scene: bpy.types.Scene,
    shown: Sequence,
    layers_only: bool = False,
    looks: Sequence | None = None,
    poses: Poses | None = None,
) -> None:
    """Write the scene's current frame of a sequence; what is missing keeps its last state and is said in `message`.

    Args:
        poses: of its control nodes, where they are known; else they are looked for.
        looks: the sequence as Blender evaluated it at this frame; without it what it will be is told ahead.
        layers_only: leave places, rotations and colours as they are: only what layers say has changed.
    """
    if shown.empty.session_uid in sequence.being_filled:
        return  # its import shows it as soon as all constants are there
    with contextlib.suppress(CacheError):  # `_write` says it
        if _take_back(shown, storage.find(shown.empty)):
            layers_only = False
    _write(scene, shown, layers_only, looks, poses)


def _write(
    scene: bpy.types.Scene, shown: Sequence, layers_only: bool, looks: Sequence | None, poses: Poses | None = None
) -> None:
    problem = shown.deleted
    if shown.locked and look.outdated(shown.empty):
        problem = f"'{shown.empty.name}' was saved by an older version; open its own file, save it, and load this anew."
    libraries.own_points(shown)
    try:
        cache = _cache(scene, shown)
        if shown.fill(cache):
            if poses is None and not layers_only and (found := nodes.of(shown)):
                poses = nodes.poses(shown, found, _depsgraph(scene))
            player = _player(shown.empty, cache)
            missing, touched = player.show(scene, shown, layers_only, _is_complete(shown), looks, poses)
            problem = missing or problem
            for child in touched:
                touch(child)
        else:
            problem = problem or f"'{shown.empty.name}' has not arrived yet; connect a backend and press Fetch."
    except (CacheError, AttributeProblem) as obstacle:
        problem = f"{obstacle}; the points keep their last frame."
        if any(child.mode == "EDIT" for child in shown.objects):
            problem = f"'{shown.empty.name}' is in edit mode and keeps this frame; leave it (Tab), and it plays again."
    _say(shown.empty, problem)


def show_copy(scene: bpy.types.Scene, shown: Sequence, original: Sequence) -> None:
    """Write the scene's moment of a copy: of one that Blender made of the original as it stands, what differs alone."""
    known, moving, placed = _players.get(original.empty.session_uid), shown.dynamic_object, False
    if known is not None and moving is not None and shown.loose_object is None and known.poses is None:
        player, moment = _player(shown.empty, known.cache), known.moment(shown, scene.frame_current_final)
        cloud, still = cloud_of(moving), shown.static_object
        placed = player.take_over(known, cloud, applied.probes(len(cloud.points)), moment)
        alike = placed and player.shows_layers_of(known, None if still is None else cloud_of(still))
        if alike and not shown.locked and not message(original.empty):
            return
    show(scene, shown, layers_only=placed)


def check(shown: Sequence) -> None:
    """Take back what Apply did to the points, and show them again; nothing where they are as they were written."""
    with contextlib.suppress(CacheError):  # `show` says it
        scene = sequence.home(shown.empty)
        known = scene is not None and shown.empty.session_uid in _players
        if known and _take_back(shown, storage.find(shown.empty)):
            _write(scene, shown, False, None)


def is_rendering() -> bool:
    """Whether a render is going on, which writes frames by itself."""
    return _rendering


def prepare(empty: bpy.types.Object) -> None:
    """Make what showing a sequence needs, so that its first frame takes no longer than the others."""
    with contextlib.suppress(CacheError):  # `show` says it
        _player(empty, storage.find(empty))


def refresh(empty: bpy.types.Object, layers_only: bool = False) -> None:
    """Write a sequence's current frame again: its layers changed, or data arrived."""
    if _rendering:  # the render's own thread writes now; it changes frames by itself
        return
    scene = sequence.home(empty)
    if scene is not None:
        show(scene, Sequence(empty), layers_only)


def refresh_run(run_id: str) -> None:
    """Write the current frame of every sequence that shows a run."""
    for _, shown in sequence.everywhere():
        if shown.its.run_id == run_id:
            refresh(shown.empty)


def invalidate(empty: bpy.types.Object) -> None:
    """Write the static points' layers again at the next frame: the cache holds another answer of the same prompt."""
    still = properties_of(empty).child("STATIC")
    if still is not None:
        player.forget_static(cloud_of(still))


def refresh_all() -> None:
    """Write the current frame of every sequence of the file."""
    for scene, shown in sequence.everywhere():
        show(scene, shown)


def register() -> None:
    """Add the handlers."""
    handlers.add(_HANDLERS)


def unregister() -> None:
    """Remove the handlers."""
    handlers.remove(_HANDLERS)
    _players.clear()
    _messages.clear()
    _versions.clear()


def _cache(scene: bpy.types.Scene, shown: Sequence) -> RunCache:
    """Renders without a window read splat files as they need them; elsewhere they are read beside the interface."""
    if shown.its.files and bpy.app.background and provide_files is not None:
        return provide_files(shown, shown.capture_frame(scene.frame_current_final))
    return storage.find(shown.empty)


def _depsgraph(scene: bpy.types.Scene) -> bpy.types.Depsgraph | None:
    """As which a scene was evaluated last; None where it was not. Asking for the newest would call handlers."""
    here = bpy.context.view_layer
    layers = [here] if bpy.context.scene == scene and here is not None else scene.view_layers
    return next((layer.depsgraph for layer in layers if layer.depsgraph is not None), None)


def _is_complete(shown: Sequence) -> bool:
    """Whether view dependence is written: it is most of a frame's bytes, and viewports that draw points show none."""
    if bpy.app.background or _rendering or _complete:
        return True
    return shown.its.viewport == "SPLATS" or any(sequence.is_native(cloud) for cloud in shown.clouds)


def _take_back(shown: Sequence, cache: RunCache) -> bool:
    taken, player = False, _players.get(shown.empty.session_uid)
    still, moving = shown.static_object, shown.dynamic_object
    if still is not None and cloud_of(still).get(sequence.FILLED) and cache.has_constants():
        means = cache.static()["means"] if player is None else player.still(cloud_of(still))
        is_known = means is not None and len(means) == len(cloud_of(still).points)
        if is_known and applied.take_back(still, lambda chosen: means[chosen]):
            cloud_of(still).pop(sequence.FILLED)
            taken = True
    position = player.position if player is not None else None
    if moving is not None and position is not None and len(position) == len(cloud_of(moving).points):
        taken = applied.take_back(moving, lambda chosen: position[chosen]) or taken
    return taken


def touch(child: bpy.types.Object) -> None:
    """Have Blender, and what is derived from a cloud, notice that its attributes were written."""
    child.data.update_tag()
    notice(child)


def notice(child: bpy.types.Object) -> None:
    """Have what is derived from a cloud notice that Blender changed its points."""
    _versions[child.session_uid] = _versions.get(child.session_uid, 0) + 1


def _player(empty: bpy.types.Object, cache: RunCache) -> Player:
    known = _players.get(empty.session_uid)
    if known is None or known.cache is not cache:
        known = _players[empty.session_uid] = Player(cache)
    return known


def _say(empty: bpy.types.Object, problem: str) -> None:
    if problem and bpy.app.background and _messages.get(empty.session_uid) != problem:
        log.warning(problem)  # nobody sees the panel: a render's log must say it
    _messages[empty.session_uid] = problem


@persistent
def _legs4d_frame_change(scene: bpy.types.Scene, *_: Any) -> None:
    for shown in sequence.find(scene):
        if bpy.app.background or not _rendering:
            look.follow_keys(shown.empty)
        # What nodes do is known once Blender has evaluated the frame; points are written then, and not twice.
        show(scene, shown, layers_only=bool(nodes.of(shown)))


@persistent
def _legs4d_frame_changed(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph | None = None, *_: Any) -> None:
    """What only Blender's evaluation knows, drivers above all, may have been told ahead wrongly: then once more. Nodes
    are always shown as evaluated."""
    for shown in sequence.find(scene):
        if depsgraph is not None and (found := nodes.of(shown)):
            looks = Sequence(shown.empty.evaluated_get(depsgraph))
            show(scene, shown, looks=looks, poses=nodes.poses(shown, found, depsgraph))
            continue
        player = _players.get(shown.empty.session_uid)
        if player is None or depsgraph is None or not curves.is_unforeseen(shown.empty):
            continue
        looks = Sequence(shown.empty.evaluated_get(depsgraph))
        if player.last != player.moment(looks, scene.frame_current_final):
            show(scene, shown, looks=looks)


@persistent
def _legs4d_moved(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph | None = None, *_: Any) -> None:
    """A person moves a node: the points follow at once. What hangs in the run's axes stays there."""
    if depsgraph is None or depsgraph.mode == "RENDER" or _rendering:
        return
    for shown in sequence.find(scene):
        player, hung = _players.get(shown.empty.session_uid), hanging.of(shown)
        before, found = None if player is None else player.poses, nodes.among(hung)
        if hung:
            check(shown)  # after Apply all is where it was only once the points are taken back
            hanging.hold(shown, hung)
        if found or before is not None:
            nodes.keep_rest(found)
            poses = nodes.poses(shown, found, depsgraph) if found else None
            if before is None or not before.same_as(poses):
                show(scene, shown, poses=poses)


@persistent
def _legs4d_load(*_: Any) -> None:
    global _epoch
    _epoch += 1
    _players.clear()
    _versions.clear()
    _messages.clear()
    storage.forget()
    for _scene, shown in sequence.everywhere():
        if look.outdated(shown.empty):
            look.sync(shown.empty)
    refresh_all()


@persistent
def _legs4d_undo(*_: Any) -> None:
    global _epoch
    _epoch += 1
    refresh_all()


@persistent
def _legs4d_render_begins(*ignored: Any) -> None:
    global _rendering
    for _, shown in sequence.everywhere():
        look.follow_keys(shown.empty)  # not later, as a render has a thread of its own
    _rendering = True


@persistent
def _legs4d_render_ends(*_: Any) -> None:
    global _rendering
    _rendering = False


_HANDLERS = (
    ("frame_change_pre", _legs4d_frame_change),
    ("depsgraph_update_post", _legs4d_moved),
    ("frame_change_post", _legs4d_frame_changed),
    ("load_post", _legs4d_load),
    ("undo_post", _legs4d_undo),
    ("redo_post", _legs4d_undo),
    ("render_init", _legs4d_render_begins),
    ("render_complete", _legs4d_render_ends),
    ("render_cancel", _legs4d_render_ends),
)
