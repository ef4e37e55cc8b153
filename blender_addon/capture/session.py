"""One capture of a scene: which pictures it takes, each of them, and the dataset they end up in.

The renders happen on a copy of the scene (see `rendering`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bpy
import imbuf
import numpy as np
from mathutils import Matrix

from ..sequence.rendering import COMPOSITOR_ENGINES, Job, RenderProblem
from . import points as initial
from .cryptomatte import object_ids
from .dataset import CaptionRow, DatasetWriter, Layout, describe
from .rig import View, camera_matrix, intrinsics, world_to_camera

CRYPTOMATTE_PASSES = ("CryptoObject00", "CryptoObject01")
"""Two layers hold the four objects that cover most of a pixel."""

CHANNELS = ("Red", "Green", "Blue", "Alpha")


@dataclass(frozen=True)
class Plan:
    """What to capture.

    Attributes:
        folder: where the dataset goes.
        views: the cameras.
        horizontal_angle: of all of them, radians.
        width, height: pixels.
        frames: the scene's frame numbers, in order; the dataset counts them from 0.
        samples: render samples per pixel; 0 leaves the scene's own.
        foreground: object names per object id, counted from 1.
        captions: the table.
        initial_points: most points of the initial cloud; 0 writes none.
        suffix: ".png" or ".jpg".
        overwrite: replace what is in the folder.
    """

    folder: Path
    views: tuple[View, ...]
    horizontal_angle: float
    width: int
    height: int
    frames: tuple[int, ...]
    samples: int
    foreground: tuple[tuple[str, ...], ...]
    captions: tuple[CaptionRow, ...]
    initial_points: int = 0
    suffix: str = ".png"
    overwrite: bool = False


@dataclass(frozen=True)
class Shot:
    """One picture to take: which view, which frame (counted from 0)."""

    view: View
    frame: int


class Capture(Job):
    """Takes the pictures of a plan; see `rendering.Job` for how it is run.

    Raises:
        RenderProblem: on entering, when the plan cannot be carried out.
    """

    def __init__(self, scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, plan: Plan) -> None:
        super().__init__(scene, view_layer, plan.folder, len(plan.frames) * len(plan.views))
        self.plan = plan
        self._shown: int | None = None

    def begin(self) -> None:
        """Checks the plan and opens the dataset folder."""
        self._check()
        moves = any(view.track is not None for view in self.plan.views)
        matrices = [
            [world_to_camera(camera_matrix(view.at(frame))) for view in self.plan.views]
            for frame in range(len(self.plan.frames) if moves else 1)
        ]
        lens = intrinsics(self.plan.width, self.plan.height, self.plan.horizontal_angle)
        layout = Layout(
            width=self.plan.width,
            height=self.plan.height,
            num_frames=len(self.plan.frames),
            camera_ids=tuple(view.camera_id for view in self.plan.views),
            test_ids=tuple(view.camera_id for view in self.plan.views if view.is_test),
            intrinsics=np.stack([lens] * len(self.plan.views)),
            world_to_camera=np.array(matrices),
            captions=self.plan.captions,
            fps=self.original.render.fps / self.original.render.fps_base,
            suffix=self.plan.suffix,
        )
        self.writer = DatasetWriter(self.plan.folder, layout, self._asked(layout), overwrite=self.plan.overwrite)

    def set_up(self) -> None:
        """The copy gets a camera, the plan's image size and the passes that say which object is where."""
        self._make_camera()
        self._set_output()
        layer = self.scene.view_layers[self.layer_name]
        layer.use_pass_cryptomatte_object = True
        layer.pass_cryptomatte_depth = 2 * len(CRYPTOMATTE_PASSES)
        layer.use_pass_z = True
        self._write_passes(layer)

    def remaining(self) -> Iterator[Shot]:
        """The pictures not taken yet, frame by frame, so that the scene is evaluated once a frame."""
        for frame in range(len(self.plan.frames)):
            for view in self.plan.views:
                if not self.writer.has(view.camera_id, frame):
                    yield Shot(view, frame)

    def aim(self, shot: Shot) -> None:
        """Sets the copy's frame, camera and output for this shot."""
        if self._shown != shot.frame:
            self.scene.frame_set(self.plan.frames[shot.frame])
            self._shown = shot.frame
        self.scene.camera.matrix_world = Matrix(camera_matrix(shot.view.at(shot.frame)).tolist())
        self.scene.render.filepath = str(self.image)

    def store(self, shot: Shot) -> None:
        """Takes the rendered shot into the dataset.

        Raises:
            RenderProblem: nothing was rendered.
        """
        if not self.image.exists():
            raise RenderProblem(f"Blender rendered no picture for camera {shot.view.camera_id}; see its log.")
        ranks = [[self._pass(f"{name}.{channel}") for channel in CHANNELS] for name in CRYPTOMATTE_PASSES]
        ids = object_ids(np.array(ranks).transpose(0, 2, 3, 1), [list(names) for names in self.plan.foreground])
        wants_depth = self.plan.initial_points and shot.frame == 0 and not shot.view.is_test
        depth = self._pass("Depth") if wants_depth else None
        self.writer.store(shot.view.camera_id, shot.frame, self.image, ids, depth)

    def finish(self) -> None:
        """Writes the initial points, captions and cameras: the dataset is whole."""
        if self.plan.initial_points and not self.writer.has_initial_points:
            self._write_initial_points()
        self.writer.finish()

    def _check(self) -> None:
        plan = self.plan
        if self.original.render.engine not in COMPOSITOR_ENGINES:
            engine = self.original.render.engine
            raise RenderProblem(f"{engine} writes no object masks; choose Cycles or EEVEE in the render properties.")
        if not plan.foreground:
            raise RenderProblem("No object counts as foreground; add at least one to the list.")
        if len(plan.foreground) > 255:
            raise RenderProblem(f"{len(plan.foreground)} foreground entries are too many; a mask holds 255 ids.")
        if not plan.frames:
            raise RenderProblem("The frame range is empty; set its end after its start.")
        if not any(not view.is_test for view in plan.views):
            raise RenderProblem("There is no training camera; ask for at least one.")

    def _asked(self, layout: Layout) -> dict[str, Any]:
        """What the pictures depend on, as far as the plan says it."""
        asked = {key: value for key, value in asdict(self.plan).items() if key not in ("folder", "views", "overwrite")}
        return asked | {"layout": describe(layout), "scene": self.original.name}

    def _make_camera(self) -> None:
        lens = self.made(bpy.data.cameras.new("4-LEGS capture"))
        camera = self.made(bpy.data.objects.new("4-LEGS capture", lens))
        lens.sensor_fit, lens.lens_unit, lens.angle = "HORIZONTAL", "FOV", self.plan.horizontal_angle
        lens.clip_end = 10 * initial.FAR
        self.scene.collection.objects.link(camera)
        self.scene.camera = camera

    def _set_output(self) -> None:
        render, plan = self.scene.render, self.plan
        render.resolution_x, render.resolution_y, render.resolution_percentage = plan.width, plan.height, 100
        render.pixel_aspect_x = render.pixel_aspect_y = 1
        render.use_motion_blur = False
        image = render.image_settings
        image.media_type = "IMAGE"
        image.file_format, image.color_mode = ("PNG" if plan.suffix == ".png" else "JPEG"), "RGB"
        image.quality = 95
        if plan.samples and render.engine == "CYCLES":
            self.scene.cycles.samples = plan.samples
        elif plan.samples:
            self.scene.eevee.taa_render_samples = plan.samples

    def _write_passes(self, layer: bpy.types.ViewLayer) -> None:
        """Has the passes written as float files beside the picture."""
        tree, source, files = self.passes_to_files(layer)
        settings = files.format
        settings.media_type, settings.file_format = "IMAGE", "OPEN_EXR"
        settings.color_mode, settings.color_depth, settings.exr_codec = "RGBA", "32", "NONE"

        def write(name: str, output: bpy.types.NodeSocket) -> None:
            files.file_output_items.new("FLOAT", name)
            tree.links.new(output, files.inputs[name])

        write("Depth", source.outputs["Depth"])
        for name in CRYPTOMATTE_PASSES:
            split = tree.nodes.new("CompositorNodeSeparateColor")
            tree.links.new(source.outputs[name], split.inputs[0])
            for channel in split.outputs:  # one by one: as a colour they would be multiplied with their "alpha"
                write(f"{name}.{channel.name}", channel)

    def _pass(self, name: str) -> np.ndarray:
        """[H, W] float32 values of a pass of the picture just rendered, first row on top."""
        return _pixels(self.scratch / f"{name}.exr")[..., 0]

    def _write_initial_points(self) -> None:
        layout = self.writer.layout
        clouds, colors, masks = [], [], []
        for place, view in enumerate(self.plan.views):
            if view.is_test:
                continue
            depth = np.load(self.writer.depth_path(view.camera_id, 0), allow_pickle=False)
            found, seen = initial.unproject(depth, layout.intrinsics[place], layout.world_to_camera[0, place])
            clouds.append(found)
            colors.append(_pixels(self.writer.image_path(view.camera_id, 0))[seen][:, :3] / 255.0)
            masks.append(_pixels(self.plan.folder / "seg" / str(view.camera_id) / "000000.png")[seen][:, 0] > 0)
        cloud, color, mask = np.concatenate(clouds), np.concatenate(colors), np.concatenate(masks)
        chosen = np.concatenate(
            [
                np.flatnonzero(part)[initial.thinned(cloud[part], self.plan.initial_points // 2)]
                for part in (~mask, mask)
                if part.any()
            ]
        )
        self.writer.write_initial_points(cloud[chosen], color[chosen], mask[chosen])


def _pixels(path: Path) -> np.ndarray:
    """[H, W, channels] of an image file as it is stored (uint8 or float32), first row on top."""
    picture: Any = imbuf.load(str(path))
    with picture.with_buffer() as buffer:
        return np.array(buffer)[::-1]
