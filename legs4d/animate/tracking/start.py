"""Where the object may be in the next frame: on course, where it was, or where flow and PnP put it.

Flow is from the rendering to the frame, so that errors do not add up over a video. It begins the refinement and no
more: alone it is several times worse (docs/animate.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.animate.tracking.motions import Motion
from legs4d.animate.tracking.refine import blurred
from legs4d.animate.tracking.stage import Stage

FILLED = 0.9
"""Share of a pixel that the object fills, from which its depth is the object's."""
CLOSES = 1.0
"""Pixels (of 160) that flow forth and back may miss the start by."""
FITS = 1.0
"""Pixels (of 160) that a point may be off in the pose that PnP finds."""
LEAST_POINTS = 12
BLUR = 1.5
"""Pixels (of 160) by which pictures are blurred for the choice."""
APART = 0.1
"""Colour difference from which a pixel speaks no more strongly against a start."""


class Flow(Protocol):
    """As `priors.protocols.FlowPrior`."""

    def flow(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]: ...


def by_flow(stage: Stage, frame: torch.Tensor, motion: Motion, flow: Flow) -> Motion | None:
    """The motion that carries what is seen under `motion` to where flow finds it in a frame; None where it does not."""
    import cv2

    made, unit = stage.predict([motion]), stage.camera.width / 160
    picture, there = (x.detach().cpu().numpy().astype(np.float32) for x in (made.color[0].clamp(0, 1), frame))
    held = made.share[0].cpu().numpy() > FILLED
    rows, columns = np.nonzero(held)
    if len(rows) < LEAST_POINTS:
        return None
    forth, back = flow.flow(picture, there), flow.flow(there, picture)
    shift = forth[rows, columns]
    ends = np.stack([columns, rows], -1) + 0.5 + shift
    to = np.clip(np.floor(ends).astype(int), 0, np.array(held.shape[::-1]) - 1)
    closes = np.linalg.norm(shift + back[to[:, 1], to[:, 0]], axis=1) < CLOSES * unit
    if closes.sum() < LEAST_POINTS:
        return None
    lens = stage.camera.intrinsics[0].astype(np.float64)
    depth = made.depth[0].cpu().numpy()[rows, columns].astype(np.float64)
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], -1)
    seen = pixels @ np.linalg.inv(lens).T * depth[:, None]
    found, turn, moved, inside = cv2.solvePnPRansac(
        seen[closes],
        ends[closes].astype(np.float64),
        lens,
        None,
        iterationsCount=200,
        reprojectionError=FITS * unit,
        flags=cv2.SOLVEPNP_SQPNP,
    )
    if not found or inside is None or len(inside) < LEAST_POINTS:
        return None
    step = np.eye(4)
    step[:3, :3], step[:3, 3] = cv2.Rodrigues(turn)[0], moved.ravel()
    camera = stage.camera.world_to_camera[0].astype(np.float64)
    went = np.linalg.inv(camera) @ step @ camera @ motion
    return went if np.isfinite(went).all() else None


def best_of(stage: Stage, frame: torch.Tensor, motions: Sequence[Motion]) -> Motion:
    """Of several motions the one whose picture is most like the frame, around where any of them puts the object."""
    if len(motions) == 1:
        return motions[0]
    made, unit = stage.predict(motions), stage.camera.width / 160
    reach = max(2, round(3 * unit))
    around = torch.nn.functional.max_pool2d(made.share[:, None], 2 * reach + 1, stride=1, padding=reach)
    region = around.amax(dim=(0, 1)) > 0.05
    pictures = blurred(torch.cat([made.color, frame[None]]), BLUR * unit)
    apart = (pictures[:-1] - pictures[-1]).abs().mean(-1)[:, region] / APART
    costs = (apart**2 / (1 + apart**2)).sum(-1)
    # One that the object is not seen under explains nothing.
    costs = costs + (made.share.sum(dim=(1, 2)) < 1) * costs.amax()
    return motions[int(costs.argmin())]
