"""Scene selection: what prompts name, as a list of cuts for programs (JSON) and for editors (OpenTimelineIO).

Frames of the run are counted from 0 and cuts include both ends. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from legs4d.effects.rates import exact_rate
from legs4d.gaussians.store.files import write_file
from legs4d.gaussians.store.footage import place_of_footage
from legs4d.gaussians.store.run import Run
from legs4d.grounding import Grounding


@dataclass(frozen=True)
class Cut:
    """One scene.

    Attributes:
        prompt: what it shows.
        start, end: first and last frame of the run, handles included.
        peak: the frame in which the prompt holds most.
        score: mean relevancy over the prompt's interval, 0..1.
    """

    prompt: str
    start: int
    end: int
    peak: int
    score: float

    @property
    def length(self) -> int:
        """Frames."""
        return self.end - self.start + 1


def find_cuts(groundings: list[Grounding], handles: int = 0) -> list[Cut]:
    """The intervals of all prompts in order of time, each with `handles` frames before and after, where there are any.

    Intervals of one prompt that touch with their handles become one cut.
    """
    cuts: list[Cut] = []
    for grounding in groundings:
        last = len(grounding.relevancy) - 1
        of_prompt: list[Cut] = []
        for i in grounding.intervals:
            cut = Cut(grounding.prompt, max(i.start - handles, 0), min(i.end + handles, last), i.peak, i.score)
            if of_prompt and cut.start <= of_prompt[-1].end + 1:
                cut = _joined(of_prompt.pop(), cut)
            of_prompt.append(cut)
        cuts += of_prompt
    return sorted(cuts, key=lambda cut: (cut.start, cut.end))


def describe_cuts(run: Run, cuts: list[Cut]) -> dict[str, Any]:
    """JSON values: {run, fps, seconds, cuts: [{prompt, start, end, peak, score, first, last, begin, length}]}.

    `first` and `last` are the dataset's own frame numbers, `begin` the second at which the cut begins in the joined
    film, `length` its seconds.
    """
    fps, numbers = float(run.info["fps"]), run.info["frame_numbers"]
    begin, described = 0, []
    for cut in cuts:
        described.append(
            {
                "prompt": cut.prompt,
                "start": cut.start,
                "end": cut.end,
                "peak": cut.peak,
                "score": cut.score,
                "first": numbers[cut.start],
                "last": numbers[cut.end],
                "begin": begin / fps,
                "length": cut.length / fps,
            }
        )
        begin += cut.length
    return {"run": str(run.path.resolve()), "fps": fps, "seconds": begin / fps, "cuts": described}


def write_json(path: Path, run: Run, cuts: list[Cut]) -> None:
    """Write `describe_cuts` as a file."""
    write_file(path, json.dumps(describe_cuts(run, cuts), indent=1, ensure_ascii=False).encode())


def write_otio(path: Path, run: Run, cuts: list[Cut], film: str, camera: int | None = None) -> None:
    """Write an OpenTimelineIO timeline (.otio): one clip a cut, with a marker at its peak.

    Clips are taken from a camera's pictures, of which an editor can use more than the cut; where they are not there,
    from the joined film.

    Args:
        film: the joined video, as the timeline refers to it; relative to the timeline's folder.
        camera: of the dataset; None for the joined film.

    Raises:
        RunError: it cannot be written.
    """
    from opentimelineio import adapters, opentime, schema

    fps = float(exact_rate(run.info["fps"]))

    def span(start: int, length: int) -> opentime.TimeRange:
        return opentime.TimeRange(opentime.RationalTime(start, fps), opentime.RationalTime(length, fps))

    timeline = schema.Timeline(run.path.name)
    track = schema.Track("scenes", kind=schema.TrackKind.Video)
    timeline.tracks.append(track)
    joined = schema.ExternalReference(film, available_range=span(0, sum(cut.length for cut in cuts)))
    footage = _footage(run, camera, span)
    begin = 0
    for cut in cuts:
        start = begin if footage is None else run.info["frame_numbers"][cut.start]
        clip = schema.Clip(cut.prompt, (footage or joined).deepcopy(), span(start, cut.length))
        clip.markers.append(schema.Marker("peak", marked_range=span(start + cut.peak - cut.start, 1)))
        clip.metadata["legs4d"] = {
            "run": str(run.path.resolve()),
            "start": cut.start,
            "end": cut.end,
            "peak": cut.peak,
            "score": cut.score,
        }
        track.append(clip)
        begin += cut.length
    write_file(path, adapters.write_to_string(timeline, "otio_json").encode())


def _footage(run: Run, camera: int | None, span: Callable[[int, int], Any]) -> Any:
    """A camera's pictures as a numbered sequence; None where they are not there, or not numbered one by one."""
    from opentimelineio import schema

    numbers = run.info["frame_numbers"]
    if camera is None or "dataset" not in run.info or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return None
    folder = place_of_footage(run) / "ims" / str(camera)
    first = next(folder.glob(f"{numbers[0]:06d}.*"), None)
    if first is None:
        return None
    return schema.ImageSequenceReference(
        target_url_base=folder.as_uri() + "/",
        name_suffix=first.suffix,
        start_frame=numbers[0],
        rate=float(exact_rate(run.info["fps"])),
        frame_zero_padding=6,
        available_range=span(numbers[0], len(numbers)),
    )


def _joined(first: Cut, second: Cut) -> Cut:
    better = max(first, second, key=lambda cut: cut.score)
    return Cut(first.prompt, first.start, max(first.end, second.end), better.peak, better.score)
