"""Prompt layers of a sequence: their curves, their markers, their weights at a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from .. import declare, names
from ..cache import storage
from ..cache.frames import Answer, CacheError, normalised
from ..plain_names import LONGEST, cut, distinct
from ..sequence import attributes, properties, timing
from ..sequence.properties import LayerProperties, SequenceProperties, properties_of
from ..sequence.sequence import Sequence
from . import curves

PALETTE = (
    (1.0, 0.25, 0.02),
    (0.05, 0.55, 1.0),
    (0.25, 0.9, 0.1),
    (1.0, 0.75, 0.05),
    (0.8, 0.1, 0.9),
    (0.05, 0.9, 0.75),
)
"""Tints of new layers, scene linear, in turn."""

LAYERS_PATH = "legs4d.layers"
"""The RNA path of the layers, on the parent empty."""

REMOVED = -1

_DESCRIPTIONS = {
    "relevancy": "How well the whole scene matches the prompt at this frame",
    "active": "1 while the prompt holds, 0 otherwise; the layer shows where it is 1",
    "strength": "How strongly the layer shows",
}


_COPIED = (
    *("asked", "answer_key", "warnings", "enabled", "color", "threshold", "softness"),
    *("relevancy_written", "active_written"),
)


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
    its = sequence.its
    layer = its.layers.add()
    layer.layer_id = names.new_layer_id()
    layer.asked = layer.label = layer.prompt = prompt.strip()
    with properties.unannounced():
        layer.color = PALETTE[(len(its.layers) - 1) % len(PALETTE)]
    its.active_layer = len(its.layers) - 1
    for curve, value in (("relevancy", 0.0), ("active", 0.0), ("strength", 1.0)):
        name = names.curve_property(layer.layer_id, curve)
        declare.custom(sequence.empty, name, value, _DESCRIPTIONS[curve], min=0.0, max=1.0, subtype="FACTOR")
    for cloud in sequence.clouds:
        attributes.ensure(cloud, names.layer_attribute(layer.layer_id), names.LEVELS)
    return str(layer.layer_id)


def find(sequence: Sequence, layer_id: str) -> LayerProperties | None:
    """The layer with this id."""
    return next((layer for layer in sequence.layers if layer.layer_id == layer_id), None)


def with_prompt(sequence: Sequence, prompt: str) -> LayerProperties | None:
    """The layer that asks this, however it is spaced or capitalised."""
    wanted = normalised(prompt)
    return next((layer for layer in sequence.layers if normalised(layer.asked) == wanted), None)


def intervals(layer: LayerProperties) -> list[tuple[int, int, int, float]]:
    """(start, end, peak, score) of a layer in capture frames, both ends included."""
    return [(item.start, item.end, item.peak, item.score) for item in layer.intervals]


def said(sequence: Sequence, layer: LayerProperties) -> str:
    """When a layer's prompt holds, in scene frames: "Frames 8–15, 20–24"."""
    spans = sorted(_scene_intervals(sequence, layer))
    if not spans:
        return "It holds at no time in this sequence."
    parts = [f"{first}" if first == last else f"{first}–{last}" for first, last in spans]
    return f"Frame{'s' if len(parts) > 1 or '–' in parts[0] else ''} {', '.join(parts)}"


def title(layer: LayerProperties) -> str:
    """What a person calls the layer."""
    return str(layer.label or layer.prompt)


def is_edited(sequence: Sequence, layer: LayerProperties, scene: bpy.types.Scene) -> bool:
    """Whether a person changed keys or markers that an answer made."""
    return any(_is_edited(sequence, layer, curve) for curve in ("relevancy", "active")) or _moved(layer, scene)


def take_answer(
    sequence: Sequence, layer_id: str, key: str, answer: Answer, scene: bpy.types.Scene, replace: bool = False
) -> None:
    """Make a layer show what was found: its intervals, F-curves and markers, in the place of what it showed before.

    Keys and markers that a person changed stay as they are, unless `replace` is set or the answer is to another prompt.
    The strength curve is the animator's: it is made once and never touched again.
    """
    layer = find(sequence, layer_id)
    if layer is None:
        return
    replace = replace or layer.answer_key != key
    layer.answer_key = key
    layer.warnings = "\n".join(answer.warnings)
    layer.intervals.clear()
    for start, end, peak, score in answer.intervals:
        item = layer.intervals.add()
        item.start, item.end, item.peak, item.score = start, end, peak, score
    _write_keys(sequence, layer, answer.curve, scene, replace)


def retime(sequence: Sequence, scene: bpy.types.Scene) -> list[str]:
    """Move the layers' keys and markers to where the timing shows their moments now.

    Returns:
        The layers that had to stay behind, by title: a person changed their keys or markers, or the cache is gone.
    """
    timing.learn(scene, sequence.empty)
    behind = []
    for layer in sequence.layers:
        answer = _cached_answer(sequence, layer)
        if answer is None or is_edited(sequence, layer, scene):
            behind += [title(layer)] if layer.answer_key else []
        if answer is not None:
            _write_keys(sequence, layer, answer.curve, scene, replace=False)
    sequence.its.timed = timing.signature(sequence.empty)
    return behind


def is_behind(sequence: Sequence) -> bool:
    """Whether layers were keyed under another timing than the present one."""
    keyed = any(layer.answer_key for layer in sequence.layers)
    return keyed and sequence.its.timed != timing.signature(sequence.empty)


def duplicate(sequence: Sequence, layer_id: str) -> str:
    """A copy of a layer below it, with its values, answer, F-curves and edits, but no markers; returns its id."""
    its = sequence.its
    index = next(i for i, layer in enumerate(its.layers) if layer.layer_id == layer_id)
    made = add(sequence, its.layers[index].prompt)
    source, copy = its.layers[index], its.layers[len(its.layers) - 1]
    copy.label = f"{title(source)} copy"
    with properties.unannounced():
        for name in _COPIED:
            setattr(copy, name, getattr(source, name))
    for item in source.intervals:
        twin = copy.intervals.add()
        twin.start, twin.end, twin.peak, twin.score = item.start, item.end, item.peak, item.score
    for curve in names.CURVES:
        prop = names.curve_property(layer_id, curve)
        sequence.empty[names.curve_property(made, curve)] = sequence.empty[prop]
        curves.copy(
            sequence.empty, names.curve_path(layer_id, curve), names.curve_path(made, curve), f"4-LEGS {copy.label}"
        )
    move(sequence, len(its.layers) - 1, index + 1)
    return made


def move(sequence: Sequence, source: int, target: int) -> None:
    """Move a layer in the list, with what animates its settings, and select it."""
    its = sequence.its
    order = list(range(len(its.layers)))
    order.insert(target, order.pop(source))
    its.layers.move(source, target)
    its.active_layer = target
    _renumber(sequence, {old: new for new, old in enumerate(order)})


def _renumber(sequence: Sequence, numbers: dict[int, int]) -> None:
    """Let what animates the layers' settings follow them; what was of a `REMOVED` one goes."""
    changed = {old: new for old, new in numbers.items() if old != new}
    paths = {
        f"{LAYERS_PATH}[{old}].": "" if new == REMOVED else f"{LAYERS_PATH}[{new}]." for old, new in changed.items()
    }
    if paths:
        curves.move(sequence.empty, paths)


def remove(sequence: Sequence, layer_id: str, scene: bpy.types.Scene) -> None:
    """Remove a layer with its attributes, F-curves, custom properties and markers; others stay as they are."""
    its = sequence.its
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
    count = len(its.layers)
    its.layers.remove(index)
    _renumber(sequence, {index: REMOVED, **{old: old - 1 for old in range(index + 1, count)}})
    its.active_layer = min(its.active_layer, max(len(its.layers) - 1, 0))


def is_shown(its: SequenceProperties, layer: LayerProperties) -> bool:
    """Whether a layer of this sequence (`its`) shows: enabled, and solo where any layer is."""
    return bool(layer.enabled and stands_out(its, layer))


def stands_out(its: SequenceProperties, layer: LayerProperties) -> bool:
    """Whether a layer is solo, where any layer is."""
    return bool(layer.solo or not any(other.solo for other in its.layers))


def setting_path(number: int, name: str) -> str:
    """The RNA path of a layer's setting, for F-curves and drivers: layers are counted from 0."""
    return f"{LAYERS_PATH}[{number}].{name}"


def weights(sequence: Sequence, scene_frame: float) -> tuple[Weight, ...]:
    """How each layer shows at a scene frame; of an evaluated sequence, as it was evaluated."""
    empty, its, found = sequence.empty, sequence.its, []
    keyed = _keyed(empty)
    any_solo = any(layer.solo for layer in its.layers)
    wanted = [names.curve_property(layer.layer_id, curve) for layer in its.layers for curve in ("active", "strength")]
    values = curves.values_of(empty, wanted, scene_frame)
    for number, layer in enumerate(its.layers):
        active, strength = values[2 * number : 2 * number + 2]
        enabled, threshold, softness = layer.enabled, layer.threshold, layer.softness
        if keyed:
            enabled = _at(empty, number, "enabled", scene_frame, keyed, float(enabled)) >= 0.5
            threshold = _at(empty, number, "threshold", scene_frame, keyed, threshold)
            softness = _at(empty, number, "softness", scene_frame, keyed, softness)
        shown = max(0.0, min(1.0, active * strength)) if enabled and (layer.solo or not any_solo) else 0.0
        found.append(Weight(layer.layer_id, layer.answer_key, shown, threshold, softness))
    return tuple(found)


def colors(sequence: Sequence, scene_frame: float) -> dict[str, declare.Color]:
    """Each layer's tint at a scene frame, by its id; scene linear."""
    empty = sequence.empty
    keyed, found = _keyed(empty), {}
    for number, layer in enumerate(sequence.layers):
        parts = tuple(layer.color)
        if keyed:
            parts = tuple(_at(empty, number, "color", scene_frame, keyed, part, i) for i, part in enumerate(parts))
        found[str(layer.layer_id)] = declare.triple(parts)
    return found


def _keyed(empty: bpy.types.Object) -> set[str]:
    """Paths of layers' settings that are animated; of an evaluated object none, as they have their values already."""
    return set() if empty.is_evaluated else curves.animated_paths(empty, LAYERS_PATH)


def _at(
    empty: bpy.types.Object, number: int, name: str, frame: float, keyed: set[str], otherwise: float, index: int = 0
) -> float:
    path = setting_path(number, name)
    if path not in keyed or curves.is_driven(empty, path, index):
        return otherwise
    evaluate = curves.course(empty, path, index)
    return otherwise if evaluate is None else float(evaluate(frame))


def _cached_answer(sequence: Sequence, layer: LayerProperties) -> Answer | None:
    if not layer.answer_key:
        return None
    try:
        return storage.find(sequence.empty).answer(layer.answer_key)
    except CacheError:
        return None


def _is_edited(sequence: Sequence, layer: LayerProperties, curve: str) -> bool:
    written = getattr(layer, f"{curve}_written")
    made = curves.find(sequence.empty, names.curve_path(layer.layer_id, curve))
    return bool(written) and written != curves.signature(made)


def _write_keys(
    sequence: Sequence,
    layer: LayerProperties,
    relevancy: tuple[float, ...],
    scene: bpy.types.Scene,
    replace: bool,
) -> None:
    """Key a layer from its intervals and its relevancy [T] over capture time, where the timing shows them."""
    empty, identity = sequence.empty, layer.layer_id
    group = f"4-LEGS {title(layer)}"
    first, times = timing.moments(empty)
    steps = {first: 0.0}
    for begin, end in _scene_intervals(sequence, layer):
        steps[begin] = 1.0
        if sequence.its.num_frames > 1:  # the one frame of a still capture is shown for good
            steps[end + 1] = 0.0
    stepped = sorted(steps)
    for curve, frames, values, interpolation in (
        ("relevancy", first + np.arange(len(times)), np.interp(times, np.arange(len(relevancy)), relevancy), "LINEAR"),
        ("active", stepped, [steps[frame] for frame in stepped], "CONSTANT"),
    ):
        if replace or not _is_edited(sequence, layer, curve):
            made = curves.write(empty, names.curve_path(identity, curve), frames, values, interpolation, group)
            setattr(layer, f"{curve}_written", curves.signature(made))
    strength = names.curve_path(identity, "strength")
    if curves.find(empty, strength) is None:
        value = float(empty[names.curve_property(identity, "strength")])
        curves.write(empty, strength, [first], [value], "BEZIER", group)
    if replace or not _moved(layer, scene):
        _write_markers(sequence, layer, scene)
    if not properties_of(empty).timed:
        properties_of(empty).timed = timing.signature(empty)


def _scene_intervals(sequence: Sequence, layer: LayerProperties) -> list[tuple[int, int]]:
    """(first, last) scene frames of each stretch in which the layer's intervals show."""
    return [span for start, end, _, _ in intervals(layer) for span in timing.spans(sequence.empty, start, end)]


def _moved(layer: LayerProperties, scene: bpy.types.Scene) -> bool:
    """Whether a person moved, renamed or deleted a marker that the layer made."""
    frames = {marker.name: marker.frame for marker in scene.timeline_markers}
    return any(frames.get(own.name) != own.frame for own in layer.markers)


def _write_markers(sequence: Sequence, layer: LayerProperties, scene: bpy.types.Scene) -> None:
    _remove_markers(layer, scene)
    for first, last in _scene_intervals(sequence, layer):
        for label, frame in (("start", first), ("end", last)):
            # Names are how a layer finds its markers again.
            ending = f": {label}"
            wanted = f"{cut(layer.prompt, LONGEST - len(ending))}{ending}"
            taken = [other.name for other in scene.timeline_markers]
            marker = scene.timeline_markers.new(distinct(wanted, taken), frame=frame)
            own = layer.markers.add()
            own.name, own.frame = marker.name, frame


def _remove_markers(layer: LayerProperties, scene: bpy.types.Scene) -> None:
    for own in layer.markers:
        marker: Any = scene.timeline_markers.get(own.name)
        if marker is not None:
            scene.timeline_markers.remove(marker)
    layer.markers.clear()
