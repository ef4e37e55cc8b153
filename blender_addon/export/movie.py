"""Finished pictures as a movie, by Blender's own FFmpeg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import imbuf
import numpy as np

from .. import declare
from ..sequence.rendering import Job, RenderProblem
from . import prores_tags

CODECS = {"H264": ("MPEG4", "H264", ".mp4"), "PRORES": ("QUICKTIME", "PRORES", ".mov")}
"""Name → Blender's container, codec, and the file's ending."""


def write(job: Job, pictures: list[Path], codec: str) -> Path:
    """Encode pictures, one a frame at the scene's rate; returns the file, in the job's scratch folder.

    RenderProblem if Blender wrote none.
    """
    container, name, suffix = CODECS[codec]
    scene = bpy.data.scenes.new("4-LEGS movie")
    try:
        _show(scene, job.scene, [_even(picture) for picture in pictures])
        render = scene.render
        render.image_settings.media_type = "VIDEO"
        declare.put(render.ffmpeg, format=container, codec=name)
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
    if codec == "PRORES":
        try:
            prores_tags.tag_bt709(target)
        except prores_tags.NotProRes as error:
            raise RenderProblem(f"Blender's movie cannot be told its colors ({error}); export PNG.") from error
    return target


def _even(path: Path) -> Path:
    """A picture with even sides, as codecs ask for that halve their colours: an odd last row or column twice."""
    picture: Any = imbuf.load(str(path))
    width, height = picture.size
    if not (width % 2 or height % 2):
        return path
    wider: Any = imbuf.new(
        (width + width % 2, height + height % 2), planes=picture.planes, buffer_type=picture.buffer_type
    )
    with picture.with_buffer() as from_, wider.with_buffer(write=True) as to:
        # Rows come from the bottom.
        np.asarray(to)[:] = np.pad(np.asarray(from_), ((height % 2, 0), (0, width % 2), (0, 0)), mode="edge")
    wider.file_type = picture.file_type
    imbuf.write(wider, filepath=str(path))
    return path


def _show(scene: bpy.types.Scene, like: bpy.types.Scene, pictures: list[Path]) -> None:
    """One strip of all pictures, as they are: they have gone through the view transform already."""
    strip: Any = scene.sequence_editor_create().strips.new_image(
        "pictures", filepath=str(pictures[0]), channel=1, frame_start=1, fit_method="ORIGINAL"
    )
    for picture in pictures[1:]:
        strip.elements.append(picture.name)
    scene.frame_start, scene.frame_end = 1, len(pictures)
    render, its = scene.render, like.render
    render.resolution_x, render.resolution_y = imbuf.load(str(pictures[0])).size
    render.fps, render.fps_base, render.resolution_percentage = its.fps, its.fps_base, 100
    render.use_sequencer, render.use_compositing = True, False
    declare.put(scene.view_settings, view_transform="Standard")
