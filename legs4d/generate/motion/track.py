"""A first guess of an object's motion: frame after frame its rendering is compared with the picture by optical flow,
and its nodes are moved there, as rigidly as possible."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.deform.fields.posed import PosedNodes
from legs4d.deform.fit import Fit
from legs4d.generate.motion.rigid import Graph
from legs4d.priors.protocols import FlowPrior
from legs4d.progress import StageReporter
from legs4d.raster.rasterise import render
from legs4d.scene.camera import Cameras

LOOKS = 4
"""Times a frame is rendered, compared and followed."""
TRUST = 4.0
"""Of a node's place that flow tells, against a tie of weight 1."""
DEEP = 0.03
"""Of a node's depth at the first moment: no picture tells it, and what grows or shrinks would else lie down."""
PACE = np.array([0.7, 0.7, 0.0])
"""Share of the last step in each of the camera's axes by which a frame is expected to go on."""
OFF = 0.02
"""Of the picture's side: flow there and back may miss by it."""
BEHIND = 0.06
"""Of the object's radius: a node that lies farther behind what is drawn is hidden."""


def track(fit: Fit, flow: FlowPrior, front: NDArray[np.int64], reporter: StageReporter) -> None:
    """Put the nodes of a fit (`PosedNodes`) where the pictures of one camera that stands still have them.

    Args:
        front: [T] which of the fit's pictures shows each frame.
    """
    field = fit.deformation
    assert isinstance(field, PosedNodes)
    camera = fit.pictures.table.cameras.take([int(front[0])])
    pose = camera.world_to_camera[0].astype(np.float64)
    turn, shift = pose[:3, :3], pose[:3, 3]
    # All in the camera's axes, of which two are the picture's.
    rest = field.nodes.cpu().numpy().astype(np.float64) @ turn.T + shift
    graph = Graph.of(rest)
    now, turns = rest.copy(), np.tile([1.0, 0, 0, 0], (len(rest), 1))
    before = rest.copy()

    def put(frame: int) -> None:
        axis = turns[:, 1:] @ turn
        quats = np.concatenate([turns[:, :1], axis], axis=1)
        values = ((now - shift) @ turn, quats)
        field.put(frame, *(torch.as_tensor(v, dtype=torch.float32, device=field.device) for v in values))

    for frame, picture in enumerate(front):
        reporter.step(frame, len(front))
        # Where it would be if it went on as before.
        before, now = now, now + (PACE * (now - before) if frame > 1 else 0)
        for _ in range(LOOKS if frame else 1):
            put(frame)
            wanted, sure = _wanted(fit, flow, frame, int(picture), camera, now)
            wanted[:, 2] = rest[:, 2]
            trust = sure[:, None] * np.array([TRUST, TRUST, 0.0]) + np.array([0.0, 0.0, DEEP])
            now, turns = graph.moved(now, wanted, trust)
        put(frame)
    reporter.step(len(front), len(front))


def _wanted(
    fit: Fit, flow: FlowPrior, frame: int, picture: int, camera: Cameras, now: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[K, 3] where the picture has each node, and [K] whether that is so, in the camera's axes."""
    shown = fit.gaussians_at(frame / max(int(fit.pictures.frames.max()), 1))
    white = torch.ones(3, device=shown.means.device)
    with torch.no_grad():
        drawn = render(shown, camera, background=white, near=fit.near, depth=True)
    assert drawn.depth is not None
    color = drawn.color[0].clamp(0, 1).cpu().numpy().astype(np.float32)
    alpha = drawn.alpha[0].cpu().numpy()
    depth = (drawn.depth[0] / drawn.alpha[0].clamp(min=1e-3)).cpu().numpy()
    seen = fit.pictures.images[picture].cpu().numpy().astype(np.float32) / np.float32(255)
    truth = seen[..., :3] + 1 - seen[..., 3:]
    there, back = flow.flow(color, truth), flow.flow(truth, color)
    lens = camera.intrinsics[0].astype(np.float64)
    pixel = (now @ lens.T)[:, :2] / now[:, 2:]
    size = len(alpha)
    column, row = np.clip(pixel.astype(int), 0, size - 1).T
    moved = there[row, column]
    to_column, to_row = np.clip((pixel + moved).astype(int), 0, size - 1).T
    closed = np.linalg.norm(moved + back[to_row, to_column], axis=1) < OFF * size
    visible = (alpha[row, column] > 0.5) & (now[:, 2] < depth[row, column] + BEHIND * fit.radius)
    sure = closed & visible & (seen[to_row, to_column, 3] > 0.5)
    aim = (pixel + moved - lens[:2, 2]) / np.diag(lens)[:2] * now[:, 2:]
    return np.concatenate([aim, now[:, 2:]], axis=1), sure.astype(np.float64)
