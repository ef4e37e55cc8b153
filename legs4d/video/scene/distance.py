"""How far away each object is in every frame: by parallax where it stands still and the camera moves, where it rests,
what a depth map says, what holds it, how large it seems.

An object in its own space, whose unit is its distance in the canonical frame, may be put at any distance k along its
rays without another picture: x_world = camera⁻¹ (k · x). What decides on k is what a picture does not show, so each
frame says by which route it was found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter1d, median_filter

from legs4d.video.scene.filming import Filming, Floor

Floats = NDArray[np.float64]
LOWEST = 0.01
"""Share of an object's Gaussians below its lowest place that counts."""
ALIKE = 0.10
"""Share by which sizes of frames may differ in which the object rests."""
RESTING = 0.15
"""Share of the frames in which it has to rest, or two, for the floor to tell its size."""
FARTHEST = 60.0
"""Distances, in those of the camera from the floor, beyond which a contact says nothing."""
RESTS = 0.08
"""Share by which a depth map and the floor may differ for an object to rest: then the floor tells more exactly."""
EVEN = 5
"""Frames of which the median of measured sizes counts."""
HELD = 1.15
"""An object that touches a larger one in the picture, and would by the floor be so much farther away, is held by it."""
HELD_FRAMES = 1
IN_HANDS = 0.3
"""Of a larger one's area in the picture, what may be held by it: two people who pass each other do not."""
CELLS = 48
"""Of an object's place in the picture, a side, in each of which the nearest is what shows; PER_CELL: at least so many
places in each, or what is behind would show through."""
PER_CELL = 6
UNKNOWN = 4.0
"""Scene units where nothing tells."""
GIVEN, DEPTH, PARALLAX, CONTACT, HOLDER, SIZE, NOTHING = "given", "depth", "parallax", "contact", "held", "size", "none"
BOUND = "bound"
"""Routes."""


@dataclass(frozen=True)
class Distances:
    """Of one object.

    Attributes:
        factors: [T] scene units of the object's own unit (its distance in the canonical frame).
        routes: T, by which each was found.
        why: a sentence.
    """

    factors: Floats
    routes: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Placed:
    """What is known of one object before its distance is.

    Attributes:
        bent: T, [N, 3] places in the cameras' axes for k = 1 of that frame's relative size: centre + size · x.
        sizes: [T] relative to the canonical frame.
        there: [T]; lowest_shows: [T] whether its lowest place is in the picture, and nothing is before it.
        masks: [T, H, W]; area: mean pixels.
        depths: [T] 1 / depth of what shows of it, scene units, by a depth map; NaN where none tells.
        parallax: [T] factors by which it stands still in the world; NaN where it does not.
    """

    bent: list[Floats]
    sizes: Floats
    there: NDArray[np.bool_]
    lowest_shows: NDArray[np.bool_]
    masks: NDArray[np.bool_]
    called: str
    depths: Floats | None = None
    parallax: Floats | None = None

    @property
    def area(self) -> float:
        return float(self.masks[self.there].sum(axis=(1, 2)).mean()) if self.there.any() else 0.0


def contact_distances(placed: Placed, filming: Filming, floor: Floor) -> Floats:
    """[T] by what factor the object's frame has to grow for its lowest place to touch the floor; NaN where none does.

    up · (C + k Rᵀ x) = h has one solution: k = (h − up · C) / min (up · Rᵀ x). Nothing is farther away than that, as it
    would lie below the floor, also where what shows of it at the bottom is not its own end.
    """
    found = np.full(len(placed.bent), np.nan)
    for frame in np.flatnonzero(placed.there):
        up = filming.turn(int(frame)) @ floor.normal
        heights = placed.bent[frame] @ up
        lowest = float(np.quantile(heights, LOWEST))
        above = floor.height - float(floor.normal @ filming.center(int(frame)))
        if above < 0 and lowest < 0 and above / lowest < FARTHEST * -above:
            found[frame] = above / lowest
    return found


def surface_depth(places: Floats) -> float:
    """Median z of what shows of places [N, 3] in a camera's axes: of each cell of the picture the nearest."""
    ahead = places[places[:, 2] > 0]
    if not len(ahead):
        return float("nan")
    seen = ahead[:, :2] / ahead[:, 2:]
    low, high = seen.min(axis=0), seen.max(axis=0)
    side = int(np.clip((len(ahead) / PER_CELL) ** 0.5, 1, CELLS))
    cells = np.floor((seen - low) / max(float((high - low).max()), 1e-9) * (side - 1e-6)).astype(int)
    nearest = np.full((side, side), np.inf)
    np.minimum.at(nearest, (cells[:, 1], cells[:, 0]), ahead[:, 2])
    return float(np.median(nearest[np.isfinite(nearest)]))


def _measured(placed: Placed, rests: Floats) -> Distances | None:
    """Where parallax or a depth map tells in a frame; in others the floor, if it rests there as large, else its size.

    Args:
        rests: [T] factors at which its lowest place touches the floor; NaN in frames that do not show it.
    """
    count = len(placed.bent)
    values, routes = np.full(count, np.nan), np.full(count, SIZE, dtype="<U10")
    if placed.depths is not None:
        told = np.isfinite(placed.depths) & placed.there
        for frame in np.flatnonzero(told):
            values[frame] = 1 / (placed.depths[frame] * surface_depth(placed.bent[frame]))
        told &= np.isfinite(values)  # nothing of it is before the camera
        routes[told] = DEPTH
        with np.errstate(invalid="ignore"):
            lies = told & (np.abs(np.log(rests / values)) < RESTS)
        values[lies], routes[lies] = rests[lies], CONTACT
    if placed.parallax is not None:
        still = np.isfinite(placed.parallax) & placed.there
        values[still], routes[still] = placed.parallax[still], PARALLAX
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return None
    logs = np.log(values[known] * placed.sizes[known])
    noisy = routes[known] == DEPTH
    logs = np.where(noisy, median_filter(logs, min(EVEN, len(logs)), mode="nearest"), logs)
    sizes = np.exp(np.interp(np.arange(count), known, logs))
    factors = sizes / placed.sizes
    with np.errstate(invalid="ignore"):
        lies = ~np.isfinite(values) & (np.abs(np.log(rests / factors)) < ALIKE)
    factors[lies], routes[lies] = rests[lies], CONTACT
    names = {PARALLAX: "stands still while the camera moves", DEPTH: "is told by a depth map", CONTACT: "rests"}
    why = ", ".join(
        f"{text} in {int((routes == name).sum())}" for name, text in names.items() if (routes == name).any()
    )
    return Distances(factors, tuple(routes.tolist()), f"{why} of {int(placed.there.sum())} frames")


def distances_of(everything: list[Placed], filming: Filming, given: dict[int, float] | None = None) -> list[Distances]:
    """Distances of all objects, largest first, as they may hold one another.

    Args:
        given: row of an object → its distance from the camera in the frame that shows it best, scene units.
    """
    order = sorted(range(len(everything)), key=lambda row: -everything[row].area)
    found: dict[int, Distances] = {}
    contacts: dict[int, Floats] = {}
    for row in order:
        placed = everything[row]
        if given and row in given:
            size = given[row]
            count = len(placed.bent)
            found[row] = Distances(np.full(count, size) / placed.sizes, (GIVEN,) * count, "its distance was given")
            continue
        contacts[row] = contact = contact_distances(placed, filming, filming.floor)
        rests = np.where(placed.lowest_shows, contact, np.nan)
        measured = _measured(placed, rests)
        if measured is not None:
            found[row] = _above(measured, contact)
            continue
        holders = [(other, found[other]) for other in found if placed.area < IN_HANDS * everything[other].area]
        held = _held(placed, rests, [(everything[other], distances) for other, distances in holders])
        found[row] = _above(_one(placed, rests, held, contact, filming.floor), contact)
    for row, d in found.items():
        if BOUND in d.routes:
            found[row] = _behind(row, everything, found, contacts.get(row))
    # what nothing tells of is as far away as what something does
    known = [row for row, d in found.items() if NOTHING not in d.routes]
    if known:
        middle = float(np.median([np.median(found[row].factors * everything[row].sizes) for row in known]))
        for row, d in found.items():
            if NOTHING in d.routes:
                why = f"{d.why}; it is put as far away as the others"
                far = Distances(np.full(len(d.factors), middle) / everything[row].sizes, d.routes, why)
                found[row] = _above(far, contacts[row])
    return [found[row] for row in range(len(everything))]


def _held(placed: Placed, contact: Floats, holders: list[tuple[Placed, Distances]]) -> Floats:
    """[T] distance of what holds the object, NaN where nothing does."""
    best = np.full(len(contact), np.nan)
    for holder, distances in holders:
        touching = np.zeros(len(contact), bool)
        for frame in np.flatnonzero(placed.there & holder.there):
            own = placed.masks[frame]
            rows, columns = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
            if not len(rows):
                continue
            part = np.s_[max(0, rows[0] - 3) : rows[-1] + 4, max(0, columns[0] - 3) : columns[-1] + 4]
            touching[frame] = bool((binary_dilation(own[part], iterations=2) & holder.masks[frame][part]).any())
        if touching.sum() < HELD_FRAMES:
            continue
        theirs = distances.factors
        farther = np.nan_to_num(contact / theirs, nan=np.inf) > HELD
        if farther[touching].mean() > 0.5:
            best = np.where(touching & ~np.isfinite(best), theirs, best)
    return best


def _behind(row: int, everything: list[Placed], found: dict[int, Distances], contact: Floats | None) -> Distances:
    """Of what stands behind others, so that its lowest place is not seen: between what hides it and the floor.

    Both are bounds, and nothing says more: their geometric mean is off by the least factor.
    """
    placed, own = everything[row], found[row]
    if contact is None:
        return own
    sizes = []
    for frame in np.flatnonzero(placed.there & np.isfinite(contact)):
        mask = placed.masks[frame]
        rows = np.flatnonzero(mask.any(axis=1))
        below = np.zeros(mask.shape, bool)
        below[rows[-1] + 1 : rows[-1] + 4] = mask[max(rows[-1] - 1, 0) : rows[-1] + 1].any(axis=0)
        nearer = [
            other.factors[frame]
            for n, other in found.items()
            if n != row and BOUND not in other.routes and (everything[n].masks[frame] & below).any()
        ]
        nearer = [value for value in nearer if value < contact[frame]]
        if nearer:
            sizes.append(np.sqrt(max(nearer) * contact[frame]) * placed.sizes[frame])
    if not sizes:
        return own
    why = "its lowest place is hidden; it is put between what hides it and where the floor lets what shows be"
    return _above(Distances(float(np.median(sizes)) / placed.sizes, own.routes, why), contact)


def _above(distances: Distances, contact: Floats) -> Distances:
    """The same, but nowhere below the floor."""
    over = np.nan_to_num(distances.factors / contact, nan=0.0)
    if over.max(initial=0) <= 1:
        return distances
    factors, routes = distances.factors.copy(), list(distances.routes)
    for frame in np.flatnonzero(over > 1):
        factors[frame] = contact[frame]
        routes[frame] = CONTACT if routes[frame] == SIZE else routes[frame]
    return Distances(factors, tuple(routes), distances.why)


def _one(placed: Placed, contact: Floats, held: Floats, least: Floats, floor: Floor) -> Distances:
    count = len(contact)
    if np.isfinite(held).sum() >= HELD_FRAMES:
        # its size from the frames in which it is held, of two holders those that agree
        sizes = held * placed.sizes
        size, rests = _consensus(sizes)
        routes = np.where(rests, HOLDER, SIZE)
        factors = size / placed.sizes
        return Distances(factors, tuple(routes.tolist()), f"held in {int(rests.sum())} frames by what is as far away")
    sizes = contact * placed.sizes
    if not np.isfinite(sizes).any():
        bounds = least * placed.sizes
        if np.isfinite(bounds).any():  # what shows of it has to be above the floor
            size = float(np.nanmin(bounds))
            why = "its lowest place is not seen; it is put as far away as the floor lets what shows be"
            return Distances(size / placed.sizes, (BOUND,) * count, why)
        why = "its lowest place is above the horizon"
        return Distances(UNKNOWN / placed.sizes, (NOTHING,) * count, why)
    size, rests = _consensus(sizes)
    factors = size / placed.sizes
    # where it rests the floor tells more exactly than size does, evenly in time
    correction = np.where(rests, np.log(np.where(rests, contact, 1) / factors), 0.0)
    weight = rests.astype(np.float64)
    if count > 1:
        spread = gaussian_filter1d(weight, 2.0, mode="nearest")
        even = gaussian_filter1d(correction * weight, 2.0, mode="nearest") / np.maximum(spread, 1e-6)
        factors = factors * np.exp(np.where(spread > 1e-3, even * np.minimum(1, 2 * spread), 0))
    else:
        factors = contact.copy()
    routes = np.where(rests, CONTACT, SIZE)
    told = {"given": "the given floor", "found": "the floor that was found", "assumed": "an assumed floor"}[floor.route]
    why = f"rests on {told} in {int(rests.sum())} of {int(placed.there.sum())} frames"
    if not rests.any():
        why = f"never rests on {told}; it is put as far away as that lets what shows be"
        routes = np.full(count, BOUND)
    return Distances(factors, tuple(routes.tolist()), why)


def _consensus(sizes: Floats) -> tuple[float, NDArray[np.bool_]]:
    """(size, [T] frames that agree with it): of sizes that several frames agree on the least, as what flies seems to
    rest farther away than it is, and never nearer."""
    finite = np.flatnonzero(np.isfinite(sizes))
    least = max(2, round(RESTING * len(finite))) if len(finite) > 1 else 1
    for value in np.sort(sizes[finite]):
        alike = np.zeros(len(sizes), bool)
        alike[finite] = (sizes[finite] >= value * (1 - ALIKE / 4)) & (sizes[finite] <= value * (1 + ALIKE))
        if alike.sum() >= least:
            middle = float(np.median(sizes[alike]))
            alike[finite] = np.abs(np.log(sizes[finite] / middle)) < ALIKE
            return float(np.median(sizes[alike])), alike
    return float(sizes[finite].min()), np.zeros(len(sizes), bool)
