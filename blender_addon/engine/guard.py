"""Renders that would show another moment than theirs are stopped: a farm would not notice."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import bpy
from bpy.app.handlers import persistent

from .. import declare, look
from ..cache.missing import missing
from ..names import ENGINE
from ..sequence import handlers, sequence
from .properties import settings_of

_stopped: list[tuple[bpy.types.Scene, bpy.types.Object | None, list[bpy.types.Object | None]]] = []
"""Scenes whose cameras were taken to stop their render, with what to give back."""
_said = ""


def register() -> None:
    """Add the handlers."""
    handlers.add(_HANDLERS)


def unregister() -> None:
    """Remove the handlers, found by name."""
    handlers.remove(_HANDLERS)


def message() -> str:
    """Why the last render was stopped, a sentence; empty if it was not."""
    return _said


def problem(scene: bpy.types.Scene) -> str:
    """What a scene's current frame lacks, a sentence; empty where all is here, or its user wants what there is.

    Pictures of "4-LEGS splats" come from the backend, which says itself what it lacks.
    """
    if settings_of(scene).render_missing or scene.render.engine == ENGINE:
        return ""
    found = (missing(shown, (scene.frame_current_final,)) for shown in _rendered(scene))
    return next((sentence for sentence in found if sentence), "")


def _rendered(scene: bpy.types.Scene) -> Iterator[sequence.Sequence]:
    """Sequences whose points the scene's engine renders."""
    for shown in sequence.find(scene):
        if any(not child.hide_render and _has_look(child) for child in shown.objects) or shown.deleted:
            yield shown


def _has_look(child: bpy.types.Object) -> bool:
    """Not beside Cycles in a composite, where it is another scene that renders splats."""
    modifier: Any = child.modifiers.get(look.MODIFIER)
    return modifier is None or bool(modifier.show_render)


@persistent
def _legs4d_guard_begins(*_: Any) -> None:
    global _said
    _said = ""


@persistent
def _legs4d_guard(scene: bpy.types.Scene, *_: Any) -> None:
    """Blender ends a render that has no camera, with an error and without a file: handlers have no other way."""
    global _said
    if not (found := problem(scene)):
        return
    _said = f"Frame {scene.frame_current} of '{scene.name}' is not rendered: {found}"
    print(f"Error: 4-LEGS: {_said}", file=sys.stderr, flush=True)
    _stopped.append((scene, scene.camera, [marker.camera for marker in scene.timeline_markers]))
    for marker in scene.timeline_markers:
        marker.camera = None
    scene.camera = None


@persistent
def _legs4d_guard_ends(*_: Any) -> None:
    failed = bool(_stopped)
    while _stopped:
        scene, camera, bound = _stopped.pop()
        scene.camera = camera
        for marker, its_camera in zip(scene.timeline_markers, bound, strict=True):
            marker.camera = its_camera
    if not failed:
        return
    if not bpy.app.background:
        bpy.app.timers.register(_show, first_interval=0.0)
    elif not bpy.app.module:
        raise SystemExit(1)  # `blender --background` itself ends with 0 after a render that failed


def _show() -> None:
    def draw(popup: Any, context: bpy.types.Context) -> None:
        popup.layout.label(text=_said)

    for window in declare.windows().windows[:1]:
        with bpy.context.temp_override(window=window):
            declare.windows().popup_menu(draw, title="4-LEGS", icon="ERROR")


_HANDLERS = (
    ("render_init", _legs4d_guard_begins),
    ("render_pre", _legs4d_guard),
    ("render_complete", _legs4d_guard_ends),
    ("render_cancel", _legs4d_guard_ends),
)
