"""What a picture of a scene asks of the backend: which runs, at which time, standing where, with which layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import bpy
import numpy as np

from ..declare import triple
from ..layers import layers, presets
from ..portable.look import NUMPY
from ..sequence import sequence, timing
from ..sequence.properties import LayerProperties, properties_of
from . import masking
from .camera import View
from .properties import settings_of

MASK_PREFIX = "Mask "
LONGEST_NAME = 63
"""Bytes of a render pass's name."""

Body = dict[str, Any]


@dataclass(frozen=True)
class Instant:
    """One sample of a picture.

    Attributes:
        scene_frame: with its fraction.
        view: through which camera.
        matrices: of each visible cloud, by its name, [4, 4] to the world.
    """

    scene_frame: float
    view: View
    matrices: dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Style:
    """How pictures are made.

    Attributes:
        background: sRGB-encoded; None is transparent.
        antialiased: small Gaussians keep their energy where a pixel is larger than in training.
    """

    background: tuple[float, float, float] | None
    antialiased: bool


def style(scene: bpy.types.Scene) -> Style:
    """How the scene's settings want pictures."""
    settings = settings_of(scene)
    color = None if scene.render.film_transparent else triple(map(_encoded, settings.background))
    return Style(color, settings.antialiased)


def background(scene: bpy.types.Scene) -> tuple[float, float, float] | None:
    """What is seen where nothing is, scene linear; None is transparent."""
    return None if scene.render.film_transparent else triple(settings_of(scene).background)


def _encoded(value: float) -> float:
    """sRGB-encoded value of a linear one, 0..1."""
    value = min(max(value, 0.0), 1.0)
    return float(NUMPY.encoded(np.float64(value)))


def visible_clouds(scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer) -> list[bpy.types.Object]:
    """The clouds of the scene's sequences that a view layer renders."""
    rendered = set(_rendered(view_layer.layer_collection))
    return [
        child
        for shown in sequence.find(scene)
        for child in shown.objects
        if child.name in rendered and not child.hide_render
    ]


def instant(depsgraph: bpy.types.Depsgraph, clouds: Iterable[bpy.types.Object], view: View) -> Instant:
    """The sample at the time that the dependency graph stands at."""
    matrices = {child.name: np.array(child.evaluated_get(depsgraph).matrix_world, np.float64) for child in clouds}
    return Instant(depsgraph.scene_eval.frame_current_final, view, matrices)


def shown_in(scene: bpy.types.Scene, clouds: Iterable[bpy.types.Object]) -> list[sequence.Sequence]:
    """The sequences of which any of these clouds is to be seen."""
    parents = {child.parent for child in clouds}
    return [shown for shown in sequence.find(scene) if shown.empty in parents]


def obstacle(shown: Iterable[sequence.Sequence]) -> str:
    """Why the backend cannot render these, a sentence; empty if it can."""
    for one in shown:
        if problem := masking.obstacle(one):
            return problem
        if one.its.files:
            return (
                f"'{one.empty.name}' plays splat files of this machine, which the backend does not have; render with "
                "Cycles or EEVEE, or make a run of them with `legs4d import-splats` and import that."
            )
    return ""


def body(shown: sequence.Sequence, instants: Sequence[Instant], style: Style, passes: Sequence[str]) -> Body:
    """The `render` request for one sequence (backend/README.md).

    Args:
        instants: samples that are averaged, all of one picture size.
        passes: of the protocol.
    """
    its, first = shown.its, instants[0].view
    middle = instants[len(instants) // 2].scene_frame
    asked = {
        "run": its.run,
        "revision": its.revision,
        "width": first.width,
        "height": first.height,
        "samples": [_sample(shown, one) for one in instants],
        "passes": list(passes),
        "layers": _layers(shown, middle),
        "look": _look(asdict(presets.amounts(shown.empty, middle))),
        "antialiased": style.antialiased,
    }
    asked |= masking.told(
        shown, middle, [float(sum(timing.shown_frames(shown.empty, i.scene_frame))) for i in instants]
    )
    if first.crop is not None:
        asked["crop"] = list(first.crop)
    if style.background is not None:
        asked["background"] = list(style.background)
    return asked


def mask_names(scene: bpy.types.Scene) -> dict[tuple[str, str], str]:
    """(sequence name, layer id) → the name of its render pass: short, without dots, different from all others."""
    found: dict[tuple[str, str], str] = {}
    for shown in sequence.find(scene):
        for layer in _asked(shown):
            found[shown.empty.name, layer.layer_id] = _free(layer.asked, set(found.values()))
    return found


def _sample(shown: sequence.Sequence, one: Instant) -> Body:
    view = one.view
    sample: Body = {
        "frame": float(sum(timing.shown_frames(shown.empty, one.scene_frame))),
        "fx": float(view.fx),
        "fy": float(view.fy),
        "cx": float(view.cx),
        "cy": float(view.cy),
    }
    for child in shown.objects:
        if child.name in one.matrices:
            sample[properties_of(child).role.lower()] = (view.world_to_camera @ one.matrices[child.name]).tolist()
    return sample


def _look(amounts: dict[str, float]) -> dict[str, float]:
    """Those that do anything, and the tint, which is not 0 where it is not said: an older server refuses names that it
    does not know."""
    return {name: float(amount) for name, amount in amounts.items() if amount or name == "tint"}


def _layers(shown: sequence.Sequence, scene_frame: float) -> list[Body]:
    weights = {weight.layer_id: weight for weight in layers.weights(shown, scene_frame)}
    return [
        {
            "name": layer.layer_id,
            "prompt": layer.asked,
            "threshold": float(weights[layer.layer_id].threshold),
            "softness": float(weights[layer.layer_id].softness),
            "strength": float(weights[layer.layer_id].weight),
            "color": [min(max(float(channel), 0.0), 1.0) for channel in layer.color],
        }
        for layer in _asked(shown)
    ]


def _asked(shown: sequence.Sequence) -> list[LayerProperties]:
    return [layer for layer in shown.layers if layer.asked.strip()]


def _free(prompt: str, taken: set[str]) -> str:
    base = f"{MASK_PREFIX}{prompt.replace('.', ' ').strip()}"
    name, number = _cut(base, LONGEST_NAME), 1
    while name in taken:
        number += 1
        name = f"{_cut(base, LONGEST_NAME - 4)} {number}"
    return name


def _cut(text: str, size: int) -> str:
    """At most so many bytes of it."""
    return text.encode()[:size].decode(errors="ignore").rstrip()


def _rendered(layer: bpy.types.LayerCollection) -> Iterable[str]:
    """Names of the objects that a layer collection and those below it let a render show."""
    if layer.exclude or layer.collection.hide_render:
        return
    if not (layer.holdout or layer.indirect_only):
        yield from (item.name for item in layer.collection.objects)
    for child in layer.children:
        yield from _rendered(child)
