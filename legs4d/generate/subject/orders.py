"""Whether pseudo views begin at the video's side, and are in the order and from above as they are taken to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.generate.lenses import PSEUDO_AZIMUTHS, PSEUDO_ELEVATION, Lens
from legs4d.generate.shapes.consistency import disagreement
from legs4d.scene.camera import Cameras

COUNT = len(PSEUDO_AZIMUTHS)
AZIMUTHS = np.array(PSEUDO_AZIMUTHS)
AS_TEXT = np.array(sorted(range(COUNT), key=str))
"""The numbers of views in the order of their names as text: 0, 1, 10, 11 and so on."""
MOMENTS = 3
"""That are looked at, spread over the video."""
WRONG = 0.02
"""By how much less pictures have to disagree (`disagreement`) with other cameras before these are called wrong: chosen
on `orders.py --generated 48`, where none of 192 good sets is refused, and 19 of 768 wrong ones are not."""
STARTS = (90, 180, 270)
"""Degrees from the front at which views may begin that do not begin there."""


@dataclass(frozen=True)
class Order:
    """Cameras that views may be of, where they are not those that they are taken to be."""

    elevation: float
    azimuths: NDArray[np.float64]
    said: str
    fix: str


ORDERS = (
    Order(
        -PSEUDO_ELEVATION,
        AZIMUTHS,
        f"as if seen from {PSEUDO_ELEVATION:.0f}° below: the sign of the elevation is the other one",
        f"give views from {PSEUDO_ELEVATION:.0f}° above",
    ),
    Order(
        PSEUDO_ELEVATION,
        -AZIMUTHS,
        "in the reverse order: azimuths have to grow from the front towards +x",
        "mirror or reorder the views",
    ),
    Order(
        -PSEUDO_ELEVATION,
        -AZIMUTHS,
        f"as if seen from {PSEUDO_ELEVATION:.0f}° below in the reverse order: the signs of the elevation and of the "
        "azimuths are the other ones",
        f"give views from {PSEUDO_ELEVATION:.0f}° above, whose azimuths grow from the front towards +x",
    ),
    Order(
        PSEUDO_ELEVATION,
        AZIMUTHS[AS_TEXT],
        "in the order of their names as text: 10 stands behind 1",
        "number them as azimuths grow, 0 to 15",
    ),
)


def check_orders(pictures: NDArray[np.uint8], lens: Lens, where: Path) -> tuple[str, ...]:
    """What should be known of pseudo views [F, S, S, 4] (colours times alpha), sixteen a moment.

    Raises:
        DatasetError: they go together much better in another order, or as seen from below.
    """
    moments = pictures.reshape(-1, COUNT, *pictures.shape[1:])
    some = moments[np.unique(np.linspace(0, len(moments) - 1, min(len(moments), MOMENTS)).round().astype(int))]
    size = pictures.shape[1]

    def apart(elevation: float, azimuths: NDArray[np.float64]) -> float:
        cameras = lens.cameras(elevation, azimuths, size)
        return float(np.mean([disagreement(one, cameras, lens.reach) for one in some]))

    own = apart(PSEUDO_ELEVATION, AZIMUTHS)
    found = [apart(order.elevation, order.azimuths) for order in ORDERS]
    best = ORDERS[int(np.argmin(found))]
    if min(found) < own - WRONG:
        raise DatasetError(
            f"silhouettes and colours go together {best.said}",
            where=str(where),
            fix=f"{best.fix}; or take them as they are, by --trust-views",
        )
    if min(found) < own:
        return (f"Of the views hardly anything tells, but they fit somewhat better {best.said}.",)
    return ()


def check_start(pictures: NDArray[np.uint8], front: NDArray[np.uint8], lens: Lens, where: Path) -> None:
    """Raise DatasetError where pseudo views [16, S, S, 4] (colours times alpha) begin at another side of the object
    than the video's picture [S, S, 4] of the same moment shows."""
    size, together = pictures.shape[1], np.concatenate([pictures, front[None]])

    def apart(degrees: float) -> float:
        around = lens.cameras(PSEUDO_ELEVATION, AZIMUTHS + degrees, size)
        return disagreement(together, Cameras.together([around, lens.cameras(0, 0, size)]), lens.reach)

    own, found = apart(0), [apart(degrees) for degrees in STARTS]
    if min(found) < own - WRONG:
        at = STARTS[int(np.argmin(found))]
        raise DatasetError(
            f"with the video's first picture, silhouettes and colours go together as if view 0 stood at azimuth {at}°",
            where=str(where),
            fix="number the views from the video's side on; or take them as they are, by --trust-views",
        )
