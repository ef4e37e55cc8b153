"""What a sequence and its layers look like to Blender: RNA properties of its objects, kept in the file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import bpy

from .. import declare, names
from ..cache.frames import normalised
from ..layers import presets
from ..portable.averaging import MOST_REACH
from ..portable.look import PRESETS
from ..portable.sh import COEFFICIENTS

on_look_changed: list[Callable[[bpy.types.Object], None]] = []
"""Called with the parent empty after a person changed how layers are shown."""
on_timing_changed: list[Callable[[bpy.types.Object], None]] = []
"""Called with the parent empty after a person changed which moment a scene frame shows."""
on_points_changed: list[Callable[[bpy.types.Object], None]] = []
"""Called with the parent empty after a person changed how the points of a frame are made of what was captured."""
on_prompt_changed: list[Callable[[bpy.types.Object, str], None]] = []
"""Called with the parent empty and a layer id after a person typed another prompt into a layer."""
on_scale_changed: list[Callable[[bpy.types.Object], None]] = []
"""Called with the parent empty after the scale at which things are meant was changed."""

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


def _owner(group: bpy.types.PropertyGroup) -> bpy.types.Object:
    assert isinstance(group.id_data, bpy.types.Object)
    return group.id_data


def _look_changed(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    for listener in on_look_changed if not _unannounced else ():
        listener(_owner(self))


def _mode_changed(self: SequenceProperties, context: bpy.types.Context) -> None:
    presets.apply(_owner(self), self.mode)
    _look_changed(self, context)


def _timing_changed(self: SequenceProperties, context: bpy.types.Context) -> None:
    for listener in on_timing_changed:
        listener(_owner(self))


def _averaging_changed(self: SequenceProperties, context: bpy.types.Context) -> None:
    for listener in on_points_changed:
        listener(_owner(self))


def _scale_changed(self: SequenceProperties, context: bpy.types.Context) -> None:
    for listener in on_scale_changed:
        listener(_owner(self))


def _prompt_changed(self: LayerProperties, context: bpy.types.Context) -> None:
    if self.label == self.asked:  # a person gave it no name of its own
        self.label = self.prompt
    if normalised(self.prompt) != normalised(self.asked):
        for listener in on_prompt_changed:
            listener(_owner(self), self.layer_id)


class IntervalProperties(bpy.types.PropertyGroup):
    """When a prompt holds, in capture frames."""

    start = declare.integer("Start", "First capture frame", min=0)
    end = declare.integer("End", "Last capture frame, included", min=0)
    peak = declare.integer("Peak", "Strongest capture frame", min=0)
    score = declare.number("Score", "How sure it is", min=0.0, max=1.0)


class MarkerProperties(bpy.types.PropertyGroup):
    """A timeline marker that a layer made: its `name`, and where it was put."""

    frame = declare.integer("Frame")


class LayerProperties(bpy.types.PropertyGroup):
    """A prompt layer."""

    animated = ("enabled", "color", "threshold", "softness")

    layer_id = declare.string("Layer id", "Names the layer's point attribute and F-curves for good")
    prompt = declare.string("Prompt", "What to look for; a changed prompt is asked again", update=_prompt_changed)
    label = declare.string("Name", "What the list calls the layer; empty: its prompt")
    asked = declare.string("Asked", "The prompt as it was last sent")
    answer_key = declare.string("Answer", "Where the cache keeps what was found; empty before the first answer")
    warnings = declare.string("Warnings", "About words that the backend did not understand as written, a line each")
    enabled = declare.boolean("Enabled", "Show this layer", default=True, update=_look_changed)
    solo = declare.boolean("Solo", "Show only the layers that are solo", default=False, update=_look_changed)
    color = declare.color("Color", "Tint of what the prompt names", default=(1.0, 0.25, 0.02), update=_look_changed)
    threshold = declare.factor(
        "Threshold", "Relevancy from which a point counts as named by the prompt", default=0.5, update=_look_changed
    )
    softness = declare.factor(
        "Softness", "Half the width of the transition around the threshold", max=0.5, default=0.1, update=_look_changed
    )
    intervals = declare.collection(IntervalProperties)
    markers = declare.collection(MarkerProperties)
    relevancy_written = declare.string(
        "Relevancy as written", "Signature of the keys that an answer made: others are a person's"
    )
    active_written = declare.string("Active as written", "The same of the active curve")


class GradeProperties(bpy.types.PropertyGroup):
    """A colour grade; its values are custom properties of the parent empty. Its `name` is its id."""

    grade_id = declare.string("Grade id", "Names the grade's values and F-curves for good")
    label = declare.string("Name", "What the list calls the grade")
    where = declare.enum(
        "Where",
        items=[
            ("ALL", "Everything", "All points"),
            ("LAYER", "Layer", "What a prompt names, as strongly as its layer shows"),
            ("SELECTION", "Selection", "What was selected when the grade was made"),
            ("RAMP", "Ramp", "None at the foot of an arrow in the scene, all from its tip on"),
        ],
    )
    source = declare.string("Source", "Id of the layer, or the name that the selection is kept under")
    handle = declare.pointer(bpy.types.Object, "Ramp", "The arrow that the grade grows along")
    enabled = declare.boolean("Enabled", "Follow this grade", default=True, update=_look_changed)


class SelectionProperties(bpy.types.PropertyGroup):
    """A selection with a name. Its `name` is its id, which names what points have of it for good."""

    label = declare.string("Name", "What the list calls the selection")
    source = declare.enum(
        "Source",
        items=[
            ("FILE", "File", "Kept in this file"),
            ("RUN", "Run", "Of the run: made by `legs4d segment`, or in the browser"),
        ],
    )


class SequenceProperties(bpy.types.PropertyGroup):
    """On every object: what makes an empty a sequence, and an object one of its clouds."""

    role = declare.enum(
        "Role",
        "What this object is in a 4-LEGS sequence",
        [
            ("NONE", "None", "Not part of a sequence"),
            ("SEQUENCE", "Sequence", "The parent of a sequence's points"),
            ("STATIC", "Static", "The points that do not move"),
            ("DYNAMIC", "Dynamic", "The points that move"),
            ("LOOSE", "Loose", "Points of single frames, which no other frame knows"),
            ("RAMP", "Ramp", "The arrow of a grade"),
        ],
    )
    run_id = declare.string("Run id", "The run's folder in the cache")
    run = declare.string("Run", "The run's name at the backend")
    revision = declare.string("Revision", "The backend's mark of the geometry that was imported")
    cache_folder = declare.string(
        "Cache", "Where the run's frames were cached when it was imported", subtype="DIR_PATH"
    )
    num_frames = declare.integer("Frames", min=0)
    num_static = declare.integer("Static points", min=0)
    num_dynamic = declare.integer("Moving points", min=0)
    num_loose = declare.integer(
        "Loose points", "The most that a frame has of its own, which no other frame knows", min=0
    )
    num_sh = declare.integer("SH coefficients", "Of colors that depend on the view, beyond degree 0", min=0, max=15)
    changing = declare.string(
        "Changing", "What of the moving points every frame has anew, beside place, rotation and color"
    )
    has_seen = declare.boolean("Seen", "Whether it is known how much of each point the footage showed")
    up = declare.vector("Up", "Which direction of the capture is up", default=(0.0, -1.0, 0.0))
    files = declare.string("Files", "Names of the splat files that the sequence plays, as JSON")
    files_folder = declare.string("Folder", "Where they were when they were imported")
    files_beside = declare.string("Relative", "The same, relative to the saved file")
    fps = declare.number("Frame rate", "Of the capture, frames per second", min=0.0)
    pixel_angle = declare.angle(
        "Blur",
        "Angle that a pixel of the capture's cameras saw. Points are shown as blurred as training saw them; "
        "less is sharper, with gaps between small points",
        precision=5,
        min=0.0,
        max=0.1,
        update=_look_changed,
    )
    start_frame = declare.integer(
        "Start", "Scene frame that shows the first frame of the capture", default=1, update=_timing_changed
    )
    timed = declare.string("Timed", "Signature of the timing that the layers' keys and markers follow")
    interpolate = declare.boolean(
        "Subframes",
        "Move points on between two captured frames; without it each frame is held until the next. "
        "Loose points, which no other frame knows, are held always, and have no velocity",
        default=True,
        update=_timing_changed,
    )
    detail = declare.factor(
        "Detail",
        "Share of the points that viewports show, the most important first; renders always show all",
        min=0.001,
        default=1.0,
        update=_look_changed,
    )
    largest = declare.number(
        "Largest",
        "Longest standard deviation that viewports show, in scene units: huge splats veil the view. "
        "0: no limit. Renders show all as it is",
        min=0.0,
        precision=3,
        update=_look_changed,
    )
    slenderness = declare.number(
        "Needles",
        "How many times its middle standard deviation a splat is long in viewports, at most. "
        "0: no limit. Renders show all as it is",
        min=0.0,
        update=_look_changed,
    )
    degree = declare.integer(
        "SH Degree",
        "How finely colors depend on the view: 0 not at all, 3 as captured. Less hides glints of views that were "
        "not filmed; renders take less time",
        min=0,
        max=3,
        default=3,
        update=_look_changed,
    )
    shadows = declare.boolean(
        "Throw Shadows",
        "Whether the splats throw shadows: on everything else, and on splats that reflect. Renders take longer. Cycles",
        update=_look_changed,
    )
    averaging = declare.integer(
        "Average",
        "Frames before and after each that moving points are averaged over: jitter goes, quick motion is smoothed "
        "too. Every frame change reads so many more. Points of single frames stay as they are",
        min=0,
        max=MOST_REACH,
        default=0,
        update=_averaging_changed,
    )
    mode = declare.enum(
        "Show",
        "How the points that a prompt names stand out",
        [(name, preset.label, preset.says, "", preset.number) for name, preset in PRESETS.items()],
        update=_mode_changed,
    )
    viewport = declare.enum(
        "Viewport",
        "How viewports draw the sequence; renders always show splats",
        [
            ("POINTS", "Points", "Colored discs: fast, and in Solid shading too"),
            ("SPLATS", "Splats", "Soft ellipsoids, as renders have them: for Material Preview and Rendered shading"),
        ],
        update=_look_changed,
    )
    bound_at = declare.integer("Bound", "Capture frame in which moving points follow the nodes near them", min=0)
    identity = declare.string("Identity", "The same on a sequence's empty and its clouds, and on no other's")
    as_one = declare.boolean(
        "As One",
        "Selecting, hiding, moving and deleting a part is done to all of the sequence; off lets you select its clouds "
        "one by one, for their modifiers",
        default=True,
    )
    layers = declare.collection(LayerProperties)
    active_layer = declare.integer("Active layer", min=0)
    grades = declare.collection(GradeProperties)
    active_grade = declare.integer("Active grade", min=0)
    selections = declare.collection(SelectionProperties)
    active_selection = declare.integer("Active selection", min=0)
    selection_name = declare.string("Name", "What the selection is to be kept as")
    thing_scale = declare.factor(
        "Scale",
        "Which of the things that lie in each other a click means: 0 the smallest of the run, 1 the largest. "
        "Changes what was clicked last",
        default=0.5,
        update=_scale_changed,
    )
    thing_words = declare.string("Words", "What to select, in words")
    thing_said = declare.string("Said", "What the last click found")
    pointed = declare.string("Pointed", "What was pointed at last, as JSON")

    @property
    def is_sequence(self) -> bool:
        """Whether the object is the parent of a sequence."""
        return bool(self.role == "SEQUENCE")

    @property
    def shown_sh(self) -> int:
        """Coefficients of view dependence that show, beyond degree 0."""
        return min(self.num_sh, COEFFICIENTS[self.degree])

    @property
    def cloud_objects(self) -> list[bpy.types.Object]:
        """All of its clouds that are there."""
        return [child for child in map(self.child, names.ROLES) if child is not None]

    def child(self, role: str) -> bpy.types.Object | None:
        """The cloud of one of `names.ROLES`; None if the run has none or it was deleted."""
        # Found among the children: a pointer property would keep an object alive that its user deleted.
        for child in _owner(self).children:
            if child.type == "POINTCLOUD" and properties_of(child).role == role:
                return child
        return None


CLASSES = (
    IntervalProperties,
    MarkerProperties,
    LayerProperties,
    GradeProperties,
    SelectionProperties,
    SequenceProperties,
)


def cloud_of(child: bpy.types.Object) -> bpy.types.PointCloud:
    """The points of one of a sequence's clouds."""
    assert isinstance(child.data, bpy.types.PointCloud)
    return child.data


def properties_of(owner: bpy.types.Object) -> SequenceProperties:
    """What an object is in a sequence: Blender has it as `owner.legs4d`."""
    return owner.legs4d  # type: ignore[attr-defined]
