"""One click: splats from this engine and everything else from Cycles, put together by depth.

One scene has one engine, so a second scene, which shares all objects, renders the splats; the compositor of the first
puts both pictures together.
"""

from __future__ import annotations

from typing import Any

import bpy

from .. import declare, look
from ..look.builder import node, socket
from ..sequence import sequence
from .engine import ENGINE

SUFFIX = " splats"
TREE = "4-LEGS composite"

_RAYS = (
    "visible_camera",
    "visible_diffuse",
    "visible_glossy",
    "visible_transmission",
    "visible_volume_scatter",
    "visible_shadow",
)
"""Kinds of Cycles' rays, as object properties."""


def set_up(scene: bpy.types.Scene) -> bpy.types.Scene:
    """Make `scene` render with Cycles and composite the splats in; returns the second scene, which renders those.

    Done again, it brings both up to date.
    """
    declare.put(scene.render, engine="CYCLES")
    scene.render.film_transparent = True
    scene.render.use_compositing = True
    for layer in scene.view_layers:
        layer.use_pass_z = True
    for shown in sequence.find(scene):
        _hide_from_cycles(shown)
    splats = _second_scene(scene)
    _connect(scene, splats)
    return splats


def second_scene(scene: bpy.types.Scene) -> bpy.types.Scene | None:
    """The scene that renders the splats of this one; None before `set_up`."""
    tree = scene.compositing_node_group
    layers: list[Any] = [one for one in tree.nodes if one.bl_idname == "CompositorNodeRLayers"] if tree else []
    return next((one.scene for one in layers if one.scene and one.scene.render.engine == ENGINE), None)


def _hide_from_cycles(shown: sequence.Sequence) -> None:
    """Cycles would show the points as balls: it gets neither rays for them nor ellipsoids to build."""
    for child in shown.objects:
        for name in _RAYS:
            setattr(child, name, False)
        if look.MODIFIER in child.modifiers:
            child.modifiers[look.MODIFIER].show_render = False


def _second_scene(scene: bpy.types.Scene) -> bpy.types.Scene:
    made = second_scene(scene)
    if made is None:
        made = scene.copy()
        made.name = f"{scene.name}{SUFFIX}"
        made.timeline_markers.clear()
        made.compositing_node_group = None
    declare.put(made.render, engine=ENGINE, film_transparent=True)
    made.camera = scene.camera
    for layer in made.view_layers:
        layer.update_render_passes()
    return made


def _connect(scene: bpy.types.Scene, splats: bpy.types.Scene) -> None:
    """The compositor: the nearer of both pictures lies over the other, pixel by pixel."""
    tree = scene.compositing_node_group
    if tree is not None and TREE in tree.name:
        return
    made = bpy.data.node_groups.new(TREE, "CompositorNodeTree")
    socket(made, "Image", "Color", "OUTPUT")
    layers = []
    for place, (source, label) in enumerate(((scene, "Cycles"), (splats, "Splats"))):
        name = source.view_layers[0].name
        layer = node(made, "CompositorNodeRLayers", scene=source, layer=name, label=label, location=(0, -400 * place))
        layers.append(layer)
    depth = node(made, "CompositorNodeZcombine", {"Use Alpha": True}, location=(400, -100))
    for layer, letter in zip(layers, "AB", strict=True):
        made.links.new(layer.outputs["Image"], depth.inputs[letter])
        made.links.new(layer.outputs["Depth"], depth.inputs[f"Depth {letter}"])
    node(made, "NodeGroupOutput", {0: depth.outputs["Result"]}, location=(700, -100))
    scene.compositing_node_group = made


class LEGS4D_OT_composite(bpy.types.Operator):
    """Render splats with 4-LEGS and all other objects with Cycles, put together by depth: adds a second scene"""

    bl_idname = "legs4d.composite"
    bl_label = "Composite with Cycles"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not sequence.find(context.scene):
            cls.poll_message_set("Import a run first")
            return False
        if context.scene.camera is None:
            cls.poll_message_set("The scene needs a camera")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> declare.Result:
        made = set_up(context.scene)
        self.report({"INFO"}, f"Splats are rendered in the scene '{made.name}'; F12 here puts both together.")
        return {"FINISHED"}


CLASSES = (LEGS4D_OT_composite,)
