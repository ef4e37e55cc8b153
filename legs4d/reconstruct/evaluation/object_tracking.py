"""How well a run follows one object: where its Gaussians are in the pictures, and whether they stay on it.

Which Gaussians belong to the object is decided once, in frame 0, from the object masks of the training cameras; what
these same Gaussians do afterwards is what is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.raster import render
from legs4d.raster.lift import lift_few
from legs4d.reconstruct.objects.centers import is_whole, mask_center, triangulated
from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import Sequence

BELONGS = 0.5
"""A Gaussian belongs to the object when this share of the pixels that it fills in frame 0 show the object."""

STAYS = 0.9
"""A Gaussian stayed when it is on the object in this share of the frames in which it is seen; masks err at times."""

FAINTEST = 0.05
"""Of a pixel, summed over all views: a Gaussian that fills less is hidden."""


@dataclass(frozen=True)
class _Frame:
    """What one frame says, each over the cameras that see the whole object: see `evaluate_tracking`."""

    projected: dict[int, float]
    carried: dict[int, float]
    rendered: dict[int, float]
    overlap: dict[int, float]


def evaluate_tracking(
    run: Run,
    sequence: Sequence,
    object_id: int,
    device: torch.device,
    context: Context = QUIET,
) -> dict[str, Any]:
    """Compare the Gaussians that are the object in frame 0 with its masks in all frames, in the training views.

    A view counts in a frame when its mask of the object is whole: at least `mask_centers.SMALLEST_MASK` pixels, none of
    them at the picture's border. Distances are in pixels of the run's pictures, from the centre of the mask's pixels to

    - px: the projection of the Gaussians' mean position, each weighted by the pixels that it fills in frame 0. What is
      hidden in that frame (by hands, by the floor) has no part in it, so that it may lie beside the object's middle;
    - carried_px: the projection of the object's middle, triangulated from the masks of frame 0 and carried on by the
      rigid motion that fits the Gaussians' own best;
    - rendered_px: the centre of what is seen of the Gaussians, behind whatever hides them; the picture's diagonal
      where nothing is.

    Args:
        object_id: as in the dataset's objects/, above 0.

    Returns:
        {object, gaussians, median_px, median_carried_px, median_rendered_px, iou, on_object, stayed,
        per_camera: {id: median px}, per_frame: [{frame, px, carried_px, rendered_px, iou, on_object}]}, where `iou` is
        that of what is seen of the Gaussians and the mask, `on_object` the share of their pixels that show the object,
        and `stayed` the share of the Gaussians that are on it in nine of ten frames in which they are seen. Values of
        a frame are medians over views, null where none counts; `median_px` is over all views and frames.

    Raises:
        DatasetError: there are no object masks, or none shows this object in frame 0.
        RunError: a frame is missing.
        Stopped: the stop signal is set.
    """
    reporter = context.reporter("track")
    found: list[_Frame] = []
    on_object: list[float] = []
    members, weights = _members(run, sequence, object_id)
    start = run.frame(0).means[members]
    middle = triangulated(_object_masks(sequence, 0, object_id), sequence.cameras("train", 0))
    seen, stayed = np.zeros(len(members), np.int64), np.zeros(len(members), np.int64)
    for frame in range(run.num_frames):
        gaussians, cameras = run.frame(frame), sequence.cameras("train", frame)
        masks = _object_masks(sequence, frame, object_id)
        on, filled = _lifted(gaussians, cameras, masks, run.info["near"])
        visible = filled[members] > FAINTEST
        seen += visible
        stayed += visible & (on[members] >= BELONGS * filled[members])
        total = float(filled[members].sum())
        on_object.append(float(on[members].sum()) / total if total > 0 else 0.0)
        means = gaussians.means[members]
        center = np.average(means, axis=0, weights=weights)
        carried = center if middle is None else _carry(middle, start, means, weights)
        matte = _matte(gaussians, members, cameras, run.info["near"], device)
        found.append(_compare(center, carried, matte, masks, cameras))
        reporter.step(frame + 1, run.num_frames)
    return {
        "object": object_id,
        "gaussians": len(members),
        **_summary(found),
        "on_object": float(np.mean(on_object)),
        "stayed": float((stayed >= STAYS * seen).mean()),
        "per_camera": _per_camera(found),
        "per_frame": [
            {
                "frame": frame,
                "px": _median(f.projected.values()),
                "carried_px": _median(f.carried.values()),
                "rendered_px": _median(f.rendered.values()),
                "iou": _median(f.overlap.values()),
                "on_object": on_object[frame],
            }
            for frame, f in enumerate(found)
        ],
    }


def _members(run: Run, sequence: Sequence, object_id: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Indices of the object's Gaussians, and the pixels of the object that each fills in frame 0."""
    masks = _object_masks(sequence, 0, object_id)
    if not masks.any():
        raise DatasetError(
            f"object {object_id} is in no mask of frame 0",
            where=str(sequence.root / "objects"),
            fix="name an object that is seen from the first frame on",
        )
    on, filled = _lifted(run.frame(0), sequence.cameras("train", 0), masks, run.info["near"])
    members = np.flatnonzero((filled > FAINTEST) & (on >= BELONGS * filled))
    if not len(members):
        raise DatasetError(
            f"no Gaussian shows object {object_id} in frame 0",
            where=str(run.path),
            fix="check that the object masks belong to this footage, or train longer",
        )
    return members, on[members]


def _object_masks(sequence: Sequence, frame: int, object_id: int) -> NDArray[np.bool_]:
    objects = sequence.objects("train", frame)
    if objects is None:
        raise DatasetError(
            "has no object masks to follow an object by",
            where=str(sequence.root),
            fix="add objects/<camera>/<frame>.png",
        )
    return objects == object_id


def _lifted(
    gaussians: Gaussians, cameras: Cameras, masks: NDArray[np.bool_], near: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixels over all views that each Gaussian fills on the object [N], and altogether [N]."""
    index = masks[..., None].astype(np.int32)
    sums, filled = lift_few(gaussians, cameras, index, np.ones(index.shape, np.float32), 2, near)
    return sums[:, 1], filled


def _matte(
    gaussians: Gaussians, members: NDArray[np.int64], cameras: Cameras, near: float, device: torch.device
) -> NDArray[np.float32]:
    """[C, H, W] share of each pixel that the members fill, behind what is before them."""
    feature = torch.zeros((len(gaussians), 1), device=device)
    feature[torch.as_tensor(members, device=device)] = 1
    with torch.no_grad():
        rendered = render(gaussians.torch(device), cameras, feature, near=near)
    assert rendered.features is not None
    return rendered.features[..., 0].cpu().numpy()


def _compare(
    center: NDArray[np.floating],
    carried: NDArray[np.floating],
    matte: NDArray[np.float32],
    masks: NDArray[np.bool_],
    cameras: Cameras,
) -> _Frame:
    frame = _Frame({}, {}, {}, {})
    for i, camera in enumerate(cameras.ids):
        if not is_whole(masks[i]):
            continue
        truth = mask_center(masks[i].astype(np.float32))
        frame.projected[camera] = _distance(cameras, i, center, truth)
        frame.carried[camera] = _distance(cameras, i, carried, truth)
        shown = matte[i] >= 0.5
        nothing = float(np.hypot(cameras.width, cameras.height))
        frame.rendered[camera] = float(np.hypot(*(mask_center(matte[i]) - truth))) if shown.any() else nothing
        frame.overlap[camera] = float((shown & masks[i]).sum() / (shown | masks[i]).sum())
    return frame


def _distance(cameras: Cameras, index: int, point: NDArray[np.floating], truth: NDArray[np.float64]) -> float:
    """Pixels from the projection of a point [3] to `truth` [2]; the picture's diagonal for one behind the camera."""
    in_camera = cameras.world_to_camera[index, :3, :3] @ point + cameras.world_to_camera[index, :3, 3]
    if in_camera[2] <= 0:
        return float(np.hypot(cameras.width, cameras.height))
    return float(np.hypot(*((cameras.intrinsics[index] @ in_camera)[:2] / in_camera[2] - truth)))


def _carry(
    point: NDArray[np.float64],
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    weights: NDArray[np.float32],
) -> NDArray[np.float64]:
    """`point` under the rigid motion that takes `before` [K, 3] nearest to `after` (Kabsch 1976)."""
    origin, target = (np.average(points, axis=0, weights=weights) for points in (before, after))
    u, _, vt = np.linalg.svd(((before - origin) * weights[:, None]).T @ (after - target))
    turn = vt.T @ np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    return turn @ (point - origin) + target


def _summary(found: list[_Frame]) -> dict[str, float | None]:
    names = {
        "median_px": "projected",
        "median_carried_px": "carried",
        "median_rendered_px": "rendered",
        "iou": "overlap",
    }
    return {name: _median([v for f in found for v in getattr(f, kind).values()]) for name, kind in names.items()}


def _per_camera(found: list[_Frame]) -> dict[str, float | None]:
    cameras = sorted({camera for f in found for camera in f.projected})
    return {str(c): _median([f.projected[c] for f in found if c in f.projected]) for c in cameras}


def _median(values: Any) -> float | None:
    listed = list(values)
    return float(np.median(listed)) if listed else None
