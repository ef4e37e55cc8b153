"""Names that a `.blend` file keeps: attributes, custom properties, markers. Changing one orphans saved files."""

from __future__ import annotations

import secrets
import string

POSITION, SCALE, ROTATION = "position", "scale", "rotation"
RADIANCE, VELOCITY, HIGHLIGHT = "radiance:base", "velocity", "highlight"

RANK = "legs4d:rank"
"""Point attribute (FLOAT): the share, 0 to 1, of its cloud's points that are more important than this one."""

SEEN = "seen"
"""Point attribute (FLOAT), 0 to 1: how much of the point training pixels showed, 0 is invented; where a run tells."""

SELECTION = "selection"
"""`selection:<id>` (FLOAT, 0 to 1) is how much of a point belongs to a selection that was kept under a name."""

SELECTED = ".selection"
"""Point attribute (BOOLEAN): what is selected now; Blender's edit mode of point clouds has it under the same name."""
BEFORE = "legs4d:before"
"""Point attribute (BOOLEAN): what was selected before the last click on a thing, meant at another scale later."""
DELETED, HIDDEN = "deleted", "hidden"
"""Point attributes (BOOLEAN): what nothing shows, renders or exports. The run has it still."""
MASKS = (DELETED, HIDDEN)
IDENTITY = "legs4d:id"
"""Point attribute (INT): which of its cloud's points each is, so that what edit mode removes is known."""
EDITS = "legs4d:edits"
"""Custom property of the parent empty (JSON): what is selected, deleted and hidden of loose points, frame by frame."""

CLOUD_ATTRIBUTES = {
    POSITION: "FLOAT_VECTOR",
    SCALE: "FLOAT_VECTOR",
    ROTATION: "QUATERNION",
    RADIANCE: "FLOAT4",
    VELOCITY: "FLOAT_VECTOR",
    HIGHLIGHT: "FLOAT",
    RANK: "FLOAT",
}
"""Point attributes of all clouds and their types, as Blender 5.3 names and types its Gaussian splats."""

ROLES = {"STATIC": "static", "DYNAMIC": "moving", "LOOSE": "loose"}
"""What a cloud is in its sequence, and what its object is called."""


def sh_attribute(index: int) -> str:
    """The point attribute (FLOAT_VECTOR) of a coefficient of view dependence, counted from 0 beyond degree 0."""
    return f"radiance:sh_{index}"


def optional_attributes(num_sh: int, has_seen: bool) -> dict[str, str]:
    """Point attributes that not every sequence has, and their types."""
    found = {sh_attribute(index): "FLOAT_VECTOR" for index in range(num_sh)}
    return {**found, SEEN: "FLOAT"} if has_seen else found


CURVES = ("relevancy", "active", "strength")
"""The animated values of a prompt layer, one custom property each."""

TIME = "legs4d:time"
"""The parent empty's custom property whose F-curve says which capture time a scene frame shows."""
TIME_PATH = f'["{TIME}"]'

ENGINE = "LEGS4D_SPLATS"
"""What a scene calls the render engine "4-LEGS splats"."""

LAYER_ID_LENGTH = 8
LEVELS = "INT8"
"""The type of `layer_attribute`."""


def new_layer_id() -> str:
    """A random layer id: it names attributes and F-curves for good, so it does not depend on order or prompt."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(LAYER_ID_LENGTH))


def layer_attribute(layer_id: str) -> str:
    """The point attribute (`LEVELS`) with a layer's relevancy, before threshold and curves: the cache's byte 0..255.

    Blender reads bytes from 128 on as negative: the relevancy is the value modulo 256, over 255. As FLOAT, which it was
    in files before, 40 layers of 300,000 points took three times as long a frame.
    """
    return f"{HIGHLIGHT}:{layer_id}"


def curve_property(layer_id: str, curve: str) -> str:
    """The parent empty's custom property that carries one of `CURVES` of a layer."""
    return f"legs4d:{layer_id}:{curve}"


def curve_path(layer_id: str, curve: str) -> str:
    """The RNA path of that custom property, for F-curves and drivers."""
    return f'["{curve_property(layer_id, curve)}"]'


def amount_property(name: str) -> str:
    """The parent empty's custom property that carries one of `portable.look.AMOUNTS`."""
    return f"legs4d:{name}"


def amount_path(name: str) -> str:
    """The RNA path of that custom property, for F-curves and drivers."""
    return f'["{amount_property(name)}"]'


def selection_attribute(name: str) -> str:
    """The point attribute (FLOAT, 0..1) of a selection that was kept under a name."""
    return f"{SELECTION}:{name}"


def grade_property(grade_id: str, name: str) -> str:
    """The parent empty's custom property that carries `strength` or one of `portable.look.GRADE` of a grade."""
    return f"legs4d:{grade_id}:{name}"


def grade_path(grade_id: str, name: str) -> str:
    """The RNA path of that custom property, for F-curves and drivers."""
    return f'["{grade_property(grade_id, name)}"]'
