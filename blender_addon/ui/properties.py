"""What a sequence, its layers, the window and the jobs look like to Blender: RNA properties, nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from .. import names
from ..cache.frames import normalised
from ..layers import presets

on_look_changed: list[Callable[[bpy.types.Object], None]] = []
"""Called with the parent empty after a person changed how layers are shown."""
on_timing_changed: list[Callable[[bpy.types.Object], None]] = []
"""Called with the parent empty after a person changed which moment a scene frame shows."""
on_prompt_changed: list[Callable[[bpy.types.Object, str], None]] = []
"""Called with the parent empty and a layer id after a person typed another prompt into a layer."""
on_prompt_entered: list[Callable[[bpy.types.Context], None]] = []
"""Called after a person confirmed the prompt field."""


_unannounced = False


@contextlib.contextmanager
def unannounced() -> Iterator[None]:
    """In this block nobody is told that looks changed: for code that sets several values and then tells once."""
    global _unannounced
    _unannounced = True
    try:
        yield
    finally:
        _unannounced = False


def _look_changed(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    for listener in on_look_changed if not _unannounced else ():
        listener(self.id_data)


def _mode_changed(self: SequenceProperties, context: bpy.types.Context) -> None:
    presets.apply(self.id_data)
    _look_changed(self, context)


def _timing_changed(self: SequenceProperties, context: bpy.types.Context) -> None:
    for listener in on_timing_changed:
        listener(self.id_data)


def _prompt_changed(self: LayerProperties, context: bpy.types.Context) -> None:
    if self.label == self.asked:  # a person gave it no name of its own
        self.label = self.prompt
    if normalised(self.prompt) != normalised(self.asked):
        for listener in on_prompt_changed:
            listener(self.id_data, self.layer_id)


def _prompt_entered(self: WindowProperties, context: bpy.types.Context) -> None:
    if self.prompt.strip():
        for listener in on_prompt_entered:
            listener(context)


class IntervalProperties(bpy.types.PropertyGroup):
    """When a prompt holds, in capture frames."""

    start: IntProperty(name="Start", description="First capture frame", min=0)
    end: IntProperty(name="End", description="Last capture frame, included", min=0)
    peak: IntProperty(name="Peak", description="Strongest capture frame", min=0)
    score: FloatProperty(name="Score", description="How sure it is", min=0.0, max=1.0)


class MarkerProperties(bpy.types.PropertyGroup):
    """A timeline marker that a layer made: its `name`, and where it was put."""

    frame: IntProperty(name="Frame")


class LayerProperties(bpy.types.PropertyGroup):
    """A prompt layer."""

    layer_id: StringProperty(name="Layer id", description="Names the layer's point attribute and F-curves for good")
    prompt: StringProperty(
        name="Prompt", description="What to look for; a changed prompt is asked again", update=_prompt_changed
    )
    label: StringProperty(name="Name", description="What the list calls the layer; empty: its prompt")
    asked: StringProperty(name="Asked", description="The prompt as it was last sent")
    answer_key: StringProperty(
        name="Answer", description="Where the cache keeps what was found; empty before the first answer"
    )
    warnings: StringProperty(
        name="Warnings", description="About words that the backend did not understand as written, a line each"
    )
    enabled: BoolProperty(name="Enabled", description="Show this layer", default=True, update=_look_changed)
    solo: BoolProperty(
        name="Solo", description="Show only the layers that are solo", default=False, update=_look_changed
    )
    color: FloatVectorProperty(
        name="Color",
        description="Tint of what the prompt names",
        subtype="COLOR",
        size=3,
        min=0.0,
        max=1.0,
        default=(1.0, 0.25, 0.02),
        update=_look_changed,
    )
    threshold: FloatProperty(
        name="Threshold",
        description="Relevancy from which a point counts as named by the prompt",
        min=0.0,
        max=1.0,
        default=0.5,
        subtype="FACTOR",
        update=_look_changed,
    )
    softness: FloatProperty(
        name="Softness",
        description="Half the width of the transition around the threshold",
        min=0.0,
        max=0.5,
        default=0.1,
        subtype="FACTOR",
        update=_look_changed,
    )
    intervals: CollectionProperty(type=IntervalProperties)
    markers: CollectionProperty(type=MarkerProperties)
    relevancy_written: StringProperty(
        name="Relevancy as written",
        description="Signature of the keys that an answer made: others are a person's",
    )
    active_written: StringProperty(name="Active as written", description="The same of the active curve")


class SequenceProperties(bpy.types.PropertyGroup):
    """On every object: what makes an empty a sequence, and an object one of its clouds."""

    role: EnumProperty(
        name="Role",
        description="What this object is in a 4-LEGS sequence",
        items=[
            ("NONE", "None", "Not part of a sequence"),
            ("SEQUENCE", "Sequence", "The parent of a sequence's points"),
            ("STATIC", "Static", "The points that do not move"),
            ("DYNAMIC", "Dynamic", "The points that move"),
            ("LOOSE", "Loose", "Points of single frames, which no other frame knows"),
        ],
    )
    run_id: StringProperty(name="Run id", description="The run's folder in the cache")
    run: StringProperty(name="Run", description="The run's name at the backend")
    revision: StringProperty(name="Revision", description="The backend's mark of the geometry that was imported")
    cache_folder: StringProperty(
        name="Cache", description="Where the run's frames were cached when it was imported", subtype="DIR_PATH"
    )
    num_frames: IntProperty(name="Frames", min=0)
    num_static: IntProperty(name="Static points", min=0)
    num_dynamic: IntProperty(name="Moving points", min=0)
    num_loose: IntProperty(
        name="Loose points", description="The most that a frame has of its own, which no other frame knows", min=0
    )
    num_sh: IntProperty(
        name="SH coefficients", description="Of colors that depend on the view, beyond degree 0", min=0, max=15
    )
    changing: StringProperty(
        name="Changing", description="What of the moving points every frame has anew, beside place, rotation and color"
    )
    has_seen: BoolProperty(name="Seen", description="Whether it is known how much of each point the footage showed")
    up: FloatVectorProperty(name="Up", description="Which direction of the capture is up", default=(0.0, -1.0, 0.0))
    files: StringProperty(name="Files", description="Names of the splat files that the sequence plays, as JSON")
    files_folder: StringProperty(name="Folder", description="Where they were when they were imported")
    files_beside: StringProperty(name="Relative", description="The same, relative to the saved file")
    fps: FloatProperty(name="Frame rate", description="Of the capture, frames per second", min=0.0)
    pixel_angle: FloatProperty(
        name="Blur",
        description=(
            "Angle that a pixel of the capture's cameras saw. Points are shown as blurred as training saw them; "
            "less is sharper, with gaps between small points"
        ),
        subtype="ANGLE",
        precision=5,
        min=0.0,
        max=0.1,
        update=_look_changed,
    )
    start_frame: IntProperty(
        name="Start",
        description="Scene frame that shows the first frame of the capture",
        default=1,
        update=_timing_changed,
    )
    timed: StringProperty(name="Timed", description="Signature of the timing that the layers' keys and markers follow")
    interpolate: BoolProperty(
        name="Subframes",
        description=(
            "Move points on between two captured frames; without it each frame is held until the next. "
            "Loose points, which no other frame knows, are held always, and have no velocity"
        ),
        default=True,
        update=_timing_changed,
    )
    detail: FloatProperty(
        name="Detail",
        description="Share of the points that viewports show, the most important first; renders always show all",
        min=0.001,
        max=1.0,
        default=1.0,
        subtype="FACTOR",
        update=_look_changed,
    )
    mode: EnumProperty(
        name="Show",
        description="How the points that a prompt names stand out",
        items=[
            ("HIGHLIGHT", "Highlight", "Tint them in the layer's color"),
            ("DESATURATE", "Desaturate Others", "Take the color out of everything else"),
            ("ISOLATE", "Isolate", "Hide everything else"),
            ("OUTLINE", "Outline", "Draw the layer's color around it"),
            ("NONE", "As Captured", "Show the captured colors only"),
        ],
        update=_mode_changed,
    )
    viewport: EnumProperty(
        name="Viewport",
        description="How viewports draw the sequence; renders always show splats",
        items=[
            ("POINTS", "Points", "Colored discs: fast, and in Solid shading too"),
            ("SPLATS", "Splats", "Soft ellipsoids, as renders have them: for Material Preview and Rendered shading"),
        ],
        update=_look_changed,
    )
    layers: CollectionProperty(type=LayerProperties)
    active_layer: IntProperty(name="Active layer", min=0)

    @property
    def is_sequence(self) -> bool:
        """Whether the object is the parent of a sequence."""
        return bool(self.role == "SEQUENCE")

    @property
    def static_object(self) -> bpy.types.Object | None:
        """The cloud of points that do not move; None if the run has none or it was deleted."""
        return self._child("STATIC")

    @property
    def dynamic_object(self) -> bpy.types.Object | None:
        """The cloud of points that move; None if the run has none or it was deleted."""
        return self._child("DYNAMIC")

    @property
    def loose_object(self) -> bpy.types.Object | None:
        """The cloud of points that only the current frame has; None if the run has none or it was deleted."""
        return self._child("LOOSE")

    @property
    def cloud_objects(self) -> list[bpy.types.Object]:
        """All of its clouds that are there."""
        return [child for child in map(self._child, names.ROLES) if child is not None]

    def _child(self, role: str) -> bpy.types.Object | None:
        # Found among the children: a pointer property would keep an object alive that its user deleted.
        for child in self.id_data.children:
            if child.type == "POINTCLOUD" and child.legs4d.role == role:
                return child
        return None


class RunItem(bpy.types.PropertyGroup):
    """A run that the backend offers; `name` is the one to ask for."""

    frames: IntProperty(name="Frames")
    points: IntProperty(name="Points")
    finished: BoolProperty(name="Finished", description="Every frame is trained")
    language: BoolProperty(name="Answers prompts")
    problem: StringProperty(name="Problem", description="Why it cannot be opened")


class DatasetItem(bpy.types.PropertyGroup):
    """A dataset folder that the backend can train; `name` is the one to ask for."""


class JobItem(bpy.types.PropertyGroup):
    """A training job of the backend; `name` is its id."""

    again: StringProperty(
        name="Again", description="The request, as JSON, of a job that failed as its run was made otherwise"
    )
    label: StringProperty(name="Job")
    state: StringProperty(name="State")
    stage: StringProperty(name="Stage")
    done: IntProperty(name="Done")
    total: IntProperty(name="Total")
    seconds_left: FloatProperty(name="Time left", default=-1.0)
    message: StringProperty(name="Message")
    show_log: BoolProperty(name="Log", description="Show the end of the job's log")
    log: StringProperty(name="Log")
    log_offset: StringProperty(name="Log offset", description="How far it has been read, in bytes")


class WindowProperties(bpy.types.PropertyGroup):
    """What the panels hold while Blender runs; never saved."""

    prompt: StringProperty(
        name="Prompt",
        description="What to look for, such as 'throwing the ball'; Enter asks",
        options={"SKIP_SAVE"},
        update=_prompt_entered,
    )
    runs: CollectionProperty(type=RunItem)
    active_run: IntProperty(name="Active run")
    datasets: CollectionProperty(type=DatasetItem)
    jobs: CollectionProperty(type=JobItem)
    active_job: IntProperty(name="Active job")
    train_dataset: StringProperty(
        name="Dataset", description="Folder with cameras and images, under one of the backend's roots"
    )
    train_out: StringProperty(
        name="Output",
        description="Name of the run to write, under the backend's first root; empty: the dataset's name and '-run'",
    )
    train_scale: FloatProperty(
        name="Image Scale",
        description="Size of the training images relative to the captured ones; smaller is faster",
        min=0.05,
        max=1.0,
        default=1.0,
        subtype="FACTOR",
    )
    train_preset: EnumProperty(
        name="Effort",
        items=[
            ("auto", "Auto", "Full where the backend has a GPU, else quick"),
            ("quick", "Quick", "Minutes, on a laptop too"),
            ("full", "Full", "The best picture; hours without a GPU"),
        ],
    )
    train_again: StringProperty(
        name="Again",
        description="The request, as JSON, that was refused as its run was made otherwise",
        options={"SKIP_SAVE"},
    )
    train_differs: StringProperty(
        name="Differences", description="In what that run was made otherwise", options={"SKIP_SAVE"}
    )
    train_encoder: StringProperty(
        name="Encoder",
        description=(
            "Where the meaning of things comes from: 'captions', 'tiny', 'viclip', 'openclip:MODEL'; "
            "empty: the dataset's captions, or 'tiny', which looks at the pictures, where it has none"
        ),
    )


CLASSES = (
    IntervalProperties,
    MarkerProperties,
    LayerProperties,
    SequenceProperties,
    RunItem,
    DatasetItem,
    JobItem,
    WindowProperties,
)


def attach() -> None:
    """Give every object and the window manager their `legs4d` properties; the classes are registered."""
    bpy.types.Object.legs4d = PointerProperty(type=SequenceProperties)
    bpy.types.WindowManager.legs4d = PointerProperty(type=WindowProperties)


def detach() -> None:
    """Take them away again; what files store of them stays."""
    del bpy.types.WindowManager.legs4d
    del bpy.types.Object.legs4d
