"""What the user sets for an export, kept in the scene: `scene.legs4d_export`."""

from __future__ import annotations

import bpy

from .. import declare


class ExportSettings(bpy.types.PropertyGroup):
    """Settings of the section "Export"."""

    folder = declare.string(
        "Folder", "Where the files go; empty: the folder 'export' beside the saved file", subtype="DIR_PATH"
    )
    template = declare.string(
        "Names",
        "File names without ending: {frame} is the scene's frame, {name} the sequence, {scene}, {camera}",
        default="{name}_{frame:04d}",
    )
    use_png = declare.boolean("PNG", "The picture, as the view transform shows it", default=True)
    use_exr = declare.boolean(
        "EXR",
        "Multilayer OpenEXR, scene linear: Combined, Depth, Alpha, Highlight, and a mask per prompt layer",
        default=True,
    )
    use_masks = declare.boolean("Masks", "A grey 16-bit PNG per prompt layer, its values as they are")
    use_movie = declare.boolean("Movie", "A preview of all frames, by Blender's FFmpeg")
    use_ply = declare.boolean("PLY", "The Gaussians of each frame with their highlight, in the capture's own axes")
    use_spz = declare.boolean("SPZ", "The Gaussians of each frame, small; it has no attributes, so bake the highlight")
    use_json = declare.boolean("JSON", "Prompts, intervals and curves", default=True)
    use_otio = declare.boolean(
        "OTIO", "Intervals as a cut list for editing programs (OpenTimelineIO); the backend writes it"
    )
    depth = declare.enum(
        "EXR Depth",
        items=[
            ("16", "Half", "16 bits for the picture: small, and exact enough; Blender keeps depth and masks in 32"),
            ("32", "Full", "32 bits a value"),
        ],
        default="32",
    )
    codec = declare.enum(
        "Movie",
        items=[("H264", "H.264", "Small; plays everywhere"), ("PRORES", "ProRes", "ProRes 422 HQ, for editing")],
    )
    highlight = declare.enum(
        "Gaussians",
        items=[
            ("ATTRIBUTE", "As Captured", "Captured colors; PLY has the highlight as an attribute of its own"),
            ("COLOR", "As Shown", "Colors and opacities as the layers show them, for viewers that know no highlight"),
        ],
    )
    span = declare.enum(
        "Frames",
        items=[
            ("SCENE", "Scene", "From the scene's start to its end"),
            ("MARKERS", "Markers", "From the first to the last selected timeline marker; of all, if none is selected"),
            ("CUSTOM", "Custom", "From one frame to another"),
        ],
    )
    frame_start = declare.integer("Start", default=1)
    frame_end = declare.integer("End", default=24)
    overwrite = declare.boolean(
        "Overwrite", "Write frames again that are there already; off goes on where it stopped", default=True
    )
    progress = declare.factor()
    message = declare.string()


CLASSES = (ExportSettings,)


def settings_of(scene: bpy.types.Scene) -> ExportSettings:
    """The scene's settings: Blender has them as `scene.legs4d_export`."""
    return scene.legs4d_export  # type: ignore[attr-defined]
