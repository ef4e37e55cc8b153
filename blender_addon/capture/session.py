"""One capture of a scene: which pictures it takes, each of them, and the dataset they end up in.

Works on a copy of the scene that shares its objects; the user's scene, its frame, camera and settings stay as they are.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bpy
import imbuf
import numpy as np
from mathutils import Matrix

from . import points as initial
from .cryptomatte import object_ids
from .dataset import CaptionRow, CaptureError, DatasetWriter, Layout, describe
from .rig import View, camera_matrix, intrinsics, world_to_camera

CRYPTOMATTE_PASSES = ("CryptoObject00", "CryptoObject01")
"""Two layers hold the four objects that cover most of a pixel."""

CHANNELS = ("Red", "Green", "Blue", "Alpha")

ENGINES = ("CYCLES", "BLENDER_EEVEE")


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


class Capture:
    """Use as a context manager: entering makes the copy, leaving removes it, whatever happened.

    For each shot of `remaining()`: `aim(shot)`, render `scene`, `store(shot)`. Then `finish()`.

    Raises:
        CaptureError: on entering, when the plan cannot be carried out.
    """

    def __init__(self, scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, plan: Plan) -> None:
        self._original, self._layer_name, self.plan = scene, view_layer.name, plan
        self.scene: bpy.types.Scene | None = None
        self._made: list[bpy.types.ID] = []
        self._scratch: Path | None = None
        self._shown: int | None = None
        self.done = 0
        """How many pictures are taken."""

    def __enter__(self) -> Capture:
        self._check()
        matrices = [world_to_camera(camera_matrix(view)) for view in self.plan.views]
        lens = intrinsics(self.plan.width, self.plan.height, self.plan.horizontal_angle)
        layout = Layout(
            width=self.plan.width,
            height=self.plan.height,
            num_frames=len(self.plan.frames),
            camera_ids=tuple(view.camera_id for view in self.plan.views),
            test_ids=tuple(view.camera_id for view in self.plan.views if view.is_test),
            intrinsics=np.stack([lens] * len(matrices)),
            world_to_camera=np.stack(matrices),
            captions=self.plan.captions,
            suffix=self.plan.suffix,
        )
        self.writer = DatasetWriter(self.plan.folder, layout, self._asked(layout), overwrite=self.plan.overwrite)
        try:
            self._scratch = Path(tempfile.mkdtemp(prefix=".rendering-", dir=self.plan.folder))
            self._copy_scene()
            self.done = self.total - sum(1 for _ in self.remaining())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Removes the copy of the scene and everything made for it. May be called twice."""
        if self.scene is not None:
            bpy.data.scenes.remove(self.scene)
            self.scene = None
        for made in self._made:
            bpy.data.batch_remove([made])
        self._made = []
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    @property
    def total(self) -> int:
        """How many pictures the whole capture has."""
        return len(self.plan.frames) * len(self.plan.views)

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
        self.scene.camera.matrix_world = Matrix(camera_matrix(shot.view).tolist())
        self.scene.render.filepath = str(self._image)

    def render(self) -> None:
        """Renders the shot that was aimed at and waits for it."""
        with bpy.context.temp_override(scene=self.scene):
            bpy.ops.render.render(write_still=True)

    @property
    def rendered(self) -> bool:
        """Whether the shot that was aimed at has been rendered, to its end."""
        return self._image.exists()

    @property
    def _image(self) -> Path:
        return self._scratch / f"image{self.plan.suffix}"

    def store(self, shot: Shot) -> None:
        """Takes the rendered shot into the dataset.

        Raises:
            CaptureError: nothing was rendered.
        """
        if not self.rendered:
            raise CaptureError(f"Blender rendered no picture for camera {shot.view.camera_id}; see its log.")
        ranks = [[self._pass(f"{name}.{channel}") for channel in CHANNELS] for name in CRYPTOMATTE_PASSES]
        ids = object_ids(np.array(ranks).transpose(0, 2, 3, 1), [list(names) for names in self.plan.foreground])
        wants_depth = self.plan.initial_points and shot.frame == 0 and not shot.view.is_test
        depth = self._pass("Depth") if wants_depth else None
        self.writer.store(shot.view.camera_id, shot.frame, self._image, ids, depth)
        self.done += 1

    def finish(self) -> None:
        """Writes the initial points, captions and cameras: the dataset is whole."""
        if self.plan.initial_points:
            self._write_initial_points()
        self.writer.finish()

    def _check(self) -> None:
        plan = self.plan
        if self._original.render.engine not in ENGINES:
            engine = self._original.render.engine
            raise CaptureError(f"{engine} writes no object masks; choose Cycles or EEVEE in the render properties.")
        if not plan.foreground:
            raise CaptureError("No object counts as foreground; add at least one to the list.")
        if len(plan.foreground) > 255:
            raise CaptureError(f"{len(plan.foreground)} foreground entries are too many; a mask holds 255 ids.")
        if not plan.frames:
            raise CaptureError("The frame range is empty; set its end after its start.")
        if not any(not view.is_test for view in plan.views):
            raise CaptureError("There is no training camera; ask for at least one.")

    def _asked(self, layout: Layout) -> dict[str, Any]:
        """What the pictures depend on, as far as the plan says it."""
        asked = {key: value for key, value in asdict(self.plan).items() if key not in ("folder", "views", "overwrite")}
        return asked | {"layout": describe(layout), "scene": self._original.name}

    def _copy_scene(self) -> None:
        scene = self.scene = self._original.copy()
        scene.timeline_markers.clear()  # a marker may carry a camera
        for layer in scene.view_layers:
            layer.use = layer.name == self._layer_name
        self._make_camera()
        self._set_output()
        layer = scene.view_layers[self._layer_name]
        layer.use_pass_cryptomatte_object = True
        layer.pass_cryptomatte_depth = 2 * len(CRYPTOMATTE_PASSES)
        layer.use_pass_z = True
        self._write_passes(layer)

    def _make_camera(self) -> None:
        lens = bpy.data.cameras.new("4-LEGS capture")
        camera = bpy.data.objects.new("4-LEGS capture", lens)
        self._made += [camera, lens]
        lens.sensor_fit, lens.lens_unit, lens.angle = "HORIZONTAL", "FOV", self.plan.horizontal_angle
        lens.clip_end = 10 * initial.FAR
        self.scene.collection.objects.link(camera)
        self.scene.camera = camera

    def _set_output(self) -> None:
        render, plan = self.scene.render, self.plan
        render.resolution_x, render.resolution_y, render.resolution_percentage = plan.width, plan.height, 100
        render.pixel_aspect_x = render.pixel_aspect_y = 1
        render.use_border = render.use_multiview = render.use_motion_blur = render.use_stamp = False
        render.use_sequencer, render.use_compositing = False, True
        render.use_persistent_data = True
        render.compositor_device = "CPU"
        image = render.image_settings
        image.media_type = "IMAGE"
        image.file_format, image.color_mode = ("PNG" if plan.suffix == ".png" else "JPEG"), "RGB"
        image.quality = 95
        if plan.samples and render.engine == "CYCLES":
            self.scene.cycles.samples = plan.samples
        elif plan.samples:
            self.scene.eevee.taa_render_samples = plan.samples

    def _write_passes(self, layer: bpy.types.ViewLayer) -> None:
        """A compositor tree that passes the picture on and writes the other passes as float files."""
        tree = bpy.data.node_groups.new("4-LEGS capture", "CompositorNodeTree")
        self._made.append(tree)
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        source, files = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeOutputFile")
        source.scene, source.layer = self.scene, layer.name
        tree.links.new(source.outputs["Image"], tree.nodes.new("NodeGroupOutput").inputs[0])
        files.directory, files.file_name, files.save_as_render = f"{self._scratch}/", "", False
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
        self.scene.compositing_node_group = tree

    def _pass(self, name: str) -> np.ndarray:
        """[H, W] float32 values of a pass of the picture just rendered, first row on top."""
        return _pixels(self._scratch / f"{name}.exr")[..., 0]

    def _write_initial_points(self) -> None:
        layout = self.writer.layout
        clouds, colors, masks = [], [], []
        for place, view in enumerate(self.plan.views):
            if view.is_test:
                continue
            depth = np.load(self.writer.depth_path(view.camera_id, 0), allow_pickle=False)
            found, seen = initial.unproject(depth, layout.intrinsics[place], layout.world_to_camera[place])
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
    with imbuf.load(str(path)).with_buffer() as buffer:
        return np.array(buffer)[::-1]
