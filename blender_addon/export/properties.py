"""What the user sets for an export, kept in the scene: `scene.legs4d_export`."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty


class ExportSettings(bpy.types.PropertyGroup):
    """Settings of the section "Export"."""

    folder: StringProperty(name="Folder", description="Where the files go", subtype="DIR_PATH", default="//export")
    template: StringProperty(
        name="Names",
        description="File names without ending: {frame} is the scene's frame, {name} the sequence, {scene}, {camera}",
        default="{name}_{frame:04d}",
    )
    use_png: BoolProperty(name="PNG", description="The picture, as the view transform shows it", default=True)
    use_exr: BoolProperty(
        name="EXR",
        description="Multilayer OpenEXR, scene linear: Combined, Depth, and a matte per prompt layer",
        default=True,
    )
    use_ply: BoolProperty(
        name="PLY", description="The Gaussians of each frame with their highlight, in the capture's own axes"
    )
    use_json: BoolProperty(name="JSON", description="Prompts, intervals and curves", default=True)
    span: EnumProperty(
        name="Frames",
        items=[
            ("SCENE", "Scene", "From the scene's start to its end"),
            ("MARKERS", "Markers", "From the first to the last selected timeline marker; of all, if none is selected"),
            ("CUSTOM", "Custom", "From one frame to another"),
        ],
    )
    frame_start: IntProperty(name="Start", default=1)
    frame_end: IntProperty(name="End", default=24)
    overwrite: BoolProperty(
        name="Overwrite",
        description="Write frames again that are there already; off goes on where it stopped",
        default=True,
    )
    progress: FloatProperty(subtype="FACTOR", min=0.0, max=1.0)
    message: StringProperty()


CLASSES = (ExportSettings,)
