"""What the user sets for an export, kept in the scene: `scene.legs4d_export`."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty


class ExportSettings(bpy.types.PropertyGroup):
    """Settings of the section "Export"."""

    folder: StringProperty(
        name="Folder",
        description="Where the files go; empty: the folder 'export' beside the saved file",
        subtype="DIR_PATH",
    )
    template: StringProperty(
        name="Names",
        description="File names without ending: {frame} is the scene's frame, {name} the sequence, {scene}, {camera}",
        default="{name}_{frame:04d}",
    )
    use_png: BoolProperty(name="PNG", description="The picture, as the view transform shows it", default=True)
    use_exr: BoolProperty(
        name="EXR",
        description="Multilayer OpenEXR, scene linear: Combined, Depth, Alpha, Highlight, and a mask per prompt layer",
        default=True,
    )
    use_masks: BoolProperty(name="Masks", description="A grey 16-bit PNG per prompt layer, its values as they are")
    use_movie: BoolProperty(name="Movie", description="A preview of all frames, by Blender's FFmpeg")
    use_ply: BoolProperty(
        name="PLY", description="The Gaussians of each frame with their highlight, in the capture's own axes"
    )
    use_spz: BoolProperty(
        name="SPZ", description="The Gaussians of each frame, small; it has no attributes, so bake the highlight"
    )
    use_json: BoolProperty(name="JSON", description="Prompts, intervals and curves", default=True)
    use_otio: BoolProperty(
        name="OTIO",
        description="Intervals as a cut list for editing programs (OpenTimelineIO); the backend writes it",
    )
    depth: EnumProperty(
        name="EXR Depth",
        items=[
            ("16", "Half", "16 bits for the picture: small, and exact enough; Blender keeps depth and masks in 32"),
            ("32", "Full", "32 bits a value"),
        ],
        default="32",
    )
    codec: EnumProperty(
        name="Movie",
        items=[("H264", "H.264", "Small; plays everywhere"), ("PRORES", "ProRes", "ProRes 422 HQ, for editing")],
    )
    highlight: EnumProperty(
        name="Gaussians",
        items=[
            ("ATTRIBUTE", "As Captured", "Captured colours; PLY has the highlight as an attribute of its own"),
            ("COLOR", "As Shown", "Colours and opacities as the layers show them, for viewers that know no highlight"),
        ],
    )
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
