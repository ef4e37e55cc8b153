"""Which places of different frames are the same thing."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from legs4d.priors.objects.places import Place, voted_name
from legs4d.priors.objects.sightings import Sightings

REACH = 1.5
"""Of a thing's size: how far from where it was going it may be a frame later."""
SIZES = 1.7
"""Most that sizes of one thing may differ between two frames, as a factor: a thing as large as the hall, whose reach is
the hall, would be continued by anything in it."""
LOST = 5
"""Frames over which a thing that is not seen goes on as it moved."""
ALIKE = 0.55
"""Likeness of colours (Bhattacharyya) from which what is seen anew may be what was lost."""
NEARLY = 0.05
"""Difference of likeness under which two that were lost cannot be told apart."""
AS_NEAR = 1.0
"""Of their sizes: difference of how far two that are lost were going from a place, under which it may be either's."""
SHORTEST = 3
"""Frames in which a thing must be placed."""
MOVES = 0.25
"""Share of a thing's boxes that moves, at the time when it moves most, from which it is something that moves."""

SURE = 0.3
"""Confidence from which a thing is cut out; others are only listed."""


@dataclass
class Track:
    """One thing over time.

    Attributes:
        is_person: or else anything.
        places: frame → where it was found.
        rivals: (frame, another) where this came back and the other, lost as well, was going there too.
    """

    is_person: bool
    places: dict[int, Place] = field(default_factory=dict)
    rivals: list[tuple[int, Track]] = field(default_factory=list)

    @property
    def first(self) -> int:
        return min(self.places)

    @property
    def last(self) -> int:
        return max(self.places)

    @property
    def size(self) -> NDArray[np.float64]:
        """[2] median width and height in the world."""
        return np.asarray(np.median([place.size for place in self.places.values()], axis=0))

    def expected(self, frame: int) -> NDArray[np.float64]:
        """[3] where it is in a frame: between the frames where it was found, or on as it moved last."""
        frames = np.array(sorted(self.places))
        positions = np.array([self.places[f].position for f in frames.tolist()])
        if frame > frames[-1] and len(frames) > 1:
            span = frames[-1] - frames[-2]
            return positions[-1] + (positions[-1] - positions[-2]) * (frame - frames[-1]) / span
        return np.array([np.interp(frame, frames, positions[:, axis]) for axis in range(3)])


@dataclass(frozen=True)
class Thing:
    """What a track is.

    Attributes:
        track: its places over time.
        name: by vote of its sightings; "thing" where none has a name.
        named: share of the votes that say so, 0..1.
        moving: share of its boxes that moves, at the time when it moves most.
        colors: [64] histogram.
        confidence: 0..1, from how many cameras that could see it did, and how surely.
        doubt: what is not sure about it, "" if nothing.
    """

    track: Track
    name: str
    named: float
    moving: float
    colors: NDArray[np.float32]
    confidence: float
    doubt: str = ""


def follow(places: list[list[Place]]) -> list[Track]:
    """Places of frames 0, 1, …, linked to tracks: each goes to the nearest that was going there."""
    tracks: list[Track] = []
    for frame, found in enumerate(places):
        for is_person in (True, False):
            mine = [place for place in found if place.is_person == is_person]
            open_ = [t for t in tracks if t.is_person == is_person and frame - t.last <= LOST]
            taken = _link(open_, mine, frame)
            tracks += [Track(is_person, {frame: p}) for i, p in enumerate(mine) if i not in taken]
    return [track for track in tracks if len(track.places) >= SHORTEST]


def _link(tracks: list[Track], places: list[Place], frame: int) -> set[int]:
    if not tracks or not places:
        return set()
    cost = np.full((len(tracks), len(places)), 1e6)
    away = np.full((len(tracks), len(places)), np.inf)  # in the track's own sizes
    for row, track in enumerate(tracks):
        goes, size = track.expected(frame), float(track.size.mean())
        reach = REACH * size * (frame - track.last)
        for column, place in enumerate(places):
            distance = float(np.linalg.norm(place.position - goes))
            ratio = float(place.size.mean()) / size
            if not 1 / SIZES < ratio < SIZES:
                continue
            # one that has been seen once may go anywhere
            if distance < (2 * reach if len(track.places) == 1 else reach):
                away[row, column] = distance / size
                cost[row, column] = distance / size - 0.1 * min(len(track.places), 10)
    lost = [frame - track.last > 1 and len(track.places) >= SHORTEST for track in tracks]
    taken = set()
    for row, column in zip(*linear_sum_assignment(cost), strict=True):
        if cost[row, column] < 1e5:
            for other, track in enumerate(tracks):
                if other != row and lost[row] and lost[other] and away[other, column] < away[row, column] + AS_NEAR:
                    tracks[row].rivals.append((frame, track))
            tracks[row].places[frame] = places[column]
            taken.add(int(column))
    return taken


def name_things(tracks: list[Track], sightings: list[Sightings], num_cameras: int) -> list[Thing]:
    """Tracks with names; one that ends and one that begins later, alike in kind, size and colours, become one."""
    tracks, doubts = _rejoined(tracks, sightings)
    return [_thing(track, sightings, num_cameras, doubts.get(id(track), "")) for track in tracks]


def _thing(track: Track, sightings: list[Sightings], num_cameras: int, doubt: str) -> Thing:
    seen = [(sightings[frame], place.sightings) for frame, place in track.places.items()]
    name, named = voted_name(seen, track.is_person)
    moving = max(float(np.median(frame.moving[numbers])) for frame, numbers in seen)
    scores = [float(frame.scores[numbers].mean()) for frame, numbers in seen]
    seeing = np.mean([len(numbers) for _, numbers in seen]) / num_cameras
    confidence = float(np.clip(np.mean(scores) * (0.5 + 0.5 * seeing) * 1.5, 0, 1))
    return Thing(track, name, named, moving, colors_of(track, sightings), confidence, doubt)


def colors_of(track: Track, sightings: list[Sightings]) -> NDArray[np.float32]:
    """[64] histogram of a thing over all its sightings, of length 1."""
    parts = [sightings[f].colors[p.sightings] for f, p in track.places.items()]
    total = np.concatenate(parts).mean(axis=0)
    return (total / max(float(np.linalg.norm(total)), 1e-9)).astype(np.float32)


def _rejoined(tracks: list[Track], sightings: list[Sightings]) -> tuple[list[Track], dict[int, str]]:
    """Tracks put together, and what is not sure about some of them, by their id()."""
    left = sorted(tracks, key=lambda track: track.first)
    colors = {id(track): colors_of(track, sightings) for track in left}
    done: list[Track] = []
    doubts: dict[int, str] = {}
    for track in left:
        alike = [frame for frame, other in track.rivals if colors[id(track)] @ colors_of(other, sightings) > 1 - NEARLY]
        if alike:
            doubts[id(track)] = _either(alike[0])
        likeness = []
        for earlier in done:
            ratio = float(track.size.mean() / earlier.size.mean())
            if earlier.is_person == track.is_person and earlier.last < track.first and 1 / SIZES < ratio < SIZES:
                likeness.append((float(colors[id(earlier)] @ colors[id(track)]), earlier))
        likeness.sort(key=lambda one: -one[0])
        if not likeness or likeness[0][0] < ALIKE:
            done.append(track)
            continue
        if len(likeness) > 1 and likeness[0][0] - likeness[1][0] < NEARLY:
            doubts[id(likeness[0][1])] = _either(track.first)
        elif id(track) in doubts:
            doubts[id(likeness[0][1])] = doubts[id(track)]
        likeness[0][1].places.update(track.places)
    return done, doubts


def _either(frame: int) -> str:
    return f"in frame {frame} it may be another that looks like it"
