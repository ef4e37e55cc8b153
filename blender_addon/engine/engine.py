"""The render engine "4-LEGS splats": pictures come from the backend's rasteriser, through Blender's camera."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import bpy
import numpy as np

from .. import wire
from ..link import connection as link
from ..link.types import Received
from ..names import ENGINE
from . import picture, preview, shot
from .camera import View, border_pixels, fitted, shifted, view
from .properties import settings_of
from .service import Cancelled, PictureFailed, Service

PASSES = ("combined", "alpha", "depth", "highlight", "masks")
SINGLE = (("Coverage", "A"), ("Highlight", "V"))
"""Passes of one channel beside Combined, Depth and the masks, and their channel's name.

Coverage is the protocol's alpha: the compositor cannot tell a pass called Alpha from the picture's own."""

_service: Service | None = None
_asking = threading.Lock()
"""Renders of two windows take turns on the one connection."""


class LEGS4D_RenderEngine(bpy.types.RenderEngine):
    """Renders the sequences of a scene; everything else is for Cycles, and a compositor that puts both together."""

    bl_idname = ENGINE
    bl_label = "4-LEGS splats"
    bl_use_preview = False
    bl_use_postprocess = True
    bl_use_eevee_viewport = True
    bl_use_gpu_context = False

    _eye = ""
    """Name of the view that is rendered under stereoscopy; empty without."""

    def update_render_passes(self, scene: Any, renderlayer: Any) -> None:  # type: ignore[override]  # not by name
        """Tells the compositor which passes there will be."""
        self.register_pass(scene, renderlayer, "Combined", 4, "RGBA", "COLOR")
        self.register_pass(scene, renderlayer, "Depth", 1, "Z", "VALUE")
        for name, channel in SINGLE:
            self.register_pass(scene, renderlayer, name, 1, channel, "VALUE")
        for name in shot.mask_names(scene).values():
            self.register_pass(scene, renderlayer, name, 1, "V", "VALUE")

    def render(self, depsgraph: bpy.types.Depsgraph) -> None:  # type: ignore[override]  # hides a setting
        """One frame of one view layer. Called by Blender, in a thread of its own where there is a window."""
        crop = self._crop(depsgraph.scene.render)
        size = crop[2:] if crop else (self.resolution_x, self.resolution_y)
        go_on = True
        for self._eye in eyes(depsgraph.scene):
            if self._eye:
                self.active_view_set(self._eye)
            passes = picture.empty(*size, PASSES, None)
            try:
                if go_on:
                    passes = self._passes(depsgraph)
            except Cancelled:
                go_on = False
            except PictureFailed as failure:
                self.report({"ERROR"}, f"4-LEGS splats: {failure}")  # ends animations, and no file is written
                go_on = False
            finally:  # Blender crashes on writing a picture whose passes were never filled
                self._store(depsgraph.view_layer, passes)

    def view_update(self, context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> None:
        """Something changed; `view_draw`, which Blender calls next, finds out whether it shows."""

    def view_draw(self, context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> None:
        """Draws the newest picture of a viewport and asks for one that fits the view. Never waits."""
        preview.draw(self, context, depsgraph)

    def _passes(self, depsgraph: bpy.types.Depsgraph) -> picture.Passes:
        scene = depsgraph.scene
        if scene.camera is None:
            raise PictureFailed("The scene has no camera; add one.")
        placed = shot.placements(scene, depsgraph.view_layer)
        if problem := shot.obstacle(placed) or (self.is_animation and animation_problem(scene)):
            raise PictureFailed(problem)
        instants = [shot.instant(depsgraph, placed, one) for one in self._views(depsgraph)]
        style, behind, first = shot.style(depsgraph.scene_eval), shot.background(depsgraph.scene_eval), instants[0].view
        shown = [(number, one) for number, one in enumerate(placed) if shot.is_seen(number, instants)]
        together = len(shown) > 1 or any(one.is_holdout for _, one in shown)  # laid over each other first
        if together:
            style = replace(style, background=None)
        made: picture.Passes | None = None
        for done, (number, one) in enumerate(shown):
            what = "it" if len(instants) == 1 else f"{len(instants)} moments of it"
            self.update_stats("4-LEGS", f"{one.shown.empty.name}: the backend renders {what}")
            asked = shot.body(number, one, instants, style, PASSES)
            part = picture.set_back(self._ask(asked, done, len(shown)), first.setback)
            part = picture.held_out(part) if one.is_holdout else part
            made = part if made is None else picture.laid_over(made, part)
        if made is None:
            return picture.empty(*first.size, PASSES, behind)
        if together and behind is not None:
            made = picture.over(made, behind)
        return picture.finished(made)

    def _views(self, depsgraph: bpy.types.Depsgraph) -> Iterator[View]:
        """The camera at each moment of the shutter; the dependency graph stands at that moment meanwhile."""
        scene = depsgraph.scene
        if not scene.render.use_motion_blur:
            yield self._view(depsgraph)
            return
        frame, subframe = scene.frame_current, scene.frame_subframe
        try:
            for time in shutter(scene):
                whole = math.floor(time)
                self.frame_set(whole, subframe=time - whole)
                yield self._view(depsgraph)
        finally:
            self.frame_set(frame, subframe=subframe)

    def _view(self, depsgraph: bpy.types.Depsgraph) -> View:
        render, camera = depsgraph.scene.render, self._camera(depsgraph)
        lens = camera.data
        if problem := camera_problem(camera):
            raise PictureFailed(problem)
        assert isinstance(lens, bpy.types.Camera)
        width, height = self.resolution_x, self.resolution_y
        aspects = render.pixel_aspect_x, render.pixel_aspect_y
        projection = np.array(
            camera.calc_matrix_camera(depsgraph, x=width, y=height, scale_x=aspects[0], scale_y=aspects[1])
        )
        matrix: Any = camera.matrix_world
        if self._eye:
            shift = self.camera_shift_x(camera) - lens.shift_x
            projection = shifted(projection, shift * fitted(lens.sensor_fit, width, height, *aspects) / width)
            matrix = np.array(self.camera_model_matrix(camera)).reshape(4, 4).T
        return replace(view(projection, matrix, width, height), crop=self._crop(render))

    def _camera(self, depsgraph: bpy.types.Depsgraph) -> bpy.types.Object:
        """The camera that this picture is seen through: of the eye that is rendered, where there are several."""
        scene, camera = depsgraph.scene, depsgraph.scene_eval.camera
        views = {one.name: one for one in scene.render.views}
        if not self._eye or scene.render.views_format != "MULTIVIEW":
            return camera
        ends = [one.camera_suffix for one in views.values() if camera.name.endswith(one.camera_suffix)]
        name = camera.name.removesuffix(ends[0] if ends else "") + views[self._eye].camera_suffix
        other: bpy.types.Object | None = scene.objects.get(name)
        return camera if other is None else other.evaluated_get(depsgraph)

    def _crop(self, render: bpy.types.RenderSettings) -> tuple[int, int, int, int] | None:
        """(left, top, width, height) of the render border, in pixels of the whole picture."""
        if not render.use_border:
            return None
        edges = (render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y)
        return border_pixels(edges, self.resolution_x, self.resolution_y)

    def _ask(self, asked: shot.Body, number: int, count: int) -> picture.Passes:
        def progress(done: int, total: int) -> None:
            self.update_progress((number + done / total) / count)

        return dict(ask(wire.Kind.RENDER, asked, self.test_break, progress).arrays)

    def _store(self, view_layer: bpy.types.ViewLayer, passes: picture.Passes) -> None:
        scene_masks = shot.mask_names(self._scene_of(view_layer))
        named = picture.renamed(passes, {layer_id: name for (_, layer_id), name in scene_masks.items()})
        height, width = passes["combined"].shape[:2]
        for name, channel in (*SINGLE, ("Depth", "Z"), *((mask, "V") for mask in scene_masks.values())):
            self.add_pass(name, 1, channel, layer=view_layer.name)
        result = self.begin_result(0, 0, width, height, layer=view_layer.name, view=self._eye)
        nothing = np.zeros(width * height, np.float32)
        for target in result.layers[0].passes:
            values = named.get(target.name)
            pixels: Any = target.rect
            pixels.foreach_set(nothing if values is None else picture.stored(values))
        self.end_result(result)

    @staticmethod
    def _scene_of(view_layer: bpy.types.ViewLayer) -> bpy.types.Scene:
        assert isinstance(view_layer.id_data, bpy.types.Scene)
        return view_layer.id_data


def ask(
    kind: str,
    body: shot.Body,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Received:
    """What the backend answers; waits for it. PictureFailed or Cancelled."""
    global _service
    while not _asking.acquire(timeout=0.05):
        if cancelled():
            raise Cancelled
    try:
        if _service is None:
            _service = Service(link.locator(), link.addon_version())
        return _service.ask(kind, body, cancelled=cancelled, progress=progress)
    finally:
        _asking.release()


def disconnect() -> None:
    """End the engine's connection; the next render makes one as the preferences say then."""
    global _service
    with _asking:
        if _service is not None:
            _service.close()
            _service = None


def eyes(scene: bpy.types.Scene) -> list[str]:
    """Names of the views that stereoscopy renders; one without a name where it is off."""
    render = scene.render
    if not render.use_multiview:
        return [""]
    views = render.stereo_views if render.views_format == "STEREO_3D" else render.views
    return [one.name for one in views if one.use] or [""]


def camera_problem(camera: bpy.types.Object) -> str:
    """Why the rasteriser has no such camera, a sentence; empty if it has."""
    lens = camera.data
    if isinstance(lens, bpy.types.Camera) and lens.type in ("PERSP", "ORTHO"):
        return ""
    return (
        f"'{camera.name}' is no perspective or orthographic camera, and the rasteriser has no other; change its lens "
        "type, or render with Cycles."
    )


def animation_problem(scene: bpy.types.Scene) -> str:
    """Why an animation of the scene would end at one of the frames to come, a sentence; empty if it would not."""
    cuts = sorted(
        ((marker.frame, marker.camera) for marker in scene.timeline_markers if marker.camera is not None),
        key=lambda cut: cut[0],
    )
    now = scene.frame_current
    for number, (frame, camera) in enumerate(cuts):
        until = cuts[number + 1][0] if number + 1 < len(cuts) else scene.frame_end + 1
        if until > now and frame <= scene.frame_end and (problem := camera_problem(camera)):
            return f"From frame {max(frame, scene.frame_start)}: {problem}"
    return ""


def shutter(scene: bpy.types.Scene) -> list[float]:
    """Scene frames that motion blur averages: the middles of equal parts of the shutter time."""
    render, steps = scene.render, settings_of(scene).motion_steps
    begin = {"START": 0.0, "CENTER": -0.5, "END": -1.0}[render.motion_blur_position]
    now = scene.frame_current + scene.frame_subframe
    return [now + render.motion_blur_shutter * (begin + (step + 0.5) / steps) for step in range(steps)]


CLASSES = (LEGS4D_RenderEngine,)
