"""The `cut_list` request: what a client found when, for editing programs, by the OpenTimelineIO library."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from backend.runs.library import Arrays, Library
from backend.service.errors import BackendError
from backend.service.requests import CutList
from backend.wire import Code
from legs4d.effects.rates import exact_rate

if TYPE_CHECKING:
    from backend.compute.worker import Context

WORK = "backend.runs.cut_lists:write"
_NUMBER = re.compile(r"(\d+)(?!.*\d)")
"""The last number of a file name."""


def prepare(body: CutList, library: Library) -> dict[str, Any]:
    """What `WORK` is told. Raises BackendError if a cut is not among the pictures."""
    for cut in body.cuts:
        if not body.first <= cut.start <= cut.peak <= cut.end <= body.last:
            raise BackendError(
                f"'{cut.name}' is cut from {cut.start} to {cut.end} with its peak at {cut.peak}, which is not within "
                f"the pictures {body.first} to {body.last}",
                where="cut_list",
                fix="cut what there is",
                code=Code.BODY,
            )
    return body.model_dump()


def write(params: dict[str, Any], context: Context) -> tuple[dict[str, Any], Arrays]:
    """The request in the computing process."""
    from opentimelineio import adapters, opentime, schema

    body = CutList.model_validate(params)
    rate = float(exact_rate(body.fps))

    def span(start: int, length: int) -> Any:
        return opentime.TimeRange(opentime.RationalTime(start, rate), opentime.RationalTime(length, rate))

    timeline = schema.Timeline(body.name)
    track = schema.Track("actions", kind=schema.TrackKind.Video)
    timeline.tracks.append(track)
    media = _media(body, span(body.first, body.last - body.first + 1))
    for cut in body.cuts:
        clip = schema.Clip(cut.name, media.deepcopy(), span(cut.start, cut.end - cut.start + 1))
        clip.markers.append(schema.Marker("peak", marked_range=span(cut.peak, 1)))
        clip.metadata["legs4d"] = {"prompt": cut.name, "score": cut.score}
        track.append(clip)
    return {"otio": adapters.write_to_string(timeline, "otio_json")}, {}


def _media(body: CutList, available: Any) -> Any:
    """The pictures as a numbered sequence; the folder where their names are not numbered by frame."""
    from opentimelineio import schema

    first, last = (_NUMBER.search(name) for name in body.pictures)
    numbered = first and last and (int(first[1]), int(last[1])) == (body.first, body.last)
    if not (numbered and first):
        return schema.ExternalReference(body.folder, available_range=available)
    name = body.pictures[0]
    return schema.ImageSequenceReference(
        target_url_base=f"{body.folder}/",
        name_prefix=name[: first.start()],
        name_suffix=name[first.end() :],
        start_frame=body.first,
        rate=float(exact_rate(body.fps)),
        frame_zero_padding=len(first[1]),
        available_range=available,
    )
