"""Finished pictures as a movie, by Blender's own FFmpeg."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..rendering import Job, RenderProblem

CODECS = {"H264": ("MPEG4", "H264", ".mp4"), "PRORES": ("QUICKTIME", "PRORES", ".mov")}
"""Name → Blender's container, codec, and the file's ending."""


def write(job: Job, pictures: list[Path], codec: str) -> Path:
    """Encode pictures, one a frame at the scene's rate; returns the file, in the job's scratch folder.

    RenderProblem if Blender wrote none.
    """
    container, name, suffix = CODECS[codec]
    scene = bpy.data.scenes.new("4-LEGS movie")
    try:
        _show(scene, job.scene, pictures)
        render = scene.render
        render.image_settings.media_type = "VIDEO"
        render.ffmpeg.format, render.ffmpeg.codec = container, name
        if codec == "PRORES":
            render.ffmpeg.ffmpeg_prores_profile = "422_HQ"
        else:
            render.ffmpeg.constant_rate_factor = "HIGH"
        target = job.scratch / f"preview{suffix}"
        render.filepath, render.use_file_extension = str(target), False
        with bpy.context.temp_override(scene=scene):
            bpy.ops.render.render(animation=True)
    finally:
        bpy.data.scenes.remove(scene)
    if not target.exists():
        raise RenderProblem("Blender's FFmpeg wrote no movie; see its log, or export PNG.")
    return target


def _show(scene: bpy.types.Scene, like: bpy.types.Scene, pictures: list[Path]) -> None:
    """One strip of all pictures, as they are: they have gone through the view transform already."""
    strip = scene.sequence_editor_create().strips.new_image(
        "pictures", filepath=str(pictures[0]), channel=1, frame_start=1, fit_method="ORIGINAL"
    )
    for picture in pictures[1:]:
        strip.elements.append(picture.name)
    scene.frame_start, scene.frame_end = 1, len(pictures)
    render, its = scene.render, like.render
    size = its.resolution_percentage
    render.resolution_x, render.resolution_y = (
        max(2, edge * size // 100 // 2 * 2) for edge in (its.resolution_x, its.resolution_y)
    )  # H.264 halves its colours: even numbers only
    render.fps, render.fps_base, render.resolution_percentage = its.fps, its.fps_base, 100
    render.use_sequencer, render.use_compositing = True, False
    scene.view_settings.view_transform = "Standard"
