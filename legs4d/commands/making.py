"""One object, one ordinary video, a selection and the video of a motion → a run that moves."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from legs4d.commands.base import Command
from legs4d.commands.values import (
    Contact,
    FrameNumber,
    FrameRange,
    Offsets,
    Place,
    Placing,
    Scale,
    Text,
)


class Object(Command):
    """A video, a picture or words → a run of one object that moves: `generate.work`.

    Attributes:
        method: "roads" bend what is known and learn nothing before; "optimise" is 4DGen's optimisation,
            of given views; "onepass", a network that makes all frames at once.
        source: a video, a folder of its pictures, one picture; or words, of which a helper makes a picture.
        views: pictures of it from elsewhere, or the run of a known object.
        prior: where its shape comes from; by default the best that there is.
        lens: of views without cameras: SyncDreamer's own, or what 4DGen takes them to be.
        frames: first and last of the video, both included.
        fps: of the result; by default the video's.
        trust_views: predicted views are taken to be in their order and from above, whatever they show.
        prompt: what it does: a helper makes the video out of the source's first picture.
        seed: of helpers.
        weights, views_by, interpolate, refine, stride, chunk, elevation: of onepass: files of the network, and of the
            one for interpolation; the helper that invents views; see `OnePassSettings` for the others.
    """

    source: Text
    out: Place
    method: Literal["roads", "optimise", "onepass"] = "roads"
    views: Place | None = None
    prior: Literal["auto", "given", "turntable", "static", "revolve", "inflate"] = "auto"
    lens: Literal["syncdreamer", "4dgen"] = "syncdreamer"
    trust_views: bool = False
    frames: FrameRange | None = None
    fps: Annotated[float, Field(gt=0, le=10_000)] | None = None
    prompt: Text | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    again: bool = False
    weights: Annotated[list[Place], Field(max_length=2)] | None = None
    views_by: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    interpolate: bool = False
    refine: bool = False
    stride: Annotated[int, Field(ge=0, le=1000)] = 0
    chunk: Annotated[int, Field(ge=0, le=64)] = 0
    elevation: Annotated[float, Field(gt=-80, lt=80)] = 0.0

    @model_validator(mode="after")
    def _of_one_method(self) -> Object:
        own = ("weights", "views_by", "interpolate", "refine", "stride", "chunk", "elevation")
        of = {"roads": own, "optimise": own, "onepass": ("prior", "lens", "trust_views")}
        for method, names in of.items():
            wrong = [name for name in names if getattr(self, name) not in ([], type(self).model_fields[name].default)]
            if wrong and method == self.method:
                option = "--" + wrong[0].replace("_", "-")
                other = "roads or optimise" if method == "onepass" else "onepass"
                raise ValueError(f"{option} is for --method {other}, and this is --method {method}")
        if self.refine and self.interpolate:
            raise ValueError("--refine moves Gaussians between frames by itself; leave --interpolate out")
        if self.views is not None and self.views_by is not None:
            raise ValueError("--views and --views-by are two ways to one thing; leave one of them out")
        return self


class Animate(Command):
    """A selection of a run, and a video of a motion → a run in which it moves so: `animate.work`.

    Attributes:
        selection: which of the run's is the object.
        motion: a video, a folder of its pictures, or a motion's file (.json).
        prompt: in place of it what the object does: a helper makes the video; seed: of that.
        camera: through which the video is seen: a number of the run's cameras, or "found"; camera_file: a camera
            path's file. On the command line one option means both.
        frame: of the run, which is kept as it is but for the object.
        frames: first and last of the video, both included.
        fps: of the result; by default the video's.
        start, end: where the object is known to be in the first and the last frame: a shift in the run's units, and
            after it, if it is turned, a turn in degrees about the run's axes (rotation vector).
        contact: "below", what the object stands on at rest; or a plane, normal and height: it touches that always.
        depth: folder of depth maps, one a frame; make_depth: a helper makes them.
        rigid: the object never bends, even where no rigid motion explains the video.
        again: as in `Reconstruct`.
    """

    run: Place
    selection: Annotated[str, Field(min_length=1, max_length=100)]
    motion: Place | None = None
    prompt: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    camera: Annotated[str, Field(min_length=1, max_length=20, pattern=r"^(\d+|found)$")] | None = None
    camera_file: Place | None = None
    out: Place
    frame: FrameNumber = 0
    frames: FrameRange | None = None
    fps: float | None = Field(default=None, gt=0, le=10_000)
    start: Placing | None = None
    end: Placing | None = None
    contact: Contact | None = None
    depth: Place | None = None
    make_depth: bool = False
    rigid: bool = False
    again: bool = False

    @model_validator(mode="before")
    @classmethod
    def _camera_in_a_file(cls, values: Any) -> Any:
        """--camera x.json of the command line."""
        named = values.get("camera") if isinstance(values, dict) else None
        if isinstance(named, str) and named.endswith(".json"):
            return {**{key: value for key, value in values.items() if key != "camera"}, "camera_file": named}
        return values


class Video(Command):
    """One ordinary video → a 4D scene: `video.work`.

    Attributes:
        source: a video, a folder of its pictures, or a folder in DreamScene4D's layout.
        masks: of its objects: a folder an object, pictures of ids, or videos; first: those of the first frame alone
            count, and are carried on; of DreamScene4D's layout they need not be named. On the command line
            `--masks first` is that.
        boxes: a file of boxes on a frame, from which masks are made; found: by helpers that know things, or by what
            moves, though masks lie beside the video.
        camera: "still", "found", or the best that can be had; camera_file: a camera path's file.
        fov: degrees from the upper to the lower border.
        frames: first and last, both included; scale: of the pictures; fps: of a folder of pictures.
        lite: less work, for a CPU.
        flow: the helper that follows points of objects.
        invent: sides that nobody saw are made by a helper of the role `guidance`.
        stage: the last one that is done: "objects", "motion" or "scene".
        captions: what objects do, for language.
        distance: object → its distance in the frame that shows it best, scene units.
        depth: a folder of depth maps, a file a frame; make_depth: a helper makes them.
        again: as in `Reconstruct`.
    """

    source: Place
    out: Place
    masks: Place | None = None
    first: bool = False
    boxes: Place | None = None
    found: bool = False
    camera: Literal["still", "found"] | None = None
    camera_file: Place | None = None
    fov: float | None = Field(default=None, gt=1, lt=179)
    frames: FrameRange | None = None
    scale: Scale | None = None
    fps: float | None = Field(default=None, gt=0, le=10_000)
    lite: bool = False
    flow: Literal["dis", "gmflow", "raft"] = "dis"
    invent: bool = False
    stage: Literal["objects", "motion", "scene"] | None = None
    captions: Place | None = None
    distance: Offsets | None = None
    depth: Place | None = None
    make_depth: bool = False
    again: bool = False

    @model_validator(mode="before")
    @classmethod
    def _as_typed(cls, values: Any) -> Any:
        """--camera x.json and --masks first of the command line."""
        if not isinstance(values, dict):
            return values
        found = dict(values)
        if isinstance(found.get("camera"), str) and found["camera"].endswith(".json"):
            found["camera_file"] = found.pop("camera")
        if found.get("masks") == "first":
            del found["masks"]
            found["first"] = True
        return found
