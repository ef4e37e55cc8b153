"""Renderings of a generated run beside what cameras saw that it was not made from."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.generate.lenses import FOURDGEN, PSEUDO_AZIMUTHS, PSEUDO_ELEVATION, Lens
from legs4d.raster.rasterise import render
from legs4d.scene.camera import Cameras

SIZE = 256
"""Pixels of the pictures that are compared."""


@dataclass(frozen=True)
class Truth:
    """Pictures [C, S, S, 4] (0..1, colours times alpha) of cameras, each of a frame."""

    pictures: NDArray[np.float32]
    cameras: Cameras
    frames: list[int]


def read(path: Path) -> NDArray[np.float32]:
    """[S, S, 4] in 0..1, colours times alpha."""
    with Image.open(path) as image:
        found = np.asarray(image.convert("RGBA"), np.float32) / np.float32(255)
    found = found.copy()
    found[..., :3] *= found[..., 3:]
    return found


def novel(films: Path, clip: str) -> Truth:
    """A clip's novel views, at all times."""
    folder = films / f"{clip}_novel"
    told = json.loads((folder / "cameras.json").read_text())["views"]
    cameras = FOURDGEN.cameras([v["elevation"] for v in told], [v["azimuth"] for v in told], SIZE)
    pictures = np.stack([read(folder / f"{number:02d}.png") for number in range(len(told))])
    return Truth(pictures, cameras, [v["frame"] for v in told])


def sides(films: Path, clip: str, without: tuple[int, ...] = ()) -> Truth:
    """The sixteen views of the first moment, without those that were given."""
    which = [number for number in range(len(PSEUDO_AZIMUTHS)) if number not in without]
    azimuths = [PSEUDO_AZIMUTHS[number] for number in which]
    cameras = FOURDGEN.cameras(np.full(len(which), PSEUDO_ELEVATION), azimuths, SIZE)
    pictures = np.stack([read(films / f"{clip}_sync" / f"0_0_{number}_rgba.png") for number in which])
    return Truth(pictures, cameras, [0] * len(which))


def aligned(truth: Truth, crop: tuple[float, float, float], source: int, lens: Lens = FOURDGEN) -> Truth:
    """With cameras in the axes of a run whose source was cut to a square, and taken to be 4DGen's lens's: what lies in
    its middle is the origin, and there both show the same size.

    Args:
        crop: (left, top, side) of the square; source: pixels of a side of the whole.
        lens: of the source, in truth.
    """
    left, top, side = crop
    scale, pixel = FOURDGEN.reach * source / (lens.reach * side), 2 * lens.reach / source
    middle = np.array([left + side / 2 - source / 2, source / 2 - top - side / 2, 0]) * pixel
    poses = truth.cameras.world_to_camera.astype(np.float64)
    poses[:, :3, 3] = scale * (poses[:, :3, 3] + poses[:, :3, :3] @ middle)
    return replace(truth, cameras=replace(truth.cameras, world_to_camera=poses.astype(np.float32)))


def judge(
    run: Run | Gaussians, truth: Truth, near: float, device: torch.device, background: float = 1.0
) -> dict[str, Any]:
    """{psnr, iou} means over the pictures on a grey background (1: white), and the renderings [C, S, S, 3]."""
    psnr, overlap, shown = [], [], []
    for number, frame in enumerate(truth.frames):
        gaussians = run if isinstance(run, Gaussians) else run.frame(min(frame, run.num_frames - 1))
        behind = torch.full((3,), background, device=device)
        drawn = render(gaussians.torch(device), truth.cameras.take([number]), background=behind, near=near)
        color, alpha = drawn.color[0].clamp(0, 1).cpu().numpy(), drawn.alpha[0].cpu().numpy()
        seen = truth.pictures[number]
        apart = color - seen[..., :3] - background * (1 - seen[..., 3:])
        psnr.append(-10 * np.log10(max(float(np.square(apart).mean()), 1e-10)))
        one, other = alpha > 0.5, seen[..., 3] > 0.5
        overlap.append(float((one & other).sum() / max((one | other).sum(), 1)))
        shown.append(color)
    return {"psnr": float(np.mean(psnr)), "iou": float(np.mean(overlap)), "shown": np.stack(shown)}


def page(rows: list[NDArray[np.float32]], path: Path) -> None:
    """Rows of pictures, as one."""
    picture = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    Image.fromarray((picture.clip(0, 1) * 255).round().astype(np.uint8)).save(path)
