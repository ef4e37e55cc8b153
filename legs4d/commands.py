"""What the commands that write can be told: one model a command, for the command line, `submit`, jobs and the panel.

A command's name is its job kind's. Paths are text here: on the command line a path of this machine, in a job a name
under the server's roots. What a command is done with (engine, cluster, device) is no part of it.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from legs4d.config import DatasetSettings, ExtractSettings, GeometrySettings, LiftSettings, Settings, TrainSettings
from legs4d.settings import checked, put

PLACE = "a path"
"""Marks the fields that name a file or folder."""
Place = Annotated[str, Field(min_length=1, max_length=1024), PLACE]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Scale = Annotated[float, Field(ge=0.01, le=1)]
FrameNumber = Annotated[int, Field(ge=0, lt=2**31)]


def _frames(value: Any) -> Any:
    """FIRST:LAST of the command line as a pair."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+):(\d+)", value)
    if match is None:
        raise ValueError(f"{value[:100]!r} is no FIRST:LAST; write for example 8:15")
    return [int(match.group(1)), int(match.group(2))]


def _names(value: Any) -> Any:
    """NAME,… of the command line as a list."""
    return [name for name in (part.strip() for part in value.split(",")) if name] if isinstance(value, str) else value


def _numbers(value: Any) -> Any:
    """A,B,… of the command line as a list of numbers."""
    if not isinstance(value, str):
        return value
    try:
        found = [float(part) for part in value.split(",")]
    except ValueError:
        found = [math.nan]
    if not all(math.isfinite(number) for number in found):
        raise ValueError(f"{value[:100]!r} is no list of numbers; write for example 0.5,-1,2")
    return found


def _placing(value: list[float]) -> list[float]:
    if len(value) not in (3, 6):
        raise ValueError(f"a shift is three numbers, with a turn they are six; these are {len(value)}")
    return value


def _touched(value: Any) -> Any:
    """below, or A,B,… of the command line as a list of numbers."""
    if value == "below" or not isinstance(value, str):
        return value
    found = _numbers(value)
    if len(found) != 4:
        raise ValueError("what is touched is `below`, or a plane NX,NY,NZ,HEIGHT")
    return found


def _pixels(value: Any) -> Any:
    """Several X,Y of the command line as pairs."""
    return [_numbers(pixel) for pixel in value] if isinstance(value, list) else value


def _offsets(value: Any) -> Any:
    """CAM=SECONDS, CAM=SECONDS, … of the command line as a map."""
    if not isinstance(value, list):
        return value
    found: dict[str, float] = {}
    for text in value:
        name, _, seconds = str(text).rpartition("=")
        try:
            number = float(seconds)
        except ValueError:
            number = math.nan
        if not name.strip() or not math.isfinite(number):
            raise ValueError(f"{str(text)[:100]!r} is no CAM=SECONDS; write for example cam03=0.48")
        if name.strip() in found:
            raise ValueError(f"{name.strip()[:100]!r} is given twice")
        found[name.strip()] = number
    return found


Names = Annotated[list[Text], BeforeValidator(_names)]
Offsets = Annotated[dict[Text, float], BeforeValidator(_offsets)]
"""Camera → seconds."""
Pixel = Annotated[list[float], Field(min_length=2, max_length=2)]
Pixels = Annotated[list[Pixel], Field(min_length=1, max_length=1000), BeforeValidator(_pixels)]
Box = Annotated[list[float], Field(min_length=4, max_length=4), BeforeValidator(_numbers)]
"""Left, top, right, bottom."""
Point = Annotated[list[float], Field(min_length=3, max_length=3), BeforeValidator(_numbers)]
Placing = Annotated[list[float], BeforeValidator(_numbers), AfterValidator(_placing)]
"""A shift, and a turn in degrees where there is one."""
Contact = Annotated[
    Literal["below"] | Annotated[list[float], Field(min_length=4, max_length=4)], BeforeValidator(_touched)
]
"""What is touched: what lies below, or a plane's normal and height."""
Fraction = Annotated[float, Field(ge=0, le=1)]
SelectionNames = Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=100)]
Prompts = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(min_length=1, max_length=20)]
FrameRange = Annotated[list[FrameNumber], Field(min_length=2, max_length=2), BeforeValidator(_frames)]
"""First and last frame, both included."""


class Command(BaseModel):
    """Fields exactly as named: no other ones, and no conversions (a number is not text)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def places(cls) -> list[str]:
        """Names of the fields that hold a path, or several."""
        return [name for name, field in cls.model_fields.items() if PLACE in (*field.metadata, *_marks(field))]


def _marks(field: Any) -> list[Any]:
    return [mark for kind in get_args(field.annotation) for mark in getattr(kind, "__metadata__", ())]


class WithSettings(Command):
    """A command with settings, some of which have an option of their own."""

    SHORT: ClassVar[dict[str, str]] = {}
    """Option → the dotted key of `settings` that it stands for; the option wins."""

    settings: Settings = Settings()

    def asked(self) -> dict[str, Any]:
        """The settings that were asked for, and no others, nested, with what the options say."""
        found: dict[str, Any] = self.settings.model_dump(exclude_unset=True)
        for option, key in self.SHORT.items():
            if (value := getattr(self, option)) is not None:
                put(found, key, value)
        return found


class Reconstruct(WithSettings):
    """Footage → dynamic Gaussians.

    Attributes:
        dataset: a folder in a layout that `scene.readers` knows.
        out: the run to make, or to go on with.
        scale: work on images of this share of their size.
        cameras, leave_out: names or numbers of the cameras to read, and of those not to.
        offset: seconds by which each camera's video was begun later than the others.
        align: have that found by "sound" or "motion".
        preset: effort; by default "auto": full where there is a GPU.
        method: "tracking" from frame to frame, or "deform", all frames together; by default by the footage.
        chunks: frames that are tracked in a row; 0 for all.
        objects: folder of the objects that were found in the footage, if not the one beside it.
        no_objects: use none, and look for none.
        again: make anew what was made otherwise, or all of it if nothing was; else that is an error.
        settings: any others; they win over the preset's.
    """

    SHORT: ClassVar[dict[str, str]] = {
        "scale": "dataset.scale",
        "cameras": "dataset.cameras",
        "leave_out": "dataset.leave_out",
        "offset": "dataset.offsets",
        "align": "dataset.align",
        "preset": "preset",
        "method": "method",
        "chunks": "reconstruct.chunks.length",
    }

    dataset: Place
    out: Place
    scale: Scale | None = None
    cameras: Names | None = None
    leave_out: Names | None = None
    offset: Offsets | None = None
    align: Literal["sound", "motion"] | None = None
    preset: Literal["auto", "quick", "full"] | None = None
    method: Literal["auto", "tracking", "deform"] | None = None
    chunks: int | None = Field(default=None, ge=0)
    objects: Place | None = None
    no_objects: bool = False
    again: bool = False
    settings: GeometrySettings = GeometrySettings()

    def geometry(self) -> TrainSettings:
        """All settings of the reconstruction, those of other stages left as they are. Raises SettingsError."""
        return checked(TrainSettings, {"preset": "auto", **self.asked()}, "the settings")


class Train(Reconstruct):
    """Footage → a run that answers prompts: `reconstruct`, `extract` where the encoder sees, `lift`.

    Attributes:
        encoder: where language comes from; "auto" takes captions where there are some, else `actions` where there
            are object masks, else `tiny`.
        weights: the encoder's file.
        every: timesteps between two that are embedded.
    """

    SHORT: ClassVar[dict[str, str]] = {**Reconstruct.SHORT, "encoder": "lift.encoder", "every": "extract.every"}

    encoder: str | None = Field(default=None, min_length=1, max_length=100)
    weights: Place | None = None
    every: int | None = Field(default=None, ge=1)
    settings: TrainSettings = TrainSettings()


class Extract(WithSettings):
    """A run's pictures → embeddings. `background` and `change` as in `ExtractSettings`.

    Attributes:
        dataset: where the run's footage is now, if not where it was last.
        again: as in `Reconstruct`.
    """

    SHORT: ClassVar[dict[str, str]] = {"every": "every", "background": "background", "change": "change"}

    run: Place
    encoder: str = Field(default="tiny", min_length=1, max_length=100)
    weights: Place | None = None
    every: int | None = Field(default=None, ge=1)
    background: Literal["once", "always", "never"] | None = None
    change: float | None = Field(default=None, ge=0, le=1)
    dataset: Place | None = None
    again: bool = False
    settings: ExtractSettings = ExtractSettings()

    def extraction(self) -> ExtractSettings:
        """All settings. Raises SettingsError."""
        return checked(ExtractSettings, self.asked(), "the settings")


class Lift(WithSettings):
    """Language onto a reconstructed run. Options as in `LiftSettings` and its codec; `dataset` and `again` as in
    `Extract`."""

    SHORT: ClassVar[dict[str, str]] = {
        "encoder": "encoder",
        "method": "method",
        "refine": "refine",
        "codec": "codec.name",
        "dim": "codec.dim",
        "codec_weights": "codec.weights",
    }

    run: Place
    encoder: str | None = Field(default=None, min_length=1, max_length=100)
    weights: Place | None = None
    method: Literal["closed", "trained"] | None = None
    refine: int | None = Field(default=None, ge=0, le=100)
    codec: Literal["linear", "autoencoder"] | None = None
    dim: int | None = Field(default=None, ge=1, le=1024)
    codec_weights: Place | None = None
    dataset: Place | None = None
    again: bool = False
    settings: LiftSettings = LiftSettings()

    def lifting(self) -> LiftSettings:
        """All settings. Raises SettingsError."""
        return checked(LiftSettings, self.asked(), "the settings")


class Objects(Command):
    """Footage → the things that move in it, named and cut out: `priors.objects.find`.

    Attributes:
        out: folder to make; by default DATASET.objects, beside the dataset.
        prompt: what alone is looked for ("a ball"), moving or not, by SAM 3; by default all that moves.
        scale, cameras, leave_out, offset, align: how the footage is read, as in `Reconstruct`.
        again: replace what was found otherwise.
    """

    dataset: Place
    out: Place | None = None
    prompt: Prompts | None = None
    scale: Scale | None = None
    cameras: Names | None = None
    leave_out: Names | None = None
    offset: Offsets | None = None
    align: Literal["sound", "motion"] | None = None
    again: bool = False

    def reading(self) -> DatasetSettings:
        """How the footage is read. Raises SettingsError."""
        named = {"offset": "offsets"}
        asked = {name: getattr(self, name) for name in ("scale", "cameras", "leave_out", "offset", "align")}
        there = {named.get(name, name): value for name, value in asked.items() if value is not None}
        return checked(DatasetSettings, there, "the options")


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
        prompt: what it does: a helper makes the video out of the source's first picture.
        seed: of helpers.
        weights, views_by, interpolate, stride, chunk, elevation: of onepass: files of the network, and of the one for
            interpolation; the helper that invents views; see `OnePassSettings` for the others.
    """

    source: Text
    out: Place
    method: Literal["roads", "optimise", "onepass"] = "roads"
    views: Place | None = None
    prior: Literal["auto", "given", "turntable", "static", "revolve", "inflate"] = "auto"
    lens: Literal["syncdreamer", "4dgen"] = "syncdreamer"
    frames: FrameRange | None = None
    fps: Annotated[float, Field(gt=0, le=10_000)] | None = None
    prompt: Text | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    again: bool = False
    weights: Annotated[list[Place], Field(max_length=2)] | None = None
    views_by: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    interpolate: bool = False
    stride: Annotated[int, Field(ge=0, le=1000)] = 0
    chunk: Annotated[int, Field(ge=0, le=64)] = 0
    elevation: Annotated[float, Field(gt=-80, lt=80)] = 0.0

    @model_validator(mode="after")
    def _of_one_method(self) -> Object:
        own = ("weights", "views_by", "interpolate", "stride", "chunk", "elevation")
        of = {"roads": own, "optimise": own, "onepass": ("prior", "lens")}
        for method, names in of.items():
            wrong = [name for name in names if getattr(self, name) not in ([], type(self).model_fields[name].default)]
            if wrong and method == self.method:
                option = "--" + wrong[0].replace("_", "-")
                other = "roads or optimise" if method == "onepass" else "onepass"
                raise ValueError(f"{option} is for --method {other}, and this is --method {method}")
        if self.views is not None and self.views_by is not None:
            raise ValueError("--views and --views-by are two ways to one thing; leave one of them out")
        return self


class Name(Command):
    """A name for an object of a run: `gaussians.objects.name_object`.

    Attributes:
        number: of the object, as `info` tells it.
        called: its name; "" for none.
    """

    run: Place
    number: Annotated[int, Field(ge=0)]
    called: Annotated[str, Field(max_length=200)]


class Export(Command):
    """A run → files that other programs read.

    Attributes:
        out: folder for them.
        format: ply, spz, sog, gltf: a file a frame; usd, usdz: all frames in one file; npz: Dynamic3DGS's params.npz;
            json: the objects' poses alone.
        frames: first and last, both included; all by default.
        prompt: ply, gltf, usd, usdz: each Gaussian's relevancy goes into the files.
        sh_degree: of view dependence; ply is padded with zeros to it (3: 62 properties), the others have at most it.
        spz_version: of .spz files.
        per_frame: usd: a file a frame.
        selection: names of selections: what belongs to any of them is exported alone.
        without: names of selections: what belongs to them is left out.
    """

    run: Place
    out: Place
    format: Literal["ply", "spz", "sog", "gltf", "usd", "usdz", "npz", "json"] = "ply"
    frames: FrameRange | None = None
    prompt: Text | None = None
    sh_degree: Annotated[int, Field(ge=0, le=3)] | None = None
    spz_version: Literal[2, 3, 4] | None = None
    per_frame: bool = False
    selection: SelectionNames | None = None
    without: SelectionNames | None = None


class Segments(Command):
    """Masks of pictures → the segments of a run; or what it has of them.

    Attributes:
        masks: where masks come from: "objects" and "foreground" of the footage, "priors" that cut them out of its
            pictures, a folder of files named as its pictures are (.pt of SAM, .png of ids), or "auto".
        frames: first and last of which masks are taken.
        dataset: where the run's footage is now, if not where it was last.
        agree: how much masks of two pictures have to agree to be of one thing, where nobody says.
        least_piece: pieces that lie apart go, if they are less than this share of a segment's largest.
        method: "lift" puts masks onto Gaussians in closed form; "trained" learns features by them, as SAGA does.
        steps, rays: of training, and pixels that are compared in each.
        again: make the segments anew, where the run has some.
        bitmaps: a folder for a file of each selection, and one of a label a Gaussian; makes nothing else.
        list: say what there is, and make nothing.
        rename: NUMBER=NAME, a name for a segment.
        delete: a selection.
    """

    run: Place
    masks: Text | None = None
    frames: FrameRange | None = None
    dataset: Place | None = None
    agree: Annotated[float, Field(gt=0, lt=1)] | None = None
    least_piece: Fraction | None = None
    method: Literal["lift", "trained"] | None = None
    steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    rays: Annotated[int, Field(ge=2, le=10_000)] | None = None
    again: bool = False
    bitmaps: Place | None = None
    list: bool = False
    rename: Text | None = None
    delete: Text | None = None


class Segment(Command):
    """What a person points at → a selection in the run.

    Attributes:
        click: pixels (x, y) of a camera's picture in a frame, from its upper left corner; box: of it.
        point: a place in the run's axes.
        prompt: what it is, in words; of a run with language.
        segment: numbers of segments.
        bitmap: a .pt file with a value for each Gaussian.
        scale: 0 is the smallest segment that is meant, 1 the largest.
        threshold: share of a Gaussian in a segment, or its value in a bitmap, from which it belongs.
        name: of the selection.
        add, subtract: to or from what it holds; undo: take back its last step.
    """

    run: Place
    click: Pixels | None = None
    box: Box | None = None
    camera: Annotated[int, Field(ge=0)] | None = None
    frame: FrameNumber = 0
    point: Point | None = None
    prompt: Text | None = None
    segment: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=1000)] | None = None
    bitmap: Place | None = None
    scale: Fraction | None = None
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=100)] = "selection"
    add: bool = False
    subtract: bool = False
    undo: bool = False


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
        invent: sides that nobody saw are made by a helper of the role `guidance`.
        stage: the last one that is done: "objects", "motion" or "scene".
        captions: what objects do, for language.
        distance: object → its distance in the frame that shows it best, scene units.
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
    invent: bool = False
    stage: Literal["objects", "motion", "scene"] | None = None
    captions: Place | None = None
    distance: Offsets | None = None
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


class ImportSplats(Command):
    """Splat files of any program → a run.

    Attributes:
        paths: files, a folder, or a pattern; several are one frame each.
        fps: frames a second; by default what the files say, or 30.
        up: [3] what is up in the files' axes; by default the format's rule.
        identity: whether a row is the same Gaussian in all frames.
        frames, heads: of a 4DGaussians folder, how many frames to make, and what its deformation changes.
        again: as in `Reconstruct`.
    """

    paths: Annotated[list[Place], Field(min_length=1, max_length=100_000)]
    out: Place
    fps: float | None = Field(default=None, gt=0, le=10_000)
    up: Annotated[list[float], Field(min_length=3, max_length=3)] | None = None
    identity: Literal["auto", "keep", "none"] = "auto"
    frames: int | None = Field(default=None, ge=1, le=100_000)
    heads: Annotated[list[Text], Field(min_length=1, max_length=10)] | None = None
    again: bool = False

    def how(self) -> dict[str, Any]:
        """The options of `gaussians.import_splats.import_splats`."""
        heads = None if self.heads is None else tuple(self.heads)
        plain = {name: getattr(self, name) for name in ("fps", "identity", "frames")}
        return {**plain, "up": self.direction(), "heads": heads}

    def direction(self) -> tuple[float, float, float] | None:
        """`up`, if it was given."""
        return None if self.up is None else (self.up[0], self.up[1], self.up[2])


class ImportD3dgs(Command):
    """A result of Dynamic 3D Gaussians (`params.npz`) → a run; `dataset`, its footage, gives it cameras."""

    params: Place
    out: Place
    dataset: Place | None = None
    scale: Scale = 1.0
    fps: float = Field(default=30.0, gt=0, le=10_000)
    again: bool = False


class Import4legs(Command):
    """A finished output folder of 4-LEGS → a run.

    Attributes:
        sequence: which of its sequences.
        autoencoder: its checkpoint, where it is not where 4-LEGS puts it.
        linear: keep features by a linear codec of so many numbers.
    """

    folder: Place
    sequence: str = Field(min_length=1, max_length=200)
    out: Place
    autoencoder: Place | None = None
    dataset: Place | None = None
    scale: Scale = 1.0
    fps: float = Field(default=30.0, gt=0, le=10_000)
    linear: int | None = Field(default=None, ge=1, le=768)
    again: bool = False
