"""Prompt layers of a sequence: their curves, their markers, their weights at a frame."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from . import attributes, curves, names
from .cache import Answer, normalised
from .sequence import Sequence

PALETTE = (
    (1.0, 0.25, 0.02),
    (0.05, 0.55, 1.0),
    (0.25, 0.9, 0.1),
    (1.0, 0.75, 0.05),
    (0.8, 0.1, 0.9),
    (0.05, 0.9, 0.75),
)
"""Tints of new layers, scene linear, in turn."""

_DESCRIPTIONS = {
    "relevancy": "How well the whole scene matches the prompt at this frame",
    "active": "1 while the prompt holds, 0 otherwise; the layer shows where it is 1",
    "strength": "How strongly the layer shows",
}


@dataclass(frozen=True)
class Weight:
    """How a layer shows at one frame.

    Attributes:
        layer_id: whose.
        answer_key: where the cache keeps its relevancy; empty before the first answer.
        weight: active times strength, 0 if disabled.
        threshold, softness: of the smooth step that relevancy goes through.
    """

    layer_id: str
    answer_key: str
    weight: float
    threshold: float
    softness: float


def add(sequence: Sequence, prompt: str) -> str:
    """A new layer for this prompt, not asked yet; returns its id."""
    its = sequence.empty.legs4d
    layer = its.layers.add()
    layer.layer_id = names.new_layer_id()
    layer.asked = layer.prompt = prompt.strip()
    layer.color = PALETTE[(len(its.layers) - 1) % len(PALETTE)]
    its.active_layer = len(its.layers) - 1
    for curve, value in (("relevancy", 0.0), ("active", 0.0), ("strength", 1.0)):
        name = names.curve_property(layer.layer_id, curve)
        sequence.empty[name] = value
        sequence.empty.id_properties_ui(name).update(
            min=0.0, max=1.0, default=value, subtype="FACTOR", description=_DESCRIPTIONS[curve]
        )
    for cloud in sequence.clouds:
        attributes.ensure(cloud, names.layer_attribute(layer.layer_id), "FLOAT")
    return str(layer.layer_id)


def find(sequence: Sequence, layer_id: str) -> bpy.types.PropertyGroup | None:
    """The layer with this id."""
    return next((layer for layer in sequence.layers if layer.layer_id == layer_id), None)


def with_prompt(sequence: Sequence, prompt: str) -> bpy.types.PropertyGroup | None:
    """The layer that asks this, however it is spaced or capitalised."""
    wanted = normalised(prompt)
    return next((layer for layer in sequence.layers if normalised(layer.asked) == wanted), None)


def intervals(layer: bpy.types.PropertyGroup) -> list[tuple[int, int, int, float]]:
    """(start, end, peak, score) of a layer in capture frames, both ends included."""
    return [(item.start, item.end, item.peak, item.score) for item in layer.intervals]


def take_answer(sequence: Sequence, layer_id: str, key: str, answer: Answer, scene: bpy.types.Scene) -> None:
    """Make a layer show what was found: its intervals, F-curves and markers, in the place of what it showed before.

    The strength curve is the animator's: it is made once and never touched again.
    """
    layer = find(sequence, layer_id)
    if layer is None:
        return
    layer.answer_key = key
    layer.intervals.clear()
    for start, end, peak, score in answer.intervals:
        item = layer.intervals.add()
        item.start, item.end, item.peak, item.score = start, end, peak, score
    _write_curves(sequence, layer, answer)
    _write_markers(sequence, layer, scene)


def remove(sequence: Sequence, layer_id: str, scene: bpy.types.Scene) -> None:
    """Remove a layer with its attributes, F-curves, custom properties and markers; others stay as they are."""
    its = sequence.empty.legs4d
    index = next((i for i, layer in enumerate(its.layers) if layer.layer_id == layer_id), None)
    if index is None:
        return
    _remove_markers(its.layers[index], scene)
    for curve in names.CURVES:
        curves.remove(sequence.empty, names.curve_path(layer_id, curve))
        sequence.empty.pop(names.curve_property(layer_id, curve), None)
    for cloud in sequence.clouds:
        attributes.remove(cloud, names.layer_attribute(layer_id))
        cloud.pop(names.layer_attribute(layer_id), None)
        cloud.update_tag()
    its.layers.remove(index)
    its.active_layer = min(its.active_layer, max(len(its.layers) - 1, 0))


def weights(sequence: Sequence, scene_frame: float) -> tuple[Weight, ...]:
    """How each layer shows at a scene frame."""
    empty = sequence.empty
    found = []
    for layer in sequence.layers:
        active, strength = (
            curves.value(empty, names.curve_property(layer.layer_id, curve), scene_frame)
            for curve in ("active", "strength")
        )
        shown = max(0.0, min(1.0, active * strength)) if layer.enabled else 0.0
        found.append(Weight(layer.layer_id, layer.answer_key, shown, layer.threshold, layer.softness))
    return tuple(found)


def _write_curves(sequence: Sequence, layer: bpy.types.PropertyGroup, answer: Answer) -> None:
    empty, identity, group = sequence.empty, layer.layer_id, f"4-LEGS {layer.prompt}"
    scene_frames = sequence.scene_frame(0) + np.arange(len(answer.curve))
    curves.write(empty, names.curve_path(identity, "relevancy"), scene_frames, answer.curve, "LINEAR", group)
    steps = {sequence.scene_frame(0): 0.0}
    for start, end, _, _ in answer.intervals:
        steps[sequence.scene_frame(start)] = 1.0
        steps[sequence.scene_frame(end + 1)] = 0.0
    frames = sorted(steps)
    values = [steps[frame] for frame in frames]
    curves.write(empty, names.curve_path(identity, "active"), frames, values, "CONSTANT", group)
    strength = names.curve_path(identity, "strength")
    if curves.find(empty, strength) is None:
        value = float(empty[names.curve_property(identity, "strength")])
        curves.write(empty, strength, [sequence.scene_frame(0)], [value], "BEZIER", group)


def _write_markers(sequence: Sequence, layer: bpy.types.PropertyGroup, scene: bpy.types.Scene) -> None:
    _remove_markers(layer, scene)
    for start, end, _, _ in intervals(layer):
        for label, frame in (("start", start), ("end", end)):
            name = _free_name(f"{layer.prompt}: {label}", scene)
            marker = scene.timeline_markers.new(name, frame=sequence.scene_frame(frame))
            layer.markers.add().name = marker.name


def _free_name(wanted: str, scene: bpy.types.Scene) -> str:
    """The name with the first number that no marker has: names are how a layer finds its markers again."""
    name, number = wanted[:60], 1
    while name in scene.timeline_markers:
        number += 1
        name = f"{wanted[:55]} {number}"
    return name


def _remove_markers(layer: bpy.types.PropertyGroup, scene: bpy.types.Scene) -> None:
    for own in layer.markers:
        marker = scene.timeline_markers.get(own.name)
        if marker is not None:
            scene.timeline_markers.remove(marker)
    layer.markers.clear()
