"""What the artist sets for the engine, kept in the scene: `scene.legs4d_render`."""

from __future__ import annotations

import bpy

from .. import declare


class RenderSettings(bpy.types.PropertyGroup):
    """Settings of "4-LEGS splats"."""

    animated = ("background", "antialiased", "motion_steps", "nearest", "farthest")

    background = declare.color(
        "Background", "Seen where there are no splats, unless the film is transparent", default=(0.0, 0.0, 0.0)
    )
    antialiased = declare.boolean(
        "Antialias",
        "Let splats smaller than a pixel fade instead of growing to a pixel's size: for pictures much smaller "
        "than those the capture was trained on",
    )
    render_missing = declare.boolean(
        "Render What Is There",
        "Render frames of which this machine lacks points or relevancies as far as it has them; "
        "off, such a render ends with an error before its first wrong picture",
    )
    nearest = declare.number(
        "Nearest",
        "Splats nearer to the camera are left out, in scene units: a wall that it stands behind. 0: none",
        min=0.0,
        subtype="DISTANCE",
    )
    farthest = declare.number(
        "Farthest", "Splats farther from the camera are left out, in scene units. 0: none", min=0.0, subtype="DISTANCE"
    )
    motion_steps = declare.integer(
        "Steps", "Moments within the shutter time that motion blur averages", min=2, max=64, default=8
    )
    preview_factor = declare.integer(
        "First Preview",
        "How much coarser the viewport's first picture is; the full one follows when the view rests",
        min=1,
        max=16,
        default=4,
    )


CLASSES = (RenderSettings,)


def settings_of(scene: bpy.types.Scene) -> RenderSettings:
    """The scene's settings: Blender has them as `scene.legs4d_render`."""
    return scene.legs4d_render  # type: ignore[attr-defined]
