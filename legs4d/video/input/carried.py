"""Masks of one frame carried through a video: the box first, then flow inside it, then what looks alike at the edge."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

from legs4d.priors.flow.dis import DisFlow
from legs4d.priors.opencv import opencv
from legs4d.progress import StageReporter
from legs4d.video.input.clip import Clip
from legs4d.video.input.things import Crop, Thing, box_of

Picture = NDArray[np.float32]
AROUND = 1.5
"""Of the box's longer side: the crop in which flow looks."""
REACH = 1.0
"""Of the box's longer side: how far it may go from frame to frame."""
FINEST = 160
"""Pixels of a crop's side: smaller objects are looked at twice as large, at most."""
BAND = 0.12
"""Of the root of the area: how far from where flow has it an edge is looked for."""
COLOUR, PLACE, ALIKE = 6.0, 0.10, 12
"""Units of L*a*b* and of the root of the area by which pixels are as far apart; how many nearest ones are asked."""
EVEN = 1.0
"""Pixels of the crop over which their answers are made even."""
FEWEST = 60
"""Pixels of the crop, of which an edge is not looked for in less."""
BEST = 2
"""Places that colours offer."""
TORN, GROWN, FAR = 0.05, 0.15, 0.02
"""What torn flow (pixels a pixel), change of area (logarithm) and of velocity (object's sides) cost, in colours."""
LEAST = 12
"""Pixels below which an object is lost."""


def carry(clip: Clip, things: list[Thing], frame: int, reporter: StageReporter) -> None:
    """Fill in the masks of all frames but one, away from it in both directions, as long as each object is seen."""
    for row, thing in enumerate(things):
        known = thing.masks[frame].copy()
        thing.masks[:] = False
        thing.masks[frame] = known
        carrier = _Carrier(clip)
        for order in (range(frame + 1, clip.num_frames), range(frame - 1, -1, -1)):
            before, velocity = frame, np.zeros(2)
            for now in order:
                reporter.step(row * clip.num_frames + now, len(things) * clip.num_frames)
                mask, velocity = carrier.next(before, now, thing.masks[before], velocity)
                if mask.sum() < LEAST:
                    break
                thing.masks[now] = mask
                before = now
    reporter.step(1, 1)


class _Carrier:
    def __init__(self, clip: Clip) -> None:
        self._clip, self._flow, self._cv2 = clip, DisFlow(), opencv("carrying masks")

    def next(
        self, before: int, now: int, mask: NDArray[np.bool_], velocity: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """The mask in the next frame, and how far the object went, pixels."""
        box = box_of(mask)
        assert box is not None, "a lost object is not carried on"
        left, top, right, bottom = box
        longer = max(right - left, bottom - top)
        size = AROUND * longer + 16
        side = int(np.clip(round(size), min(FINEST, 2 * round(size)), 512))
        one = Crop.around((left + right) / 2, (top + bottom) / 2, size, side)
        first = one.take(self._clip.picture(before))
        soft = gaussian_filter(one.take(mask.astype(np.float32)), 0.5)
        after = self._clip.picture(now)
        tried = []
        for shift in self._shifts(before, now, mask, box, velocity):
            other = Crop(one.left + shift[0], one.top + shift[1], one.scale, side)
            second = other.take(after)
            warped, off = self._warped(first, second, soft)
            tried.append((off + FAR * float(np.hypot(*(shift - velocity))) / longer, other, second, warped, shift))
        _, other, second, (moved, back), shift = min(tried, key=lambda one: one[0])
        return self._put_back(self._edges(first, second, moved, back), other, mask.shape), shift

    def _warped(self, first: Picture, second: Picture, soft: Picture) -> tuple[tuple[Picture, Picture], float]:
        """The mask where flow says that it went, with that flow, and how unlike it looks there: colours, and flow that
        is torn."""
        back = self._flow.flow(second, first)
        rows, columns = np.mgrid[0 : len(soft), 0 : len(soft)].astype(np.float64)
        where = [rows + back[..., 1], columns + back[..., 0]]
        moved = map_coordinates(soft, where, order=1, mode="constant")
        inside = moved > 0.5
        if not inside.any():
            return (moved, back), np.inf
        drawn = np.stack([map_coordinates(first[..., c], where, order=1, mode="nearest") for c in range(3)], axis=-1)
        colors = np.abs(second - drawn).mean(axis=-1)[inside].mean()
        torn = np.abs(np.gradient(back, axis=(0, 1))).sum(axis=(0, -1))[inside].mean()
        grown = abs(np.log(inside.sum() / max((soft > 0.5).sum(), 1)))
        return (moved, back), float(colors + TORN * torn + GROWN * grown)

    def _shifts(
        self,
        before: int,
        now: int,
        mask: NDArray[np.bool_],
        box: tuple[int, int, int, int],
        velocity: NDArray[np.float64],
    ) -> list[NDArray[np.float64]]:
        """Where it may have gone, pixels: as before, nowhere, with the flow of the whole picture, and where its colours
        fit best."""
        cv2, (left, top, right, bottom) = self._cv2, box
        height, width = mask.shape
        whole = self._flow.flow(self._clip.picture(before), self._clip.picture(now))
        found = [velocity, np.zeros(2), np.median(whole[mask], axis=0).astype(np.float64)]
        reach = max(16, round(REACH * max(right - left, bottom - top)))
        x0, y0, x1, y1 = left - reach, top - reach, right + reach, bottom + reach
        border = max(0, -x0, -y0, x1 - width, y1 - height)
        second = self._clip.pictures[now]
        wide = cv2.copyMakeBorder(second, border, border, border, border, cv2.BORDER_REPLICATE).astype(np.float32)
        place = wide[y0 + border : y1 + border, x0 + border : x1 + border]
        pattern = self._clip.pictures[before][top:bottom, left:right].astype(np.float32)
        weights = np.repeat(mask[top:bottom, left:right, None].astype(np.float32), 3, axis=2)
        costs = cv2.matchTemplate(place, pattern, cv2.TM_SQDIFF, mask=weights)
        apart = max(2, min(right - left, bottom - top) // 3)
        for _ in range(BEST):
            row, column = np.unravel_index(int(costs.argmin()), costs.shape)
            found.append(np.array([column - reach, row - reach], np.float64))
            costs[max(0, row - apart) : row + apart + 1, max(0, column - apart) : column + apart + 1] = np.inf
        return found

    def _edges(self, first: Picture, second: Picture, moved: Picture, back: Picture) -> NDArray[np.bool_]:
        """The mask with its edge where what looks alike, and is near, was the object's before or was not.

        In the space of colours and places (as bilateral space of Märki et al. 2016), by nearest neighbours: the picture
        before, brought where flow says that it went, knows what each pixel was.
        """
        mask = np.asarray(moved > 0.5)
        unit = float(mask.sum()) ** 0.5
        if mask.sum() < FEWEST:
            return mask
        reach = max(2.0, BAND * unit)
        away = distance_transform_edt(mask) + distance_transform_edt(~mask)
        asked, known = away < reach, away < 2 * reach
        rows, columns = np.mgrid[0 : len(mask), 0 : len(mask)].astype(np.float64)
        where = [rows + back[..., 1], columns + back[..., 0]]
        before, now = (self._cv2.cvtColor(picture, self._cv2.COLOR_RGB2LAB) for picture in (first, second))
        drawn = np.stack([map_coordinates(before[..., c], where, order=1, mode="nearest") for c in range(3)], axis=-1)
        places = np.stack([rows, columns], axis=-1) / (PLACE * unit)
        sides = np.clip(moved, 0, 1)
        tree = cKDTree(np.concatenate([drawn[known] / COLOUR, places[known]], axis=1))
        count = min(ALIKE, int(known.sum()))
        apart, near = tree.query(np.concatenate([now[asked] / COLOUR, places[asked]], axis=1), k=count)
        weight = np.exp(apart[:, :1] ** 2 - apart**2)
        told = sides.copy()
        told[asked] = (weight * sides[known][near]).sum(axis=1) / weight.sum(axis=1)
        return np.asarray(gaussian_filter(told, EVEN) > 0.5)

    @staticmethod
    def _put_back(mask: NDArray[np.bool_], crop: Crop, shape: tuple[Any, ...]) -> NDArray[np.bool_]:
        """[H, W] where a crop's mask is in the picture."""
        rows = (np.arange(shape[0]) + 0.5 - crop.top) / crop.scale - 0.5
        columns = (np.arange(shape[1]) + 0.5 - crop.left) / crop.scale - 0.5
        grid = np.meshgrid(rows, columns, indexing="ij")
        return np.asarray(map_coordinates(mask.astype(np.float32), grid, order=1, mode="constant") > 0.5)
