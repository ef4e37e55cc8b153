"""A 4D scene that the backend makes of an ordinary video, and boxes that are drawn where it finds nothing in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy

from .. import declare
from ..link import session
from ..link.operators import NeedsBackend
from ..selection.gestures import Corner, draw_outline
from ..ui.operators import refuse
from ..ui.properties import window
from .making import called_there, when_seen

LEAST_PIXELS = 4.0
"""Of a box's sides."""
ENDS = {"ESC", "RET", "NUMPAD_ENTER", "RIGHTMOUSE"}


def chosen() -> Path | None:
    """The video of the panel; None where none is chosen, or there is no such file."""
    given = window().video_file
    path = Path(bpy.path.abspath(given)) if given else None
    return path if path is not None and path.is_file() else None


class LEGS4D_OT_make_scene(NeedsBackend, bpy.types.Operator):
    """Have the backend make a 4D scene of the video: the objects in the boxes, else what it finds, and what is behind \
them. The run appears in the list"""

    bl_idname = "legs4d.make_scene"
    bl_label = "Make Scene"

    def execute(self, context: bpy.types.Context) -> declare.Result:
        path = chosen()
        if path is None:
            return refuse(self, "Choose a video first.")
        how: dict[str, Any] = {"lite": window().video_lite}
        if window().video_depth == "helper":
            how["make_depth"] = True
        elif window().video_depth == "folder":
            maps = Path(bpy.path.abspath(window().video_depth_folder))
            if not window().video_depth_folder or not maps.is_dir():
                return refuse(self, "Choose the folder of the depth maps first.")
            how["depth"] = called_there(maps)
            if how["depth"] is None:
                return refuse(self, f"'{maps}' lies under none of the backend's folders; put the depth maps there.")
        make(path, how, [tuple(item.corners) for item in window().video_boxes])
        return {"FINISHED"}


def make(path: Path, how: Mapping[str, Any], boxes: list[tuple[float, ...]]) -> None:
    """Have a scene made of a video.

    Args:
        how: what else a request of this kind says.
        boxes: around its objects on the first frame, (left, top, right, bottom) in pixels; empty for what is found.
    """
    jobs, out = session.current.jobs, f"{path.stem}-scene"
    if not boxes:
        when_seen(path, lambda name: jobs.make_scene(name, out, how))
        return
    file = Path(bpy.app.tempdir) / f"{path.stem}-boxes.json"
    file.write_text(json.dumps({"frame": 0, "boxes": [[round(value, 1) for value in box] for box in boxes]}))
    when_seen(path, lambda name: when_seen(file, lambda told: jobs.make_scene(name, out, {**how, "boxes": told})))


class LEGS4D_OT_add_box(bpy.types.Operator):
    """Add a box around an object on the first frame of the video"""

    bl_idname = "legs4d.add_box"
    bl_label = "Add Box"

    corners = declare.vector("Box", "Left, top, right and bottom, in pixels from the picture's upper left", size=4)

    def execute(self, context: bpy.types.Context) -> declare.Result:
        left, top, right, bottom = map(float, tuple(self.corners))
        if min(right - left, bottom - top) < LEAST_PIXELS:
            return refuse(self, "Drag from one corner of the object to the opposite one.")
        window().video_boxes.add().corners = self.corners
        return {"FINISHED"}


class LEGS4D_OT_remove_box(bpy.types.Operator):
    """Forget this box"""

    bl_idname = "legs4d.remove_box"
    bl_label = "Remove Box"

    number = declare.integer("Number", min=0, options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> declare.Result:
        if self.number >= len(window().video_boxes):
            return refuse(self, "There is no such box.")
        window().video_boxes.remove(self.number)
        return {"FINISHED"}


class LEGS4D_OT_draw_boxes(bpy.types.Operator):
    """Show the first frame of the video in a window of its own, and drag a box around each object. Enter ends"""

    bl_idname = "legs4d.draw_boxes"
    bl_label = "Draw Boxes on the First Frame"

    _handle: Any = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """With a video."""
        if chosen() is None:
            cls.poll_message_set("Choose a video first")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """Open the window, and wait for the mouse there."""
        path = chosen()
        assert path is not None, "poll says so"
        try:
            image = bpy.data.images.load(str(path), check_existing=True)
        except RuntimeError as problem:
            return refuse(self, f"{problem}".strip())
        size: Any = image.size
        if not size[0]:
            return refuse(self, f"Blender cannot read '{path.name}'.")
        bpy.ops.wm.window_new()
        self._window = context.window_manager.windows[-1]
        area: Any = self._window.screen.areas[0]
        area.type = "IMAGE_EDITOR"
        space = area.spaces.active
        space.image = image
        space.image_user.frame_duration, space.image_user.frame_current = image.frame_duration, 1
        space.image_user.frame_start, space.image_user.use_auto_refresh = context.scene.frame_current, False
        self._area, self._size = area, (int(size[0]), int(size[1]))
        self._region = next(one for one in area.regions if one.type == "WINDOW")
        self._corners: list[Corner] = []
        self._handle = bpy.types.SpaceImageEditor.draw_handler_add(self._draw, (), "WINDOW", "POST_PIXEL")
        with context.temp_override(window=self._window, area=area, region=self._region):
            bpy.ops.image.view_all(fit_view=True)
            context.window_manager.modal_handler_add(self)
        self._window.cursor_modal_set("CROSSHAIR")
        context.workspace.status_text_set("Drag a box around each object. Enter: done.")
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """Follow the mouse."""
        if self._window not in list(context.window_manager.windows) or event.type in ENDS:
            self._end(context)
            return {"FINISHED"}
        here = (float(event.mouse_x - self._region.x), float(event.mouse_y - self._region.y))
        if event.type == "LEFTMOUSE" and event.value == "PRESS":
            self._corners = [here, here]
        elif event.type == "MOUSEMOVE" and self._corners:
            self._corners[1] = here
        elif event.type == "LEFTMOUSE" and event.value == "RELEASE" and self._corners:
            views = [self._region.view2d.region_to_view(*corner) for corner in (self._corners[0], here)]
            declare.ops().add_box(corners=box_between(views[0], views[1], self._size))
            self._corners = []
        else:
            return {"PASS_THROUGH"}  # the view may be moved before
        self._region.tag_redraw()
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends it: another file is loaded."""
        self._end(context)

    def _end(self, context: bpy.types.Context) -> None:
        if self._handle is not None:
            bpy.types.SpaceImageEditor.draw_handler_remove(self._handle, "WINDOW")
            self._handle = None
        context.workspace.status_text_set(None)
        if self._window in list(context.window_manager.windows):
            with context.temp_override(window=self._window):
                bpy.ops.wm.window_close()

    def _draw(self) -> None:
        if bpy.context.area != self._area:
            return
        width, height = self._size
        for item in window().video_boxes:
            left, top, right, bottom = map(float, tuple(item.corners))
            corners = [(left / width, 1 - top / height), (right / width, 1 - bottom / height)]
            draw_outline([self._region.view2d.view_to_region(*corner, clip=False) for corner in corners])
        if self._corners:
            draw_outline(self._corners)


def box_between(one: Corner, other: Corner, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) in pixels, inside of a picture of (width, height), between two places as the Image
    Editor has them: 0 to 1 from its lower left."""
    across = sorted(min(max(place[0], 0.0), 1.0) * size[0] for place in (one, other))
    down = sorted((1 - min(max(place[1], 0.0), 1.0)) * size[1] for place in (one, other))
    return across[0], down[0], across[1], down[1]


CLASSES = (LEGS4D_OT_make_scene, LEGS4D_OT_add_box, LEGS4D_OT_remove_box, LEGS4D_OT_draw_boxes)
