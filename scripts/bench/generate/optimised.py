"""What benches of 4DGen's optimisation share: the optimisation of given pictures, and what is told of its results."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench import figures
from legs4d.context import Context
from legs4d.generate.fitting import pictures_of
from legs4d.generate.lenses import Lens
from legs4d.generate.optimise.road import How, Optimise
from legs4d.generate.sizes import Sizes
from legs4d.priors.cache import best_prior
from legs4d.priors.perceptual.lpips import open_lpips
from legs4d.progress import Progress, StageReporter
from legs4d.scene.camera import Cameras

AIMS = {
    ("expressive", "optimise"): "≥ 24 dB",
    ("robot", "optimise"): "≥ 24 dB",
    ("orbit", "optimise"): "above each moment fitted, hull, inflate",
}


@dataclass(frozen=True)
class By:
    """With what: the device, sizes of the command's work, the pixels of what is given where that is not told by the
    command, and roads that are not taken."""

    device: torch.device
    sizes: Sizes
    pixels: int
    without: tuple[str, ...] = ()

    @property
    def how(self) -> How:
        """The optimisation's numbers."""
        return self.sizes.optimise

    def context(self) -> Context:
        """For the command: it prints when each of its stages begins, so that what is cut short tells where it was."""
        seen: list[str] = []

        def tell(progress: Progress) -> None:
            if progress.stage not in seen:
                seen.append(progress.stage)
                print(f"    {self.clock() - began:6.1f} s  {progress.stage}, {progress.total}", flush=True)

        began = self.clock()
        return Context(self.device.type, progress=tell)

    def clock(self) -> float:
        """Seconds; on a CPU those that it works, as others use it too."""
        return time.perf_counter() if self.device.type == "cuda" else time.process_time()


def line(name: str, row: dict[str, Any]) -> None:
    """Print one row, as soon as it is there."""
    print(f"  {name:42}{row['psnr']:6.2f} dB  IoU {row['iou']:.3f}  {row['seconds']:6.0f} s", flush=True)


def told(out: Path, case: str, rows: dict[str, dict[str, Any]], by: By) -> None:
    size = f"{by.pixels} pixels, {by.how.steps} steps"
    kept = {name: {key: row[key] for key in ("psnr", "iou", "seconds")} for name, row in rows.items()}
    (out / f"{case}.json").write_text(json.dumps(kept))
    print(case)
    for name, row in kept.items():
        line(name, row)
    for name, r in kept.items():
        measured = f"{r['psnr']:.2f} dB, IoU {r['iou']:.3f}, {r['seconds']:.0f} s"
        figures.record("Objects", f"{case}: {name}, {size}", measured, aim=AIMS.get((case, name), ""))


def optimised(
    pictures: NDArray[np.uint8],
    cameras: Cameras,
    frames: NDArray[np.int64],
    is_reference: NDArray[np.bool_],
    lens: Lens,
    how: How,
    device: torch.device,
) -> Optimise:
    """4DGen's optimisation of pictures [F, S, S, 4] (colours times alpha), to its end; without guidance."""
    of = pictures_of(pictures, cameras, frames, int(frames.max()) + 1, device)
    seeing = best_prior("perceptual")
    lpips = None if seeing is None else open_lpips(seeing.name.removeprefix("lpips-"), device)
    fit = Optimise(of, is_reference, lens.stage, lens, how, lpips, None, StageReporter("optimising"))
    while fit.done < fit.total:
        fit.advance()
    return fit
