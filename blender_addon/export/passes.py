"""A render's passes, and the compositor that writes them: "4-LEGS splats" has them, for others mattes find them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bpy

from .. import engine
from ..engine import composite, shot
from ..look.builder import Value, math, node, output, put
from ..plain_names import distinct, plain
from ..sequence.rendering import Job
from ..sequence.sequence import Sequence
from . import mattes

FAR = 1e10
"""Depth where nothing is, as Blender's own depth pass has it."""

LEAST_COVERAGE = 1e-3
"""Below this share of a pixel, its depth says nothing."""

MATTE_PREFIX = "Matte "
"""How the names of masks begin that mattes find."""

MASK_FILES = "mask "
"""How the files of masks are called in the scratch folder, before a mask's name."""


@dataclass(frozen=True)
class Passes:
    """What can be written of a render.

    Attributes:
        tree: of the copy's compositor.
        picture: the Combined socket.
        values: name → socket of one number: Depth, Alpha, Highlight.
        masks: name → socket, one per prompt layer.
        materials: to be set to the layers' weights before each frame.
    """

    tree: bpy.types.NodeTree
    picture: bpy.types.NodeSocket
    values: dict[str, bpy.types.NodeSocket]
    masks: dict[str, bpy.types.NodeSocket]
    materials: list[bpy.types.Material]


def find(job: Job, layer: bpy.types.ViewLayer, shown: Sequence) -> Passes:
    """The passes of the copy's render, made where its engine has not got them.

    The picture is that of the scene's own compositor where it has one.
    """
    own = job.own_compositor()
    tree, picture = own if own is not None else (None, None)
    if tree is None or picture is None:
        tree, source = job.compositor(layer)
        picture = source.outputs["Image"]
    splats = composite.second_scene(job.scene) if own is not None else None
    if job.scene.render.engine == engine.ENGINE:
        return _own(tree, picture, job.scene, layer, shown)
    if splats is not None:
        return _composited(job, tree, picture, layer, splats, shown)
    return _found_by_mattes(job, tree, picture, layer, shown)


def write_layers(job: Job, passes: Passes, name: str, depth: str) -> None:
    """Have each render write a multilayer EXR called `name`; `depth` is "16" or "32" bits."""
    files = job.output_node(passes.tree, name)
    files.format.media_type, files.format.color_depth, files.format.exr_codec = "MULTI_LAYER_IMAGE", depth, "ZIP"
    _add(passes.tree, files, "RGBA", "Combined", passes.picture)
    for label, socket in {**passes.values, **passes.masks}.items():
        _add(passes.tree, files, "FLOAT", label, socket)


def write_masks(job: Job, passes: Passes) -> None:
    """Have each render write a grey PNG per mask, its values as they are: 0.5 is the middle grey of the file."""
    files = job.output_node(passes.tree, MASK_FILES)
    form = files.format
    form.media_type, form.file_format, form.color_mode, form.color_depth = "IMAGE", "PNG", "BW", "16"
    form.color_management = "OVERRIDE"
    form.linear_colorspace_settings.name = "Non-Color"
    for label, socket in passes.masks.items():
        _add(passes.tree, files, "FLOAT", label, socket)


def mask_names(scene: bpy.types.Scene, shown: Sequence) -> dict[str, str]:
    """Layer id → the name of its mask: the passes of "4-LEGS splats", or what is found by mattes for the others."""
    splats = scene if scene.render.engine == engine.ENGINE else None
    if splats is None and scene.render.use_compositing:
        splats = composite.second_scene(scene)
    if splats is not None:
        names = shot.mask_names(splats).items()
        return {layer_id: name for (owner, layer_id), name in names if owner == shown.empty.session_uid}
    found: dict[str, str] = {}
    for layer in shown.layers:
        found[layer.layer_id] = distinct(MATTE_PREFIX + plain(layer.prompt), found.values())
    return found


def prompts(scene: bpy.types.Scene, shown: Sequence) -> dict[str, str]:
    """The name of each mask → its prompt as it was typed."""
    typed = {layer.layer_id: layer.prompt for layer in shown.layers}
    return {name: typed[layer_id] for layer_id, name in mask_names(scene, shown).items()}


def _own(
    tree: bpy.types.NodeTree,
    picture: bpy.types.NodeSocket,
    scene: bpy.types.Scene,
    layer: bpy.types.ViewLayer,
    shown: Sequence,
) -> Passes:
    held = _passes_of(tree, scene, layer)
    values = {"Depth": held("Depth"), "Alpha": held("Coverage"), "Highlight": held("Highlight")}
    masks = {name: held(name) for name in mask_names(scene, shown).values()}
    return Passes(tree, picture, values, masks, [])


def _composited(
    job: Job,
    tree: bpy.types.NodeTree,
    picture: bpy.types.NodeSocket,
    layer: bpy.types.ViewLayer,
    splats: bpy.types.Scene,
    shown: Sequence,
) -> Passes:
    """Of splats beside Cycles: what of them is in front of its objects, or seen through them."""
    held = _passes_of(tree, splats, splats.view_layers[0])
    cycles = node(tree, "CompositorNodeRLayers", scene=job.scene, layer=layer.name)
    near, far = Value(tree, held("Depth")), output(cycles, "Depth")
    in_front = 1.0 - math(tree, "GREATER_THAN", near, far)
    through = math(tree, "MAXIMUM", in_front, 1.0 - output(cycles, "Alpha"))
    through_both = (1.0 - Value(tree, held("Coverage"))) * (1.0 - output(cycles, "Alpha"))
    values = {
        "Depth": math(tree, "MINIMUM", near, far).socket,
        "Alpha": (1.0 - through_both).socket,
        "Highlight": (Value(tree, held("Highlight")) * through).socket,
    }
    masks = {name: (Value(tree, held(name)) * through).socket for name in mask_names(job.scene, shown).values()}
    return Passes(tree, picture, values, masks, [])


def _passes_of(
    tree: bpy.types.NodeTree, scene: bpy.types.Scene, layer: bpy.types.ViewLayer
) -> Callable[[str], bpy.types.NodeSocket]:
    """Gives passes of a scene that "4-LEGS splats" renders, by their names."""
    layer.update_render_passes()
    source = node(tree, "CompositorNodeRLayers", scene=scene, layer=layer.name)

    def held(name: str) -> bpy.types.NodeSocket:
        """The node makes its sockets anew now and then, but keeps their links: a reroute holds on to one."""
        reroute = tree.nodes.new("NodeReroute")
        tree.links.new(source.outputs[name], reroute.inputs[0])
        return reroute.outputs[0]

    return held


def _found_by_mattes(
    job: Job,
    tree: bpy.types.NodeTree,
    picture: bpy.types.NodeSocket,
    seen: bpy.types.ViewLayer,
    shown: Sequence,
) -> Passes:
    quantities = [mattes.DEPTH, mattes.COVERAGE, mattes.HIGHLIGHT, *(layer.layer_id for layer in shown.layers)]
    places = mattes.channels(quantities)
    sources: list[Any] = []
    materials: list[bpy.types.Material] = []
    for number in range(1 + max(place.number for place in places.values())):
        of_pass = [quantity for quantity, place in places.items() if place.number == number]
        layer = _matte_layer(job, seen, of_pass, number, materials)
        rendered = node(tree, "CompositorNodeRLayers", scene=job.scene, layer=layer.name)
        sources.append(node(tree, "CompositorNodeSeparateColor", {0: rendered.outputs["Image"]}))

    def value(quantity: str) -> bpy.types.NodeSocket:
        return sources[places[quantity].number].outputs[places[quantity].channel]

    covered = value(mattes.COVERAGE)
    values = {
        "Depth": _mean_depth(tree, value(mattes.DEPTH), covered),
        "Alpha": covered,
        "Highlight": value(mattes.HIGHLIGHT),
    }
    masks = {name: value(layer_id) for layer_id, name in mask_names(job.scene, shown).items()}
    return Passes(tree, picture, values, masks, materials)


def _matte_layer(
    job: Job, picture: bpy.types.ViewLayer, quantities: list[str], number: int, materials: list[bpy.types.Material]
) -> bpy.types.ViewLayer:
    """A view layer of the copy that shows some quantities; it sees what the picture's layer sees."""
    made = job.made(mattes.build(quantities))
    materials.append(made)
    layer = job.scene.view_layers.new(f"4-LEGS mattes {number + 1}")
    _same_collections(picture.layer_collection, layer.layer_collection)
    black = job.made(bpy.data.worlds.new("4-LEGS black"))
    put(black.node_tree, 0.0, black.node_tree.nodes["Background"].inputs["Strength"])
    layer.material_override, layer.world_override = made, black
    return layer


def _add(tree: bpy.types.NodeTree, files: Any, kind: str, name: str, value: bpy.types.NodeSocket) -> None:
    files.file_output_items.new(kind, name)
    tree.links.new(value, files.inputs[name])


def _mean_depth(
    tree: bpy.types.NodeTree, depth: bpy.types.NodeSocket, covered: bpy.types.NodeSocket
) -> bpy.types.NodeSocket:
    """Expected depth: the composited one divided by the pixel's coverage; `FAR` where next to nothing is."""
    mean = Value(tree, depth) / math(tree, "MAXIMUM", covered, LEAST_COVERAGE)
    return (mean + math(tree, "LESS_THAN", covered, LEAST_COVERAGE) * FAR).socket


def _same_collections(one: bpy.types.LayerCollection, other: bpy.types.LayerCollection) -> None:
    """Gives a new view layer another's excluded, held-out and indirect collections."""
    other.exclude, other.holdout, other.indirect_only = one.exclude, one.holdout, one.indirect_only
    for mine, its in zip(one.children, other.children, strict=True):
        _same_collections(mine, its)
