"""What a selection is made by: shapes on the screen, boxes, sizes, opacities, layers. Pure numpy, and JSON.

Each is a criterion of points and not a list of them, so that frames that arrive later, whose loose points nobody has
seen, can be asked as well.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import pieces

Array = np.ndarray[Any, Any]
Step = tuple[str, "Region"]
"""How a region changes what is selected ("SET", "ADD", "SUBTRACT", "INTERSECT", "INVERT": all of it that was not), and
the region."""

LEAST_OPACITY = 1e-4
"""Points that are fainter do not exist at this moment: not born, dead, deleted or hidden."""


@dataclass(frozen=True)
class Points:
    """The points that are asked, in their cloud's own axes.

    Attributes:
        positions, scales: [N, 3].
        opacities: [N] 0..1; 0 of those that do not exist.
        levels: relevancy [N] uint8 of a layer by where its answer is; None where nothing is known.
        frame: of the capture.
        seen: [N] 0..1 how much of each the footage showed; None where the run does not tell.
    """

    positions: Array
    scales: Array
    opacities: Array
    levels: Callable[[str], Array | None] = lambda key: None
    frame: int = 0
    seen: Array | None = None


@dataclass(frozen=True)
class Region:
    """A criterion.

    Attributes:
        kind: one of `KINDS`.
        matrix: [4, 4] from the points' axes: to clip space for "SCREEN", to a box from -1 to 1 for "BOX".
        corners: [K, 2] of a polygon in clip space, -1..1; two opposite ones are an upright rectangle.
        low, high: what counts, both included.
        key, threshold: of a layer's answer, and the relevancy from which a point counts.
        picked: by capture frame the points of "PICKED", as `packed` makes them; no point of other frames.
        steps: of "STEPS": how what is meant was chosen.
    """

    kind: str
    matrix: Array = field(default_factory=lambda: np.eye(4))
    corners: Array = field(default_factory=lambda: np.zeros((0, 2)))
    low: float = 0.0
    high: float = np.inf
    key: str = ""
    threshold: float = 0.5
    picked: Mapping[int, bytes] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def inside(self, points: Points) -> Array:
        """[N] bool: which points it names, of those that exist."""
        return KINDS[self.kind](self, points) & (points.opacities >= LEAST_OPACITY)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "kind": self.kind,
            "matrix": np.asarray(self.matrix, float).tolist(),
            "corners": np.asarray(self.corners, float).tolist(),
            "range": [self.low, None if np.isinf(self.high) else self.high],
            "layer": [self.key, self.threshold],
            "picked": {str(frame): base64.b64encode(bits).decode() for frame, bits in self.picked.items()},
            **({"steps": steps_to_json(self.steps)} if self.steps else {}),
        }


def from_json(told: Mapping[str, Any]) -> Region:
    """The region that was told."""
    low, high = told["range"]
    key, threshold = told["layer"]
    picked = told["picked"]
    if isinstance(picked, list):  # files of before: [frame, bits]
        picked = {str(picked[0]): picked[1]} if picked[1] else {}
    return Region(
        told["kind"],
        np.array(told["matrix"], float),
        np.array(told["corners"], float).reshape(-1, 2),
        low,
        np.inf if high is None else high,
        key,
        threshold,
        {int(frame): base64.b64decode(bits) for frame, bits in picked.items()},
        steps_from_json(told.get("steps", ())),
    )


def steps_to_json(steps: Sequence[Step]) -> list[Any]:
    """What `steps_from_json` reads."""
    return [[mode, region.to_json()] for mode, region in steps]


def steps_from_json(told: Sequence[Any]) -> tuple[Step, ...]:
    """The steps that were told."""
    return tuple((mode, from_json(region)) for mode, region in told)


def combined(before: Array, mode: str, found: Array) -> Array:
    """[N] bool: what is selected after a region `found` [N] bool was added to, taken from, … what was `before`."""
    if mode == "ADD":
        return before | found
    if mode in ("SUBTRACT", "INVERT"):
        return before & ~found if mode == "SUBTRACT" else found & ~before
    return before & found if mode == "INTERSECT" else found


def selected(steps: Sequence[Step], points: Points) -> Array:
    """[N] bool: what these steps, one after the other, leave selected."""
    found = np.zeros(len(points.positions), bool)
    for mode, region in steps:
        found = combined(found, mode, region.inside(points))
    return found


def layer_keys(steps: Sequence[Step]) -> set[str]:
    """Where the answers are that these steps ask."""
    own = {region.key for _, region in steps if region.kind == "LAYER"}
    return own.union(*(layer_keys(region.steps) for _, region in steps))


def packed(values: Array) -> bytes:
    """[N] bool as few bytes."""
    return zlib.compress(np.packbits(values).tobytes(), 1)


def unpacked(bits: bytes, count: int) -> Array:
    """[count] bool of `packed`; what it does not tell is False."""
    told = np.unpackbits(np.frombuffer(zlib.decompress(bits), np.uint8), count=count) if bits else np.zeros(count)
    return told.astype(bool)


def _on_screen(region: Region, points: Points) -> Array:
    matrix = np.asarray(region.matrix, np.float32)
    # Column by column: a matrix product of so narrow arrays takes three times as long.
    x, y, z = points.positions.T
    ahead = x * matrix[3, 0] + y * matrix[3, 1] + z * matrix[3, 2] + matrix[3, 3]
    across = x * matrix[0, 0] + y * matrix[0, 1] + z * matrix[0, 2] + matrix[0, 3]
    up = x * matrix[1, 0] + y * matrix[1, 1] + z * matrix[1, 2] + matrix[1, 3]
    corners = np.asarray(region.corners, np.float32)
    (left, low), (right, high) = corners.min(axis=0), corners.max(axis=0)
    found = (ahead > 0) & (across >= left * ahead) & (across <= right * ahead)
    found &= (up >= low * ahead) & (up <= high * ahead)
    if len(corners) > 2:
        near = np.flatnonzero(found)
        found[near] = _in_polygon(across[near] / ahead[near], up[near] / ahead[near], corners)
    return found


def _in_polygon(x: Array, y: Array, corners: Array) -> Array:
    """Even-odd rule: whether a ray to the right crosses an odd number of edges.

    Points in the order of their height: an edge is asked of those only that are as high as it.
    """
    order = np.argsort(y)
    x, y = x[order], y[order]
    crossed = np.zeros(len(x), bool)
    for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        begin, end = np.searchsorted(y, sorted((ay, by)))
        if end > begin:
            crossed[begin:end] ^= x[begin:end] < (bx - ax) / (by - ay) * (y[begin:end] - ay) + ax
    inside = np.empty(len(x), bool)
    inside[order] = crossed
    return inside


def _in_box(region: Region, points: Points) -> Array:
    matrix = np.asarray(region.matrix, np.float32)
    x, y, z = points.positions.T
    found = np.ones(len(x), bool)
    for row in matrix[:3]:
        found &= np.abs(x * row[0] + y * row[1] + z * row[2] + row[3]) <= 1.0
    return found


def _between(values: Array, region: Region) -> Array:
    return (values >= region.low) & (values <= region.high)


def _seen(region: Region, points: Points) -> Array:
    return np.zeros(len(points.positions), bool) if points.seen is None else _between(points.seen, region)


def _named(region: Region, points: Points) -> Array:
    levels = points.levels(region.key)
    if levels is None:
        return np.zeros(len(points.positions), bool)
    return levels >= round(region.threshold * 255)


def _picked(region: Region, points: Points) -> Array:
    return unpacked(region.picked.get(points.frame, b""), len(points.positions))


def _largest(region: Region, points: Points) -> Array:
    there = np.flatnonzero(points.opacities >= LEAST_OPACITY)
    found = np.zeros(len(points.positions), bool)
    found[there[pieces.largest(points.positions[there], points.scales[there])]] = True
    return found


def _length(points: Points) -> Array:
    a, b, c = points.scales.T  # column by column: reducing rows of three takes ten times as long
    return np.maximum(np.maximum(a, b), c)


def _slenderness(points: Points) -> Array:
    a, b, c = points.scales.T
    middle = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    return _length(points) / np.maximum(middle, 1e-12)


KINDS: dict[str, Callable[[Region, Points], Array]] = {
    "ALL": lambda region, points: np.ones(len(points.positions), bool),
    "SCREEN": _on_screen,
    "BOX": _in_box,
    "SIZE": lambda region, points: _between(_length(points), region),
    "NEEDLE": lambda region, points: _between(_slenderness(points), region),
    "OPACITY": lambda region, points: _between(points.opacities, region),
    "SEEN": _seen,
    "LAYER": _named,
    "PICKED": _picked,
    "STEPS": lambda region, points: selected(region.steps, points),
    "LARGEST": _largest,
}
"""How each kind finds points: "SIZE" by the largest standard deviation in the cloud's own units, "NEEDLE" by how many
times that is the middle one, "LARGEST" by the largest piece that hangs together."""
