"""What the artist sets for the engine, kept in the scene: `scene.legs4d_render`."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, FloatVectorProperty, IntProperty


class RenderSettings(bpy.types.PropertyGroup):
    """Settings of "4-LEGS splats"."""

    background: FloatVectorProperty(
        name="Background",
        description="Seen where there are no splats, unless the film is transparent",
        subtype="COLOR",
        size=3,
        min=0.0,
        max=1.0,
        default=(0.0, 0.0, 0.0),
    )
    antialiased: BoolProperty(
        name="Antialias",
        description=(
            "Let splats smaller than a pixel fade instead of growing to a pixel's size: for pictures much smaller "
            "than those the capture was trained on"
        ),
    )
    motion_steps: IntProperty(
        name="Steps",
        description="Moments within the shutter time that motion blur averages",
        min=2,
        max=64,
        default=8,
    )
    preview_factor: IntProperty(
        name="First Preview",
        description="How much coarser the viewport's first picture is; the full one follows when the view rests",
        min=1,
        max=16,
        default=4,
    )


CLASSES = (RenderSettings,)
