"""What is seen in single pictures: boxes with names, before anybody knows which of them are the same thing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from legs4d.gaussians.store.files import new_file
from legs4d.priors.picture_crops import clipped, intersections_over_unions, without_overlaps
from legs4d.priors.protocols import BoxesPrior, NamedBoxes, PeoplePrior, WordsPrior

PERSON = "person"
THING = "thing"
"""What moves and nobody names."""

SAME = 0.5
"""IoU from which two finders' boxes are of one person."""
COVERED = 0.5
"""Share of a moving spot that named boxes cover, from which it is theirs."""
SMALLEST = 0.0004
"""Of the picture's area: smaller moving spots are noise."""
_BINS = 4
"""Of each colour, in a thing's histogram."""


@dataclass(frozen=True)
class Sightings:
    """What is seen in the pictures of one frame.

    Attributes:
        cameras: [N] positions of the cameras in the sequence.
        boxes: [N, 4] float32, pixels.
        scores: [N] float32, 0..1.
        names: [N] str.
        colors: [N, 64] float32 histogram of the colours in the middle of each box, of length 1.
        moving: [N] float32 share of the box that moves, 0..1.
    """

    cameras: NDArray[np.int64]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    names: NDArray[np.str_]
    colors: NDArray[np.float32]
    moving: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.cameras)

    def save(self, path: Path) -> None:
        """Write them as `path`, complete or not at all."""
        with new_file(path) as file:
            np.savez(file, **self.__dict__)

    @classmethod
    def load(cls, path: Path) -> Sightings:
        """What `save` wrote. Raises OSError, KeyError or ValueError when it is damaged."""
        with np.load(path, allow_pickle=False) as told:
            return cls(**{name: told[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Finders:
    """Who looks. Without both, what moves is found, and has no names.

    Attributes:
        boxes: finds things and names them.
        people: finds people.
        alone: whether what they find is all that is asked for, and nothing else that moves counts.
    """

    boxes: BoxesPrior | None
    people: PeoplePrior | None
    alone: bool = False


class Asked:
    """Finds what words mean, as a `BoxesPrior`, and calls it by the words without their article.

    Args:
        prior: that reads words.
        words: what is asked for: "a ball", "the man in red".
    """

    def __init__(self, prior: WordsPrior, words: tuple[str, ...]) -> None:
        self._prior, self.words = prior, words

    def boxes(self, picture: NDArray[np.float32]) -> NamedBoxes:
        found = self._prior.boxes_of(picture, self.words)
        return NamedBoxes(found.boxes, found.scores, tuple(called(name) for name in found.names))


def called(words: str) -> str:
    """What is found by words is called: they, without an article."""
    first, _, rest = words.strip().partition(" ")
    return rest.strip() if rest.strip() and first.lower() in ("a", "an", "the") else words.strip()


def see(camera: int, picture: NDArray[np.float32], moving: NDArray[np.float32] | None, finders: Finders) -> Sightings:
    """What is in one picture [H, W, 3].

    Args:
        camera: its position in the sequence.
        moving: [H, W] share of each pixel that moves; None where that is not known.
    """
    height, width = picture.shape[:2]
    boxes, scores, names = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)], list[str]()
    if finders.boxes is not None:
        found = finders.boxes.boxes(picture)
        boxes, scores, names = [*boxes, found.boxes], [*scores, found.scores], [*found.names]
    if finders.people is not None:
        people = finders.people.people(picture)
        persons = np.concatenate(boxes)[[name == PERSON for name in names]]
        new = intersections_over_unions(people.boxes, persons).max(axis=1, initial=0) < SAME
        boxes, scores = [*boxes, people.boxes[new]], [*scores, people.scores[new]]
        names += [PERSON] * int(new.sum())
    if moving is not None and not finders.alone:
        spots = _uncovered(moving > 0.5, np.concatenate(boxes))
        boxes, scores = [*boxes, spots], [*scores, np.full(len(spots), 0.5, np.float32)]
        names += [THING] * len(spots)
    places = clipped(np.concatenate(boxes), width, height)
    sizes = (places[:, 2:] - places[:, :2]).min(axis=1, initial=1e9)
    kinds = np.unique(np.array(names, np.str_), return_inverse=True)[1].reshape(-1)
    sure = np.concatenate(scores)
    kept = without_overlaps(places, sure, kinds, SAME)
    kept = kept[sizes[kept] >= 2]
    shares = np.ones(len(places)) if moving is None else np.array([_share(moving, box) for box in places])
    return Sightings(
        np.full(len(kept), camera),
        places[kept],
        sure[kept].astype(np.float32),
        np.array(names, np.str_).reshape(-1)[kept],
        np.array([histogram(picture, box) for box in places[kept]], np.float32).reshape(-1, _BINS**3),
        shares[kept].astype(np.float32),
    )


def joined(parts: list[Sightings]) -> Sightings:
    """Those of all pictures of a frame."""
    names = tuple(Sightings.__dataclass_fields__)
    return Sightings(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def histogram(picture: NDArray[np.float32], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """[64] of the colours in the middle of a box, of length 1."""
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * 0.3
    height, width = picture.shape[:2]
    left, top = np.floor(np.clip(middle - half, 0, [width - 1, height - 1])).astype(int)
    right, bottom = np.ceil(np.clip(middle + half, [left + 1, top + 1], [width, height])).astype(int)
    steps = np.minimum((picture[top:bottom, left:right].reshape(-1, 3) * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(steps @ np.array([_BINS**2, _BINS, 1]), minlength=_BINS**3).astype(np.float32)
    # the root makes the product of two histograms the Bhattacharyya coefficient: 1 for equal ones
    return np.sqrt(counts / counts.sum())


def _share(moving: NDArray[np.float32], box: NDArray[np.float32]) -> float:
    left, top, right, bottom = np.rint(box).astype(int)
    part = moving[top : max(bottom, top + 1), left : max(right, left + 1)]
    return float(part.mean()) if part.size else 0.0


def _uncovered(moving: NDArray[np.bool_], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """[M, 4] boxes of moving spots that none of the boxes [N, 4] cover."""
    covered = np.zeros_like(moving)
    for left, top, right, bottom in np.rint(boxes).astype(int):
        covered[max(top, 0) : bottom, max(left, 0) : right] = True
    spots, _ = ndimage.label(moving)
    found = []
    for number, place in enumerate(ndimage.find_objects(spots), 1):
        inside = spots[place] == number
        if inside.sum() < SMALLEST * moving.size or covered[place][inside].mean() > COVERED:
            continue
        rows, columns = place
        found.append((columns.start, rows.start, columns.stop, rows.stop))
    return np.array(found, np.float32).reshape(-1, 4)
