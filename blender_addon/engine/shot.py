"""What a picture of a scene asks of the backend: which runs, at which time, standing where, with which layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import bpy
import numpy as np

from ..declare import triple
from ..layers import layers, presets
from ..plain_names import distinct, plain
from ..portable.look import NUMPY, Amounts
from ..selection import grades
from ..sequence import nodes, sequence, timing
from ..sequence.properties import LayerProperties, properties_of
from . import masking
from .camera import View
from .properties import settings_of

MASK_PREFIX = "Mask "

Body = dict[str, Any]
Matrix = np.ndarray[Any, Any]

LEAST_EXTENT = 1e-9
"""Scale below which a cloud has no extent: nothing of it is to be seen, and no matrix can be undone."""


@dataclass(frozen=True)
class Placement:
    """A sequence where a picture shows it: in the scene itself, or by an instance of its collection.

    Attributes:
        shown: the sequence.
        children: its clouds that are seen.
        instances: objects that show a collection, from the outermost; empty where the scene has the sequence itself.
        is_holdout: whether it cuts a hole into the picture.
    """

    shown: sequence.Sequence
    children: tuple[bpy.types.Object, ...]
    instances: tuple[bpy.types.Object, ...] = ()
    is_holdout: bool = False

    def seen(self, depsgraph: bpy.types.Depsgraph) -> Seen:
        """The placement at the moment that the dependency graph stands at."""
        to_world = np.eye(4)
        for instance in self.instances:
            offset = np.eye(4)
            offset[:3, 3] = -np.array(instance.instance_collection.instance_offset)
            to_world = to_world @ np.array(instance.evaluated_get(depsgraph).matrix_world, np.float64) @ offset
        matrices = {}
        for child in self.children:
            matrix = to_world @ np.array(child.evaluated_get(depsgraph).matrix_world, np.float64)
            if abs(np.linalg.det(matrix[:3, :3])) > LEAST_EXTENT**3:
                matrices[properties_of(child).role.lower()] = matrix
        looks, at = (
            sequence.Sequence(self.shown.empty.evaluated_get(depsgraph)),
            depsgraph.scene_eval.frame_current_final,
        )
        return Seen(
            matrices,
            float(sum(timing.shown_frames(looks.empty, at))),
            layers.weights(looks, at),
            layers.colors(looks, at),
            presets.amounts(looks.empty, at),
            grades.at(looks, at),
        )


@dataclass(frozen=True)
class Seen:
    """A placement at a moment.

    Attributes:
        matrices: role of a cloud → [4, 4] to the world; without those that have no extent.
        capture_time: in capture frames.
        weights, colors: how the layers show; by layer id.
        amounts: of the look.
        grades: of the colours.
    """

    matrices: dict[str, Matrix]
    capture_time: float
    weights: tuple[layers.Weight, ...]
    colors: dict[str, tuple[float, float, float]]
    amounts: Amounts
    grades: tuple[grades.Graded, ...]


@dataclass(frozen=True)
class Instant:
    """One sample of a picture.

    Attributes:
        view: through which camera.
        seen: of each placement, in their order.
    """

    view: View
    seen: tuple[Seen, ...]


@dataclass(frozen=True)
class Style:
    """How pictures are made.

    Attributes:
        background: sRGB-encoded; None is transparent.
        antialiased: small Gaussians keep their energy where a pixel is larger than in training.
        distances: from the camera, scene units: splats that are nearer than the first or farther than the second are
            left out; 0: none.
    """

    background: tuple[float, float, float] | None
    antialiased: bool
    distances: tuple[float, float] = (0.0, 0.0)


def style(scene: bpy.types.Scene) -> Style:
    """How the scene's settings want pictures."""
    settings = settings_of(scene)
    color = None if scene.render.film_transparent else triple(map(_encoded, settings.background))
    return Style(color, settings.antialiased, (settings.nearest, settings.farthest))


def background(scene: bpy.types.Scene) -> tuple[float, float, float] | None:
    """What is seen where nothing is, scene linear; None is transparent."""
    return None if scene.render.film_transparent else triple(settings_of(scene).background)


def _encoded(value: float) -> float:
    """sRGB-encoded value of a linear one, 0..1."""
    value = min(max(value, 0.0), 1.0)
    return float(NUMPY.encoded(np.float64(value)))


def placements(scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer) -> list[Placement]:
    """Where a view layer renders sequences of a scene."""
    rendered = dict(_rendered(view_layer.layer_collection))
    found = []
    for item, held in rendered.items():
        if item.hide_render or item.type != "EMPTY":
            continue
        if properties_of(item).is_sequence:
            children = [one for one in properties_of(item).cloud_objects if one in rendered and not one.hide_render]
            found += _placed(item, children, (), held or any(rendered[one] for one in children))
        if item.instance_type == "COLLECTION" and item.instance_collection is not None:
            found += _instanced((item,), held or item.is_holdout)
    return found


def _instanced(instances: tuple[bpy.types.Object, ...], held: bool) -> list[Placement]:
    """What the innermost of these objects shows of its collection."""
    collection = instances[-1].instance_collection
    found = []
    for item in collection.all_objects if collection is not None else ():
        if item.type != "EMPTY" or item.hide_render or item in instances:
            continue
        if properties_of(item).is_sequence:
            children = [one for one in properties_of(item).cloud_objects if not one.hide_render]
            found += _placed(item, children, instances, held)
        if item.instance_type == "COLLECTION" and item.instance_collection not in (None, collection):
            found += _instanced((*instances, item), held or item.is_holdout)
    return found


def _placed(
    empty: bpy.types.Object,
    children: Sequence[bpy.types.Object],
    instances: tuple[bpy.types.Object, ...],
    held: bool,
) -> list[Placement]:
    held = held or empty.is_holdout or any(child.is_holdout for child in children)
    return [Placement(sequence.Sequence(empty), tuple(children), instances, held)] if children else []


def instant(depsgraph: bpy.types.Depsgraph, placed: Iterable[Placement], view: View) -> Instant:
    """The sample at the time that the dependency graph stands at."""
    return Instant(view, tuple(one.seen(depsgraph) for one in placed))


def obstacle(placed: Iterable[Placement]) -> str:
    """Why the backend cannot render these, a sentence; empty if it can."""
    for one in placed:
        if problem := masking.obstacle(one.shown):
            return problem
        if nodes.are_used(one.shown):
            return (
                f"Control nodes bend '{one.shown.empty.name}', which the backend does not know; render with Cycles or "
                "EEVEE, or clear what moves the nodes."
            )
        if one.shown.its.files:
            return (
                f"'{one.shown.empty.name}' plays splat files of this machine, which the backend does not have; render "
                "with Cycles or EEVEE, or make a run of them with `legs4d import-splats` and import that."
            )
    return ""


def is_seen(number: int, instants: Sequence[Instant]) -> bool:
    """Whether the placement of this number has any extent at any of the instants."""
    return any(one.seen[number].matrices for one in instants)


def body(number: int, placed: Placement, instants: Sequence[Instant], style: Style, passes: Sequence[str]) -> Body:
    """The `render` request for the placement of this number (backend/README.md).

    Args:
        instants: samples that are averaged, all of one picture size.
        passes: of the protocol.
    """
    its, first = placed.shown.its, instants[0].view
    middle = instants[len(instants) // 2].seen[number]
    asked = {
        "run": its.run,
        "revision": its.revision,
        "width": first.width,
        "height": first.height,
        "samples": [_sample(one.view, one.seen[number]) for one in instants],
        "passes": list(passes),
        "layers": _layers(placed.shown, middle),
        "look": _look(asdict(middle.amounts)),
        "antialiased": style.antialiased,
    }
    if its.degree < 3 and its.num_sh:
        asked["degree"] = its.degree
    if its.averaging:
        asked["average"] = its.averaging
    asked |= masking.told(placed.shown, middle.grades, [one.seen[number].capture_time for one in instants])
    if first.crop is not None:
        asked["crop"] = list(first.crop)
    limits = dict(zip(("nearest", "farthest"), map(float, style.distances), strict=True))
    if any(limits.values()):
        asked["limits"] = {name: value for name, value in limits.items() if value}
    if style.background is not None:
        asked["background"] = list(style.background)
    return asked


def mask_names(scene: bpy.types.Scene) -> dict[tuple[int, str], str]:
    """(session id of the sequence's parent, layer id) → its pass's name: plain, short, different from all."""
    found: dict[tuple[int, str], str] = {}
    for shown in sequence.find(scene):
        for layer in _asked(shown):
            found[shown.empty.session_uid, layer.layer_id] = distinct(MASK_PREFIX + plain(layer.asked), found.values())
    return found


def _sample(view: View, seen: Seen) -> Body:
    sample: Body = {
        "frame": seen.capture_time,
        "fx": float(view.fx),
        "fy": float(view.fy),
        "cx": float(view.cx),
        "cy": float(view.cy),
    }
    return sample | {role: (view.world_to_camera @ matrix).tolist() for role, matrix in seen.matrices.items()}


def _look(amounts: dict[str, float]) -> dict[str, float]:
    """Those that do anything, and the tint, which is not 0 where it is not said: an older server refuses names that it
    does not know."""
    return {name: float(amount) for name, amount in amounts.items() if amount or name == "tint"}


def _layers(shown: sequence.Sequence, seen: Seen) -> list[Body]:
    weights = {weight.layer_id: weight for weight in seen.weights}
    return [
        {
            "name": layer.layer_id,
            "prompt": layer.asked,
            "threshold": float(weights[layer.layer_id].threshold),
            "softness": float(weights[layer.layer_id].softness),
            "strength": float(weights[layer.layer_id].weight),
            "color": [min(max(float(channel), 0.0), 1.0) for channel in seen.colors[layer.layer_id]],
        }
        for layer in _asked(shown)
    ]


def _asked(shown: sequence.Sequence) -> list[LayerProperties]:
    return [layer for layer in shown.layers if layer.asked.strip()]


def _rendered(layer: bpy.types.LayerCollection, held: bool = False) -> Iterable[tuple[bpy.types.Object, bool]]:
    """The objects that a layer collection and those below it let a render show, and whether as a holdout."""
    if layer.exclude or layer.collection.hide_render:
        return
    held = held or layer.holdout
    if not layer.indirect_only:
        yield from ((item, held) for item in layer.collection.objects)
    for child in layer.children:
        yield from _rendered(child, held)
