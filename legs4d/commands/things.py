"""What a run has in it: names of its objects, its segments, what is selected."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from legs4d.commands.base import Command
from legs4d.commands.values import (
    Box,
    Fraction,
    FrameNumber,
    FrameRange,
    Pixels,
    Place,
    Point,
    Text,
)


class Name(Command):
    """A name for an object of a run: `gaussians.objects.name_object`.

    Attributes:
        number: of the object, as `info` tells it.
        called: its name; "" for none.
    """

    run: Place
    number: Annotated[int, Field(ge=0)]
    called: Annotated[str, Field(max_length=200)]


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
