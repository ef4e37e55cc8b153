"""Values that commands are told, as the command line writes them and as requests carry them."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

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
