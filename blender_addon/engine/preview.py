"""The engine's pictures in viewports: a coarse one while the view moves, the full one when it rests; nothing waits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import bpy
import gpu
from gpu_extras.presets import draw_texture_2d

from .. import declare, wire
from ..link import session
from ..link.types import Failure, Received
from . import masking, picture, shot
from .camera import View, view
from .properties import settings_of

FADING: tuple[str, ...] = ("combined", "alpha", "depth")
"""Passes that laying several sequences over each other needs."""


@dataclass
class Asked:
    """A picture that is on its way.

    Attributes:
        bodies: of the full picture, which stand for the view; one per sequence.
        is_full: whether this is the full picture.
        requests: their ids.
        parts: what has arrived.
    """

    bodies: list[shot.Body]
    is_full: bool
    requests: list[int | None] = field(default_factory=list)
    parts: list[picture.Passes] = field(default_factory=list)


@dataclass
class Preview:
    """One viewport's.

    Attributes:
        asked: None if nothing is on its way.
        shown, shown_full: what `passes` is a picture of, and whether it is the full one.
        passes: the newest picture; None before the first.
        texture: of `passes`; None until it is drawn.
        failed: of which view there can be no picture.
        failure: why, a sentence.
    """

    asked: Asked | None = None
    shown: list[shot.Body] | None = None
    shown_full: bool = False
    passes: picture.Passes | None = None
    texture: gpu.types.GPUTexture | None = None
    failed: list[shot.Body] | None = None
    failure: str = ""


_previews: dict[int, Preview] = {}


def draw(engine: bpy.types.RenderEngine, context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> None:
    """Draw what there is of a viewport's picture; ask for a better one."""
    region = context.region
    mine = _previews.setdefault(region.as_pointer(), Preview())
    full, coarse = _bodies(context, depsgraph)
    ask(mine, full, coarse)
    engine.update_stats("4-LEGS", _state(mine, full) if full else _nothing(depsgraph))
    if not full or mine.passes is None:
        return
    mine.texture = mine.texture or _texture(mine.passes)
    gpu.state.blend_set("ALPHA_PREMULT")
    engine.bind_display_space_shader(context.scene)
    draw_texture_2d(mine.texture, (0, 0), region.width, region.height)
    engine.unbind_display_space_shader()
    gpu.state.blend_set("NONE")


def ask(mine: Preview, full: list[shot.Body], coarse: list[shot.Body]) -> None:
    """Ask for the picture that is missing next: the coarse one of a new view, then its full one.

    A coarse picture of a view that has moved on is let finish, so that there is something to see while it moves.
    """
    link = session.current.link
    if mine.asked is not None:
        if mine.asked.bodies == full or not mine.asked.is_full:
            return
        for request in mine.asked.requests:
            link.cancel(request)
        mine.asked = None
    if not full or not link.ready or full in (mine.failed, mine.shown if mine.shown_full else None):
        return
    is_full = mine.shown == full or coarse == full
    mine.asked = asked = Asked(full, is_full)
    for body in full if is_full else coarse:
        asked.requests.append(_send(mine, asked, body))


def busy() -> bool:
    """Whether pictures are on their way."""
    return any(mine.asked is not None for mine in _previews.values())


def forget() -> None:
    """Drop all pictures, and cancel those on their way."""
    for mine in _previews.values():
        for request in mine.asked.requests if mine.asked else ():
            session.current.link.cancel(request)
    _previews.clear()


def redraw() -> None:
    """Have every viewport that this engine draws drawn again."""
    for window in declare.windows().windows:
        for area in window.screen.areas:
            space: Any = area.spaces.active
            if area.type == "VIEW_3D" and space.shading.type == "RENDERED":
                area.tag_redraw()


def _send(mine: Preview, asked: Asked, body: shot.Body) -> int | None:
    def arrived(reply: Received) -> None:
        if mine.asked is not asked:
            return
        asked.parts.append(dict(reply.arrays))
        if len(asked.parts) == len(asked.bodies):
            _show(mine, asked)
            redraw()

    def failed(failure: Failure) -> None:
        if mine.asked is not asked:
            return
        mine.asked = None
        if failure.code not in ("lost", wire.Code.CANCELLED):
            mine.failed, mine.failure = asked.bodies, failure.sentence
        redraw()

    return session.current.link.request(wire.Kind.RENDER, body, on_reply=arrived, on_failure=failed)


def _show(mine: Preview, asked: Asked) -> None:
    passes = asked.parts[0]
    for part in asked.parts[1:]:
        passes = picture.laid_over(passes, part)
    mine.passes, mine.texture = passes, None
    mine.shown, mine.shown_full, mine.asked, mine.failed, mine.failure = asked.bodies, asked.is_full, None, None, ""


def _bodies(context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> tuple[list[shot.Body], list[shot.Body]]:
    """Requests for the full and the coarse picture of what a viewport shows, one per sequence."""
    placed = [one for one in map(_on_screen, shot.placements(depsgraph.scene, depsgraph.view_layer)) if one.children]
    if shot.obstacle(placed):
        return [], []
    style, passes = shot.style(depsgraph.scene_eval), FADING[:1]
    full = _view(context)
    both = []
    for one in (full, full.reduced(settings_of(depsgraph.scene).preview_factor)):
        moments = [shot.instant(depsgraph, placed, one)]
        shown = [(n, each) for n, each in enumerate(placed) if shot.is_seen(n, moments) and not each.is_holdout]
        if len(shown) > 1:
            style, passes = replace(style, background=None), FADING
        both.append([_limited(shot.body(n, each, moments, style, passes), each) for n, each in shown])
    return both[0], both[1]


def _limited(body: shot.Body, placed: shot.Placement) -> shot.Body:
    limits = {**body.get("limits", {}), **masking.limits(placed.shown)}
    return {**body, "limits": limits} if limits else body


def _on_screen(placed: shot.Placement) -> shot.Placement:
    """Without what a person hid in the viewport."""
    hidden = any(not one.visible_get() for one in placed.instances[:1])
    seen = () if hidden else tuple(c for c in placed.children if placed.instances or c.visible_get())
    return replace(placed, children=seen)


def _view(context: bpy.types.Context) -> View:
    seen, region = context.region_data, context.region
    return view(seen.window_matrix, seen.view_matrix.inverted(), region.width, region.height)


def _state(mine: Preview, full: list[shot.Body]) -> str:
    link = session.current.link
    if mine.failed is not None and mine.failed == full:
        return mine.failure
    if not link.ready:
        return f"{link.status.sentence} Pictures come from the backend."
    return "The backend renders." if mine.asked else ""


def _nothing(depsgraph: bpy.types.Depsgraph) -> str:
    """Why there is no picture at all."""
    return (
        shot.obstacle(shot.placements(depsgraph.scene, depsgraph.view_layer))
        or "Nothing of a 4-LEGS sequence is to be seen."
    )


def _texture(passes: picture.Passes) -> gpu.types.GPUTexture:
    combined = passes["combined"]
    height, width = combined.shape[:2]
    values: Any = picture.stored(combined)  # the stubs know no arrays
    pixels = gpu.types.Buffer("FLOAT", width * height * 4, values)
    return gpu.types.GPUTexture((width, height), format="RGBA16F", data=pixels)
