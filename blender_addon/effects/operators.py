"""Effects as operators: each leaves ordinary cameras, keys, markers or strips behind, to be edited as any others."""

from __future__ import annotations

import math

import bpy

from .. import declare
from ..cache.frames import CacheError
from ..layers import layers
from ..portable.look import AMOUNTS
from ..sequence import display, sequence, timing
from ..sequence.properties import LayerProperties, properties_of
from ..ui.in_pieces import InPieces, Pieces
from ..ui.operators import NeedsSequence, OnLayer, refuse
from . import brought, bullet_time, cameras, cuts, fades, follower, zoom
from .places import Nowhere

RATE_STEP = 0.01
"""Frames a second that nobody sees."""
FADED = {name: says for name, says in AMOUNTS.items() if name != "tint"}
"""What is faded for all layers together; tints follow each layer's strength."""


class _Effect(NeedsSequence):
    """For operators on the sequence that is meant; problems go to the status line."""

    bl_options = {"REGISTER", "UNDO"}
    changes_time = False

    def make(self, context: bpy.types.Context, shown: sequence.Sequence) -> str:
        """Do it, and say in a sentence what there is now. Nowhere or CacheError where it cannot be done."""
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Run the effect and say what it made, or why it cannot."""
        shown = sequence.meant(context)
        if self.changes_time and not timing.is_editable(shown.empty):
            return refuse(
                self,
                f"The time of '{shown.empty.name}' is driven or in the NLA; bake it to keys of its action first.",
            )
        try:
            self.report({"INFO"}, self.make(context, shown))
        except (Nowhere, CacheError) as obstacle:
            return refuse(self, f"{obstacle}.")
        display.update(shown.empty, moved=self.changes_time)
        return {"FINISHED"}


class _LayerEffect(_Effect, OnLayer):
    """For effects on one layer, which has to have an action."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is a layer with an action."""
        if not super().poll(context):
            return False
        its = sequence.meant(context).its
        if not any(layer.intervals for layer in its.layers):
            cls.poll_message_set("Ask a prompt first: no layer has an action")
            return False
        return True

    def acting(self, context: bpy.types.Context) -> LayerProperties:
        """The layer. Nowhere if it has no action."""
        layer = layers.find(sequence.meant(context), self.layer(context))
        if layer is None or not layer.intervals:
            raise Nowhere("The layer has no action; ask its prompt, or select another")
        return layer


def strongest(layer: LayerProperties) -> tuple[int, int, int]:
    """(start, end, peak) of a layer's interval of the highest score."""
    start, end, peak, _ = max(layers.intervals(layer), key=lambda interval: interval[3])
    return start, end, peak


class LEGS4D_OT_bullet_time(_LayerEffect, bpy.types.Operator):
    """Stop time at the layer's peak while a camera goes around the action"""

    bl_idname = "legs4d.bullet_time"
    bl_label = "Bullet Time"
    changes_time = True

    frames = declare.integer("Frames", "Scene frames that time stands still", default=48, min=2)
    angle = declare.angle(
        "Angle", "How far the camera goes around", default=math.radians(120), min=-4 * math.pi, max=4 * math.pi
    )

    def make(self, context: bpy.types.Context, shown: sequence.Sequence) -> str:
        """Rig, time curve, retimed layers, camera markers."""
        scene, layer = context.scene, self.acting(context)
        _, _, peak = strongest(layer)
        stop = timing.scene_frame(shown.empty, peak)
        cameras.make_room(scene, shown, stop, self.frames)
        camera = bullet_time.add_rig(scene, shown, layer, peak, stop, self.frames, self.angle)
        bullet_time.hold(shown, peak, self.frames)
        first, times = timing.moments(shown.empty)
        scene.frame_end = max(scene.frame_end, first + len(times) - 1)
        layers.retime(shown, scene)
        cameras.take(scene, camera, stop, stop + self.frames, camera.name, replace=False)
        return f"Time stands still from frame {stop} to {stop + self.frames}."


class LEGS4D_OT_zoom(_LayerEffect, bpy.types.Operator):
    """Add a camera that turns to the layer's action, closes in on it, follows it, and comes back"""

    bl_idname = "legs4d.zoom"
    bl_label = "Zoom to Action"

    ramp = declare.integer("Ramp", "Scene frames that closing in takes", default=12, min=1)
    fill = declare.factor("Fill", "Share of the picture's height that the action fills", default=0.4, min=0.02)
    replace = declare.boolean("Replace Cuts", "Take frames that are cut to other cameras as well")

    def make(self, context: bpy.types.Context, shown: sequence.Sequence) -> str:
        """Camera, target, keys, camera markers."""
        layer = self.acting(context)
        start, end, _ = strongest(layer)
        camera, first, last = zoom.add_camera(context.scene, shown, layer, (start, end), self.ramp, self.fill)
        why = cameras.take(context.scene, camera, first, last, camera.name, replace=self.replace)
        return why or f"'{camera.name}' is the camera from frame {first} to {last}."


class LEGS4D_OT_fade(_Effect, bpy.types.Operator):
    """Key how the look comes in and goes out with what the layers name"""

    bl_idname = "legs4d.fade"
    bl_label = "Fade"

    what = declare.enum(
        "What",
        items=[
            ("HIGHLIGHT", "Highlight", "The selected layer's strength"),
            *((name.upper(), name.capitalize(), f"{says}, while any layer is active") for name, says in FADED.items()),
        ],
    )
    ramp = declare.integer("Ramp", "Scene frames of each fade", default=6, min=1)

    def make(self, context: bpy.types.Context, shown: sequence.Sequence) -> str:
        """Keys."""
        its = shown.its
        if self.what == "HIGHLIGHT":
            layer = its.layers[its.active_layer] if its.active_layer < len(its.layers) else None
            count = fades.fade_highlight(shown, layer, self.ramp) if layer else 0
        else:
            count = fades.fade_amount(shown, self.what.lower(), self.ramp)
        if not count:
            raise Nowhere("No layer that shows has an action; ask a prompt first")
        return f"Keyed {count} fade{'s' if count > 1 else ''}."


class LEGS4D_OT_cut(_LayerEffect, bpy.types.Operator):
    """Cut to what the layers name, in the order of time"""

    bl_idname = "legs4d.cut"
    bl_label = "Scene Selection"

    to = declare.enum(
        "As",
        items=[
            ("MARKERS", "Camera Markers", "Bind the camera that sees each action best where it starts"),
            ("STRIPS", "Sequencer Strips", "A new scene with each action as a strip of this scene"),
        ],
    )
    replace = declare.boolean("Replace Cuts", "Rebind markers at these frames that are bound to other cameras")

    def make(self, context: bpy.types.Context, shown: sequence.Sequence) -> str:
        """Camera markers, or a scene with strips."""
        cut = cuts.shots(context.scene, shown)
        if not cut:
            raise Nowhere("No layer that shows has an action; enable one")
        if self.to == "STRIPS":
            edit = cuts.make_edit(context.scene, cut, f"Cut: {shown.empty.name}")
            return f"The scene '{edit.name}' has {len(cut)} strips, {edit.frame_end} frames."
        bound = cuts.bind_cameras(context.scene, cut, replace=self.replace)
        if not bound:
            raise Nowhere("No camera of the scene sees any of the actions; add one that does")
        return f"Bound cameras to {bound} of {len(cut)} shots."


class LEGS4D_OT_remap_time(_Effect, bpy.types.Operator):
    """Give the sequence a time curve to edit in the Graph Editor: capture frame over scene frame"""

    bl_idname = "legs4d.remap_time"
    bl_label = "Edit Time Curve"
    changes_time = True

    speed = declare.number("Speed", "Capture frames per scene frame; 0.25 is four times slower", default=1.0, min=0.01)

    def make(self, context: bpy.types.Context, shown: sequence.Sequence) -> str:
        """A straight time curve, in the place of any that there is."""
        scene, empty = context.scene, shown.empty
        last = max(properties_of(empty).num_frames - 1, 1)
        first = timing.moments(empty)[0]
        timing.write(empty, [first, first + last / self.speed], [0.0, float(last)])
        scene.frame_end = max(scene.frame_end, math.ceil(first + last / self.speed))
        layers.retime(shown, scene)
        return f"{empty.name} now follows the curve 'Legs4d Time' at speed {self.speed:g}."


class LEGS4D_OT_reset_time(_Effect, bpy.types.Operator):
    """Remove the time curve: capture frames follow scene frames one to one again"""

    bl_idname = "legs4d.reset_time"
    bl_label = "Remove Time Curve"
    changes_time = True

    def make(self, context: bpy.types.Context, shown: sequence.Sequence) -> str:
        """One to one."""
        timing.remove(shown.empty)
        layers.retime(shown, context.scene)
        return "Capture frames follow scene frames one to one."


class LEGS4D_OT_add_follower(InPieces, OnLayer, bpy.types.Operator):
    """Add an empty that follows what the layer's prompt names, the selected points, or an object of the run: parent \
lights or text to it. Its keys are ordinary ones; add it anew after you changed the time curve"""

    bl_idname = "legs4d.add_follower"
    bl_label = "Add Follower"
    bl_options = {"REGISTER", "UNDO"}
    refusals = (Nowhere, CacheError)

    of = declare.enum(
        "Of",
        items=[
            ("LAYER", "Layer", "The middle of what the layer's prompt names"),
            ("SELECTION", "Selected Points", "The middle of the selected points that move"),
            ("OBJECT", "Object", "One of the run's objects: the one whose empty is active, or the only one"),
        ],
    )
    thing = declare.string("Object", "Name of the run's object; empty: the active empty's", options={"SKIP_SAVE"})

    def pieces(self, context: bpy.types.Context) -> Pieces:
        """An empty with keys."""
        shown = sequence.meant(context)
        layer = layers.find(shown, self.layer(context))
        if self.of == "LAYER" and layer is None:
            raise Nowhere("Ask a prompt first: there is no layer to follow")
        if self.of == "LAYER" and layer is not None:
            made = yield from follower.of_layer(context.scene, shown, layer)
        elif self.of == "OBJECT":
            made = follower.of_object(context.scene, shown, self.thing, context.active_object)
        else:
            made = yield from follower.of_selection(context.scene, shown)
        return f"'{made.name}' follows."


class LEGS4D_OT_match_rate(_Effect, bpy.types.Operator):
    """Have scene and capture run at one speed"""

    bl_idname = "legs4d.match_rate"
    bl_label = "Match Frame Rate"
    changes_time = True

    to = declare.enum(
        "By",
        items=[
            ("SCENE", "Scene", "Set the scene's frame rate to the capture's: a frame shows a frame"),
            ("TIME", "Time Curve", "Keep the scene's frame rate, and have a time curve play the capture in real time"),
        ],
    )

    def make(self, context: bpy.types.Context, shown: sequence.Sequence) -> str:
        """The scene's rate, or a time curve."""
        scene, rate = context.scene, shown.its.fps
        if self.to == "SCENE":
            scene.render.fps, scene.render.fps_base = round(rate), round(rate) / rate
            return f"The scene runs at {rate:g} frames a second now, as the capture."
        speed = rate * scene.render.fps_base / scene.render.fps
        last, first = max(shown.its.num_frames - 1, 1), timing.moments(shown.empty)[0]
        timing.write(shown.empty, [first, first + last / speed], [0.0, float(last)])
        scene.frame_end = max(scene.frame_end, math.ceil(first + last / speed))
        layers.retime(shown, scene)
        return f"The capture plays in real time, {speed:.3g} of its frames in a frame of the scene."


def rates_differ(shown: sequence.Sequence, scene: bpy.types.Scene) -> bool:
    """Whether the capture plays faster or slower than it was, and nobody has said so by a time curve."""
    its = shown.its
    rate = scene.render.fps / scene.render.fps_base
    return its.num_frames > 1 and timing.curve_of(shown.empty) is None and abs(its.fps - rate) > RATE_STEP


class LEGS4D_OT_bring_cameras(_Effect, bpy.types.Operator):
    """Add the cameras that filmed the capture, keyed where they moved"""

    bl_idname = "legs4d.bring_cameras"
    bl_label = "Add Filming Cameras"

    def make(self, context: bpy.types.Context, shown: sequence.Sequence) -> str:
        """Cameras, children of the sequence; the first becomes the scene's where that has none."""
        made = brought.bring_cameras(context.scene, shown)
        if context.scene.camera is None:
            context.scene.camera = made[0]
        return f"Added {len(made)} camera{'s' if len(made) > 1 else ''}."


class LEGS4D_OT_bring_nodes(_Effect, bpy.types.Operator):
    """Add the nodes that bend the capture as empties: moving, turning or keying one bends what is around it, and \
things can hang on it"""

    bl_idname = "legs4d.bring_nodes"
    bl_label = "Add Control Nodes"

    most = declare.integer("Most", "Empties to add, spread over all nodes; 0 adds every node", default=100, min=0)

    def make(self, context: bpy.types.Context, shown: sequence.Sequence) -> str:
        """A collection of empties."""
        made = brought.bring_nodes(shown, self.most)
        context.view_layer.update()
        return f"Added {len(made)} nodes."


CLASSES = (
    LEGS4D_OT_add_follower,
    LEGS4D_OT_match_rate,
    LEGS4D_OT_bring_cameras,
    LEGS4D_OT_bring_nodes,
    LEGS4D_OT_bullet_time,
    LEGS4D_OT_zoom,
    LEGS4D_OT_fade,
    LEGS4D_OT_cut,
    LEGS4D_OT_remap_time,
    LEGS4D_OT_reset_time,
)
