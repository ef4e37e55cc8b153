"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from legs4d.errors import Legs4dError

if TYPE_CHECKING:
    from legs4d.commands import Command

AnyCommand = TypeVar("AnyCommand", bound="Command")


class MethodChoice(StrEnum):
    auto = "auto"
    tracking = "tracking"
    deform = "deform"


class PresetChoice(StrEnum):
    auto = "auto"
    quick = "quick"
    full = "full"


class Engine(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class LiftMethod(StrEnum):
    closed = "closed"
    trained = "trained"


class CodecName(StrEnum):
    linear = "linear"
    autoencoder = "autoencoder"


class Alignment(StrEnum):
    sound = "sound"
    motion = "motion"


class BackgroundCrops(StrEnum):
    once = "once"
    always = "always"
    never = "never"


Dataset = Annotated[
    Path, typer.Argument(help="Folder of footage whose cameras are known: COLMAP, nerfstudio, … (docs/data.md).")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as `legs4d train` makes it.")]
Out = Annotated[Path, typer.Option("--out", metavar="RUN", help="Run folder to make, or to go on with.")]
Scale = Annotated[
    float | None,
    typer.Option(min=0.01, max=1.0, show_default="1", help="Work on images of this share of their size."),
]
CameraNames = Annotated[
    str | None,
    typer.Option("--cameras", metavar="NAME,…", help="Read these cameras alone, by name or number."),
]
LeftOut = Annotated[
    str | None,
    typer.Option("--leave-out", metavar="NAME,…", help="Read all cameras but these, by name or number."),
]
Offset = Annotated[
    list[str] | None,
    typer.Option(
        "--offset",
        metavar="CAM=SECONDS",
        help="The video of this camera was begun so many seconds later than the others. Repeatable.",
    ),
]
Align = Annotated[
    Alignment | None,
    typer.Option("--align", help="Find the videos' offsets by their sound, or by how much moves in their pictures."),
]
Objects = Annotated[
    Path | None,
    typer.Option(
        "--objects",
        metavar="FOLDER",
        show_default="DATASET.objects",
        help="What `legs4d objects` found in the footage. Where it has no masks, and the helpers of `legs4d priors` "
        "are there, it is found by this command.",
    ),
]
NoObjects = Annotated[bool, typer.Option("--no-objects", help="Use no found objects, and look for none.")]
MakeDepth = Annotated[bool, typer.Option("--make-depth", help="Depth maps are made by a helper (`legs4d priors`).")]
Again = Annotated[
    bool,
    typer.Option(
        "--again",
        help="Make anew what was made otherwise, or all of it if nothing was; the old result stays until that is done.",
    ),
]
DatasetNow = Annotated[
    Path | None,
    typer.Option("--dataset", metavar="FOLDER", help="Where the run's footage is now, if not where it was last."),
]
EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        show_default="auto",
        help="Where language comes from: captions, actions, tiny, viclip, openclip:MODEL; auto takes captions where "
        "there are some, else actions where there are object masks, and else tiny, which looks at the pictures.",
    ),
]
Weights = Annotated[Path | None, typer.Option("--weights", metavar="FILE", help="The encoder's weights.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch the encoder's weights from the hub if need be.")]
Every = Annotated[
    int | None,
    typer.Option(
        "--every", min=1, metavar="FRAMES", show_default="1", help="Embed pictures of every so many frames only."
    ),
]
Background = Annotated[
    BackgroundCrops | None,
    typer.Option(show_default="once", help="Crops without foreground: embedded once in a while, always, or never."),
]
Change = Annotated[
    float | None,
    typer.Option(
        min=0.0, max=1.0, show_default="0.01", help="A crop that changes by less than this is not embedded anew."
    ),
]
LiftMethodName = Annotated[
    LiftMethod | None,
    typer.Option(
        "--method", show_default="closed", help="In one pass, or as the paper trains it (slow; its yardstick)."
    ),
]
Refine = Annotated[
    int | None,
    typer.Option(min=0, max=100, show_default="0", help="Conjugate-gradient steps after the pass; a few help."),
]
CodecChoice = Annotated[
    CodecName | None,
    typer.Option("--codec", show_default="linear", help="What features become: linear, or the paper's."),
]
CodeDim = Annotated[
    int | None,
    typer.Option(
        "--dim", min=1, max=1024, help="Numbers of a code; by default as needed up to 64, or the paper's 128."
    ),
]
CodecWeights = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="4-LEGS's best_ckpt.pth, in place of training --codec autoencoder."),
]
EngineName = Annotated[Engine, typer.Option("--engine", help="Rasteriser and lift: cuda, cpu, or what is there.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="auto|ADDRESS", help="Spread frames over a Ray cluster; auto takes this machine's, or its cores alone."
    ),
]
Store = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="With --cluster, for machines that share no folders: an object store (s3://…, as fsspec knows it) through "
        "which run and dataset travel.",
    ),
]
Chunks = Annotated[
    int | None,
    typer.Option(
        "--chunks",
        min=0,
        metavar="FRAMES",
        show_default="0",
        help="Track this many frames in a row, and the chunks side by side on a cluster; 0: all in a row, the best.",
    ),
]
PresetName = Annotated[
    PresetChoice | None,
    typer.Option(
        "--preset",
        show_default="auto",
        help="Effort: quick (minutes on a laptop), full (for a GPU), or full where there is one.",
    ),
]
MethodName = Annotated[
    MethodChoice | None,
    typer.Option(
        "--method",
        show_default="auto",
        help="Follow what moves from frame to frame (tracking: several cameras), or fit all frames together (deform: "
        "one moving camera, a few cameras, a static capture); by the footage where it is left out.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any other setting, as reconstruct.tracking.steps=20; `legs4d settings` tells them all. Repeatable.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings in a TOML file, by the same keys; --set and options win."),
]
Fps = Annotated[float, typer.Option(min=0.01, help="Frames per second of the capture; its footage's own, if given.")]
Json = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout; progress goes to stderr.")]
Frames = Annotated[str | None, typer.Option(metavar="FIRST:LAST", help="Frames, both ends included; all by default.")]

Only = Annotated[
    list[str] | None,
    typer.Option("--selection", metavar="NAME", help="Only what belongs to this selection of the run; repeatable."),
]
Without = Annotated[
    list[str] | None,
    typer.Option("--without", metavar="NAME", help="All but what belongs to this selection; repeatable."),
]


def asked(model: type[AnyCommand], given: Mapping[str, Any]) -> AnyCommand:
    """A command as its options say it; what was not given (None) is left to the command's defaults.

    Args:
        given: what the command line's function was called with, its `locals()`: the model's fields are taken from it,
            and `assignments` and `config`, which are --set and --config. What else is in it is no part of the model.

    Raises SettingsError, which names what is wrong.
    """
    from legs4d.settings import checked, read_settings

    values = {name: _plain(given[name]) for name in model.model_fields if given.get(name) is not None}
    assignments, config = given.get("assignments"), given.get("config")
    if assignments or config:
        values["settings"] = read_settings(model.model_fields["settings"].annotation, assignments or (), config)  # type: ignore[arg-type]
    return checked(model, values, "the options")


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else str(value) if isinstance(value, Path) else value


def chosen_frames(text: str | None, count: int, path: Path) -> range:
    """Those of `count` frames of a run that FIRST:LAST names, both included."""
    from legs4d.scene.movies.span import chosen_span

    match = None if text is None else re.fullmatch(r"(\d+):(\d+)", text)
    if text is not None and match is None:
        fix = f"write FIRST:LAST within 0:{count - 1}"
        raise Legs4dError(f"{text[:100]!r} names no frames", where="--frames", fix=fix)
    return chosen_span(None if match is None else [int(part) for part in match.groups()], count, path)
