"""Runs of one capture side by side, lifted in different ways: relevancy images against true masks, and their scores.

legs4d lift closed; legs4d lift trained --method trained        # two copies of one reconstructed run
scripts/bench/language/show_lifts.py closed trained --grounding DIR --out PAGES
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.effects.highlight import LUMA
from legs4d.effects.pages.contact_sheet import contact_sheet
from legs4d.gaussians.store.run import Run
from legs4d.grounding import Grounding, query
from legs4d.grounding.benchmark import camera_of, evaluate, truths_of
from legs4d.grounding.masks import Views, render_views
from legs4d.grounding.metrics import mask_iou
from legs4d.grounding.truth import Truth

CAMERAS, FRAMES = 2, 3
"""Of a page: the truth's first cameras, and frames spread over what is true."""

DIM = 0.4
"""Brightness of the picture under its relevancy."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare runs of one capture that were lifted in different ways.")
    parser.add_argument("runs", type=Path, nargs="+", help="run folders; their names head the columns")
    parser.add_argument("--grounding", type=Path, required=True, help="folder of true masks")
    parser.add_argument("--out", type=Path, required=True, help="folder for scores.json and lifts_<n>.png")
    parser.add_argument("--engine", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    runs = {folder.name: Run.open(folder) for folder in options.runs}
    if len(runs) != len(options.runs):
        parser.error("run folders need names of their own, as these head the columns")
    device = torch.device(options.engine)
    scores = {name: evaluate(run, options.grounding, device=device) for name, run in runs.items()}
    _print(scores)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "scores.json").write_text(json.dumps(scores, indent=1))
    for number, path in enumerate(write_pages(runs, options.grounding, options.out, device)):
        print(f"page {number}: {path}")


def write_pages(runs: dict[str, Run], truth: Path, out: Path, device: torch.device) -> list[Path]:
    """One page a prompt: a row per camera and frame, the truth and each run's relevancy with the IoU of its mask."""
    truths = truths_of(next(iter(runs.values())), truth)
    pages = []
    for number, prompt in enumerate(dict.fromkeys(t.prompt for t in truths)):
        found = {name: query(run, [prompt])[0] for name, run in runs.items()}
        rows = {}
        for true in [t for t in truths if t.prompt == prompt][:CAMERAS]:
            held = sorted(true.masks)
            for frame in dict.fromkeys(held[int(i)] for i in np.linspace(0, len(held) - 1, FRAMES).round()):
                rows[f"cam {true.camera}\nframe {frame}"] = _row(runs, found, true, frame, device)
        pages.append(out / f"lifts_{number}.png")
        contact_sheet(
            pages[-1], rows, ["true", *runs], title=f"relevancy of {prompt!r}; outline: the mask, bar: its IoU"
        )
    return pages


def _row(
    runs: dict[str, Run], found: dict[str, Grounding], true: Truth, frame: int, device: torch.device
) -> list[NDArray[np.floating]]:
    pictures: list[NDArray[np.floating]] = []
    for name, run in runs.items():
        camera = camera_of(run, true, frame)
        assert camera is not None  # it has a true mask then
        views = render_views(run, found[name], frame, camera, near=run.info["near"], device=device)
        if not pictures:
            pictures.append(_outlined(np.clip(views.color[0], 0, 1), true.masks[frame]))
        iou = mask_iou(views.mask[0], true.masks[frame])
        pictures.append(_bar(_outlined(heat(views), views.mask[0]), iou))
    return pictures


def heat(views: Views) -> NDArray[np.float32]:
    """The first view [H, W, 3] in dim grey, its relevancy from red through yellow to white over it."""
    grey = DIM * np.repeat((np.clip(views.color[0], 0, 1) @ LUMA)[..., None], 3, axis=-1)
    glow = np.clip(3 * views.relevancy[0][..., None] - np.arange(3), 0, 1)
    return np.asarray(grey + views.relevancy[0][..., None] * (glow - grey), np.float32)


def _outlined(picture: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The picture with the mask's border in green."""
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    out = picture.copy()
    out[mask & ~inside] = (0.2, 0.9, 0.3)
    return out


def _bar(picture: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """The picture with a bar along its lower border, as long as `share` of it: the mask's IoU."""
    out = picture.copy()
    height, width, _ = out.shape
    out[-max(height // 40, 2) :, : round(share * width)] = (0.2, 0.9, 0.3)
    return out


def _print(scores: dict[str, dict]) -> None:
    print(f"{'run':24} {'prompt':40} {'tIoU':>6} {'vIoU':>6} {'@0.5':>6}")
    for name, result in scores.items():
        for prompt, mean in [*result["per_prompt"].items(), ("mean", result["mean"])]:
            values = " ".join(f"{mean[key]:6.2f}" for key in ("tiou", "viou", "viou@0.5"))
            print(f"{name:24} {prompt:40} {values}")


if __name__ == "__main__":
    main()
