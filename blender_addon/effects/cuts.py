"""Scene selection: the layers' intervals as a cut, by camera markers or by scene strips of the Video Sequencer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy

from ..layers import layers
from ..sequence import timing
from ..sequence.sequence import Sequence
from . import cameras, places


@dataclass(frozen=True)
class Shot:
    """A stretch of scene frames, both included, with the camera that shows it best; None if none sees it."""

    label: str
    first: int
    last: int
    camera: bpy.types.Object | None


def shots(scene: bpy.types.Scene, shown: Sequence) -> list[Shot]:
    """A shot for each interval of each shown layer, in the order of time. CacheError if the sequence's data is gone."""
    found = []
    for layer in shown.layers:
        if not layers.is_shown(shown.its, layer):
            continue
        for start, end, peak, _ in layers.intervals(layer):
            where = places.place(shown, layer, peak)
            camera = cameras.best(scene, where) if where else None
            for first, last in timing.spans(shown.empty, start, end):
                found.append(Shot(layers.title(layer), first, last, camera))
    return sorted(found, key=lambda shot: (shot.first, shot.last))


def bind_cameras(scene: bpy.types.Scene, cut: list[Shot], *, replace: bool = False) -> int:
    """Bind a camera marker to the start of each shot that a camera sees; returns how many there are.

    Args:
        replace: also where another camera is cut to already.
    """
    seen = [shot for shot in cut if shot.camera is not None]
    seen = [shot for shot in seen if replace or not cameras.taken(scene, shot.first, shot.first, shot.camera)]
    for shot in seen:
        cameras.bind(scene, shot.camera, shot.first, f"{shot.label}: cut")
    return len(seen)


def make_edit(scene: bpy.types.Scene, cut: list[Shot], name: str) -> bpy.types.Scene:
    """A new scene whose Video Sequencer has each shot as a strip of this scene, one after another.

    Strips are ordinary: they may be trimmed, moved and rendered as any other.
    """
    edit = bpy.data.scenes.new(name)
    render, model = edit.render, scene.render
    for setting in ("fps", "fps_base", "resolution_x", "resolution_y", "resolution_percentage"):
        setattr(render, setting, getattr(model, setting))
    edit.view_settings.view_transform = scene.view_settings.view_transform
    render.use_sequencer = True
    strips = edit.sequence_editor_create().strips
    position = edit.frame_start = 1
    for shot in cut:
        strip: Any = strips.new_scene(name=shot.label, scene=scene, channel=1, frame_start=position)
        length = shot.last - shot.first + 1
        skipped = shot.first - scene.frame_start
        strip.content_start = position - skipped
        strip.left_handle, strip.right_handle = position, position + length
        strip.scene_camera = shot.camera
        position += length
    edit.frame_end = max(position - 1, edit.frame_start)
    return edit
