"""One click: splats from this engine and everything else from Cycles, put together by depth.

One scene has one engine, so a second scene, which shares all objects, renders the splats; the compositor of the first
puts both pictures together.
"""

from __future__ import annotations

from typing import Any

import bpy
from bpy.app.handlers import persistent

from .. import declare, look
from ..look.builder import node, output, socket
from ..sequence import handlers, sequence
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

_OF_SCENE = ("camera", "frame_start", "frame_end", "frame_step")
_OF_RENDER = (
    *("resolution_x", "resolution_y", "resolution_percentage", "pixel_aspect_x", "pixel_aspect_y"),
    *("fps", "fps_base", "frame_map_old", "frame_map_new", "use_motion_blur", "motion_blur_shutter"),
    *("motion_blur_position", "use_border", "use_crop_to_border", "use_multiview", "views_format"),
    *("border_min_x", "border_max_x", "border_min_y", "border_max_y"),
)
"""What both scenes have alike."""


def set_up(scene: bpy.types.Scene) -> tuple[bpy.types.Scene, str]:
    """Make `scene` render with Cycles and composite the splats in: (the second scene, which renders those; what is left
    to do, a sentence).

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
    return splats, _connect(scene, splats)


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
        made.compositing_node_group = None
    for item in scene.collection.objects:
        if item.name not in made.collection.objects:
            made.collection.objects.link(item)
    for collection in scene.collection.children:
        if collection.name not in made.collection.children:
            made.collection.children.link(collection)
    follow(scene, made)
    for layer in made.view_layers:
        layer.update_render_passes()
    return made


def follow(scene: bpy.types.Scene, splats: bpy.types.Scene) -> None:
    """Bring the second scene's camera, cuts, range and size up to date: both pictures are of one shot."""
    declare.put(splats.render, engine=ENGINE, film_transparent=True, use_compositing=False, use_sequencer=False)
    for name in _OF_SCENE:
        _same(scene, splats, name)
    for name in _OF_RENDER:
        _same(scene.render, splats.render, name)
    if _cuts(scene) != _cuts(splats):
        splats.timeline_markers.clear()
        for frame, label, camera in _cuts(scene):
            splats.timeline_markers.new(label, frame=frame).camera = camera


def _same(one: Any, other: Any, name: str) -> None:
    value = getattr(one, name)
    if getattr(other, name) != value:
        setattr(other, name, value)


def _cuts(scene: bpy.types.Scene) -> list[tuple[int, str, bpy.types.Object | None]]:
    """Frame, name and camera of each marker that has one."""
    return [(one.frame, one.name, one.camera) for one in scene.timeline_markers if one.camera is not None]


def _connect(scene: bpy.types.Scene, splats: bpy.types.Scene) -> str:
    """The compositor: the nearer of both pictures lies over the other, pixel by pixel, before what its user made of it.

    Returns:
        What its user has to do, a sentence; empty if nothing.
    """
    tree = scene.compositing_node_group
    if tree is None:
        tree = bpy.data.node_groups.new(TREE, "CompositorNodeTree")
        socket(tree, "Image", "Color", "OUTPUT")
        source = node(tree, "CompositorNodeRLayers", scene=scene, layer=scene.view_layers[0].name, label="Cycles")
        node(tree, "NodeGroupOutput", {0: output(source, "Image")}, location=(700, -100))
        scene.compositing_node_group = tree
    layers: list[Any] = [one for one in tree.nodes if one.bl_idname == "CompositorNodeRLayers"]
    if any(one.scene == splats for one in layers):
        return ""
    place = scene.view_layers.find
    mine = sorted((one for one in layers if one.scene in (scene, None)), key=lambda one: place(one.layer))
    if not mine:
        return "Its compositor has no Render Layers of this scene; add that node, and press it again."
    source = mine[0]
    right, down = source.location.x + 300, source.location.y - 400
    other = node(tree, "CompositorNodeRLayers", scene=splats, layer=splats.view_layers[0].name, label="Splats")
    other.location = (source.location.x, down)
    follows = {name: [link.to_socket for link in source.outputs[name].links] for name in ("Image", "Depth")}
    depth = node(tree, "CompositorNodeZcombine", {"Use Alpha": True}, location=(right, down))
    for layer, letter in zip((source, other), "AB", strict=True):
        tree.links.new(layer.outputs["Image"], depth.inputs[letter])
        tree.links.new(layer.outputs["Depth"], depth.inputs[f"Depth {letter}"])
    for name, result in (("Image", "Result"), ("Depth", "Depth")):
        for target in follows[name]:
            tree.links.new(depth.outputs[result], target)
    return ""


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
        made, left = set_up(context.scene)
        both = "F12 here puts both together."
        self.report({"WARNING" if left else "INFO"}, f"Splats are rendered in the scene '{made.name}'. {left or both}")
        return {"FINISHED"}


CLASSES = (LEGS4D_OT_composite,)


def register() -> None:
    """Add the handlers."""
    handlers.add(_HANDLERS)


def unregister() -> None:
    """Remove the handlers, found by name."""
    handlers.remove(_HANDLERS)


@persistent
def _legs4d_composite_follows(scene: bpy.types.Scene, *_: Any) -> None:
    if scene.compositing_node_group is None or scene.render.engine == ENGINE:
        return
    splats = second_scene(scene)
    if splats is not None and splats != scene:
        follow(scene, splats)


_HANDLERS = (
    ("depsgraph_update_post", _legs4d_composite_follows),
    ("render_init", _legs4d_composite_follows),
)
