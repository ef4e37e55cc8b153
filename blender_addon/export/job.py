"""Exports a sequence over a range of frames: pictures, compositing layers, Gaussians, and what was found when."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from .. import engine
from ..cache.missing import missing
from ..effects.cameras import bound_at
from ..engine import composite
from ..engine.engine import camera_problem
from ..engine.properties import settings_of
from ..layers import curves, layers
from ..plain_names import cut, plain
from ..portable.ply.writer import ply_parts
from ..portable.splats import SplatFileError, Splats
from ..portable.spz_writer import spz_bytes
from ..sequence import playback, timing
from ..sequence.rendering import COMPOSITOR_ENGINES, Job, RenderProblem
from ..sequence.sequence import Sequence
from . import cut_list, gaussians, mattes, metadata, movie, passes
from .found import Found

LAYERS = "layers"
"""What the scratch file of an EXR is called."""
LONGEST_FIELD = 80
"""Bytes of a name that is filled into the template: file names have 255."""
PICTURES = (".png", ".exr", "masks", "movie")
"""Kinds for which something is rendered."""
GAUSSIANS: dict[str, Callable[[Splats], bytes]] = {
    ".ply": lambda splats: b"".join(ply_parts(splats)),
    ".spz": lambda splats: spz_bytes(splats),
}
"""Kinds that hold a frame's Gaussians; .spz has no place for a highlight, which has to be baked into the colours."""


@dataclass(frozen=True)
class Wanted:
    """What to export.

    Attributes:
        folder: for all files.
        template: file names without ending, a format string of `frame`, `name`, `scene` and `camera`.
        frames: of the scene.
        kinds: of ".png", ".exr", "masks" (a grey PNG per mask), ".ply", ".spz": files of each frame; "movie".
        intervals: whether to write the JSON.
        cuts: whether to write the cut list (needs a backend).
        overwrite: write frames again that are there.
        depth: bits of EXR values, "16" or "32".
        baked: whether Gaussians carry their highlight in their colours; else as an attribute, where the format has any.
        codec: of the movie, a key of `movie.CODECS`.
    """

    folder: Path
    template: str
    frames: tuple[int, ...]
    kinds: tuple[str, ...]
    intervals: bool
    cuts: bool = False
    overwrite: bool = True
    depth: str = "32"
    baked: bool = False
    codec: str = "H264"


@dataclass(frozen=True)
class Item:
    """One render: a frame, and which of its files it is for. Strips of the Sequencer give pictures and no passes."""

    frame: int
    pictures: bool
    passes: bool


class Export(Job):
    """Runs an export: what it writes of a frame is what Render Image shows of it; see `rendering.Job` for how."""

    as_rendered = True

    def __init__(
        self, scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, shown: Sequence, wanted: Wanted
    ) -> None:
        super().__init__(scene, view_layer, wanted.folder, 0)
        self.shown, self.wanted = shown, wanted
        self.renders = bool(set(PICTURES) & set(wanted.kinds))
        self.total = sum(1 for frame in wanted.frames for _ in self._items(frame)) if wanted.kinds else 0
        self._passes: passes.Passes | None = None
        self._found = Found(shown)

    def begin(self) -> None:
        """Checks names, cameras, engine and that all points are here."""
        scene = self.original
        if not self.wanted.frames:
            raise RenderProblem("The frame range is empty; choose another one.")
        if not self.wanted.kinds and not self.wanted.intervals and not self.wanted.cuts:
            raise RenderProblem("Nothing is chosen; turn on PNG, EXR, PLY or JSON.")
        if self.renders:
            self._check_render(scene)
        if self.wanted.cuts and scene.frame_step > 1:
            raise RenderProblem("A cut list counts every frame; set Step (Output > Frame Range) to 1.")
        if self.shown.deleted:
            raise RenderProblem(f"{self.shown.deleted}.")
        if self._reads_points() and not settings_of(scene).render_missing:
            clocks = [timing.clock(scene, frame) for frame in self.wanted.frames]
            if problem := missing(self.shown, clocks if self.wanted.kinds else ()):
                raise RenderProblem(problem)
        timing.learn(scene, self.shown.empty)
        first, last = self._stem(self.wanted.frames[0]), self._stem(self.wanted.frames[-1])
        if first == last and len(self.wanted.frames) > 1:
            raise RenderProblem(f"The name '{self.wanted.template}' is the same for every frame; put {{frame}} in it.")

    def _check_render(self, scene: bpy.types.Scene) -> None:
        if scene.camera is None:
            raise RenderProblem("The scene has no camera; add one, or export Gaussians and JSON only.")
        if scene.render.engine not in (*COMPOSITOR_ENGINES, engine.ENGINE):
            raise RenderProblem(f"{scene.render.engine} cannot show splats; choose 4-LEGS splats, Cycles or EEVEE.")
        if scene.render.use_multiview and "movie" in self.wanted.kinds:
            raise RenderProblem("A movie has one view; turn off Stereoscopy, or export PNG.")
        splats = scene.render.engine == engine.ENGINE or composite.second_scene(scene) is not None
        for camera in {self._camera(frame) for frame in self.wanted.frames} if splats else ():
            if camera is not None and (problem := camera_problem(camera)):
                raise RenderProblem(problem)

    def _reads_points(self) -> bool:
        """Whether anything is made of the points that are here: the backend has its own."""
        own = self.original.render.engine == engine.ENGINE or composite.second_scene(self.original) is not None
        return bool(set(GAUSSIANS) & set(self.wanted.kinds)) or (self.renders and not own)

    def _items(self, frame: int) -> Iterator[Item]:
        """The renders of a frame."""
        wants_passes = bool({".exr", "masks"} & set(self.wanted.kinds))
        wants_pictures = bool({".png", "movie", *GAUSSIANS} & set(self.wanted.kinds))
        editor = self.original.sequence_editor
        if not (self.original.render.use_sequencer and editor is not None and len(editor.strips)):
            yield Item(frame, wants_pictures, wants_passes)
            return
        if wants_pictures:
            yield Item(frame, pictures=True, passes=False)
        if wants_passes:
            yield Item(frame, pictures=False, passes=True)

    def set_up(self) -> None:
        """The copy renders PNG, and beside it what the passes are asked for."""
        scene = self.scene
        image = scene.render.image_settings
        image.media_type, image.file_format = "IMAGE", "PNG"
        image.color_mode = "RGBA" if scene.render.film_transparent else "RGB"
        image.views_format = "INDIVIDUAL"
        if {".exr", "masks"} & set(self.wanted.kinds):
            self._passes = passes.find(self, scene.view_layers[self.layer_name], self.shown)
            if ".exr" in self.wanted.kinds:
                passes.write_layers(self, self._passes, LAYERS, self.wanted.depth)
            if "masks" in self.wanted.kinds:
                passes.write_masks(self, self._passes)
        else:
            self.own_compositor()

    def remaining(self) -> Iterator[Item]:
        """Renders of frames whose files are not all there."""
        for frame in self.wanted.frames if self.wanted.kinds else ():
            if self.wanted.overwrite or not all(target.exists() for target in self._targets(frame)):
                yield from self._items(frame)

    def aim(self, item: Item) -> None:
        """Shows a frame."""
        scene = self.scene
        scene.frame_set(item.frame)
        looks = self.looks(self.shown)
        at = timing.clock(scene, item.frame)
        self._found.see(item.frame, looks, at)
        for weight in layers.weights(looks, at):
            for made in self._passes.materials if self._passes else ():
                if weight.layer_id in made.node_tree.nodes:
                    mattes.set_weight(made, weight)
        render = scene.render
        render.filepath = str(self.image)
        if self.renders:
            render.use_sequencer = self.original.render.use_sequencer and item.pictures
            render.use_compositing = self.original.render.use_compositing or self._passes is not None

    def store(self, item: Item) -> None:
        """Gives a frame's finished files their names."""
        if item.pictures:
            self._store_points(item.frame)
        if not self.renders:
            return
        if not self.rendered:
            raise RenderProblem(f"Blender rendered no picture of frame {item.frame}; see its log.")
        if item.passes:
            self._store_passes(item.frame)
        for part, view in self._written("image", self.image.suffix):
            if item.pictures and "movie" in self.wanted.kinds:
                shutil.copyfile(part, self._movie_frame(item.frame))
            if item.pictures and ".png" in self.wanted.kinds:
                os.replace(part, self._target(item.frame, f"{view}.png"))
            else:
                part.unlink()

    def _store_points(self, frame: int) -> None:
        for kind, write in GAUSSIANS.items():
            if kind not in self.wanted.kinds:
                continue
            part, at, looks = self.scratch / f"points{kind}", timing.clock(self.scene, frame), self.looks(self.shown)
            try:
                part.write_bytes(write(gaussians.read(self.shown, at, baked=self.wanted.baked, looks=looks)))
            except SplatFileError as error:
                raise RenderProblem(f"{self._target(frame, kind).name}: {error}") from error
            os.replace(part, self._target(frame, kind))

    def _store_passes(self, frame: int) -> None:
        typed = passes.prompts(self.scene, self.shown)
        if ".exr" in self.wanted.kinds:
            for part, view in self._written(LAYERS, ".exr"):
                metadata.describe_exr(part, json.dumps(typed, ensure_ascii=False))
                os.replace(part, self._target(frame, f"{view}.exr"))
        for name, prompt in typed.items() if "masks" in self.wanted.kinds else ():
            for part, view in self._written(f"{passes.MASK_FILES}{name}", ".png"):
                metadata.describe_png(part, prompt)
                os.replace(part, self._target(frame, f" {name}{view}.png"))

    def _written(self, name: str, suffix: str) -> list[tuple[Path, str]]:
        """The files of this name that a render wrote, with what the names of views add to it."""
        found = [(self.scratch / f"{name}{view}{suffix}", view) for view in self._views()]
        return [(path, view) for path, view in found if path.exists()]

    def _views(self) -> list[str]:
        """What files of each view have at the end of their names; nothing without stereoscopy."""
        render = self.original.render
        if not render.use_multiview:
            return [""]
        views = render.stereo_views if render.views_format == "STEREO_3D" else render.views
        return [view.file_suffix for view in views if view.use]

    def finish(self) -> None:
        """Writes what is of all frames: the movie, the JSON, the cut list."""
        name = cut(plain(self.shown.empty.name), LONGEST_FIELD)
        if "movie" in self.wanted.kinds:
            part = movie.write(self, [self._movie_frame(frame) for frame in self.wanted.frames], self.wanted.codec)
            os.replace(part, self.folder / f"{name}{part.suffix}")
        if self.wanted.intervals:
            part = self.scratch / "intervals.json"
            part.write_text(json.dumps(self._intervals(), indent=1))
            os.replace(part, self.folder / f"{name}_intervals.json")
        if self.wanted.cuts:
            part = self.scratch / "cuts.otio"
            part.write_text(cut_list.text(self.original, self.shown, self._pictures()))
            os.replace(part, self.folder / f"{name}_cuts.otio")

    def close(self) -> None:
        """Also has the points show the user's own frame again: they are shared with the copy."""
        super().close()
        playback.refresh(self.shown.empty)

    def _camera(self, frame: int) -> bpy.types.Object | None:
        return bound_at(self.original, timing.clock(self.original, frame))

    def _stem(self, frame: int) -> str:
        """A frame's files without ending, inside the folder whatever the names of objects are."""
        camera = self._camera(frame)
        called = {
            "name": self.shown.empty.name,
            "scene": self.original.name,
            "camera": camera.name if camera else "no camera",
        }
        fields: dict[str, Any] = {field: cut(plain(name), LONGEST_FIELD) for field, name in called.items()}
        fields["frame"] = frame
        try:
            stem = self.wanted.template.format(**fields)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            known = ", ".join(f"{{{field}}}" for field in fields)
            raise RenderProblem(
                f"The name '{self.wanted.template}' cannot be filled in ({error}); it may use {known}."
            ) from error
        if not stem.strip() or ".." in Path(stem).parts or Path(stem).is_absolute():
            raise RenderProblem(f"The name '{self.wanted.template}' leads out of the folder; leave out '..' and '/'.")
        return stem

    def _target(self, frame: int, kind: str) -> Path:
        path = self.folder / f"{self._stem(frame)}{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _targets(self, frame: int) -> Iterator[Path]:
        """All files of a frame. A movie is of all frames, so that each has to be rendered."""
        for kind in self.wanted.kinds:
            if kind == "movie":
                yield self._movie_frame(frame)
            for view in self._views() if kind in (".png", ".exr", "masks") else [""]:
                if kind == "masks":
                    names = passes.mask_names(self.scene, self.shown).values()
                    yield from (self._target(frame, f" {name}{view}.png") for name in names)
                elif kind != "movie":
                    yield self._target(frame, f"{view}{kind}")

    def _movie_frame(self, frame: int) -> Path:
        return self.scratch / f"movie{frame:06d}.png"

    def _pictures(self) -> cut_list.Pictures:
        """Where the exported pictures are, for the cut list."""
        first, last = self.wanted.frames[0], self.wanted.frames[-1]
        kind = ".exr" if ".exr" in self.wanted.kinds else ".png"
        return cut_list.Pictures(self.folder, [self._target(frame, kind).name for frame in (first, last)], first, last)

    def _intervals(self) -> dict[str, Any]:
        """Prompts, intervals in capture frames and scene frames, and the curves over the exported frames."""
        for frame in self.wanted.frames:
            if frame not in self._found.seen and curves.is_unforeseen(self.shown.empty):
                self.scene.frame_set(frame)
                self._found.see(frame, self.looks(self.shown), timing.clock(self.scene, frame))
        return self._found.told(self.original, self.wanted.frames, passes.mask_names(self.scene, self.shown))
