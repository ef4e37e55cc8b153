"""The plain program that one moving camera is timed against, on the same pictures: how much sooner are we there?"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from legs4d.scene.images import read_picture

MARK = 38.0
"""dB to which both are timed; what the prototype reaches at best, where that is less."""
SHORTEST = 400
"""Steps of the first schedule of ours that is tried; each further one has half as many again."""


@dataclass(frozen=True)
class Race:
    """dB that both reach, the seconds until then, and the steps of our schedule; ours is None if it never did."""

    mark: float
    prototype: float
    ours: float | None
    steps: int

    @property
    def ratio(self) -> float | None:
        return None if self.ours is None else self.prototype / self.ours


def race(
    program: Path, steps: int, place: Path, fit: Callable[[int], tuple[float, float]], longest: int
) -> tuple[Race, str]:
    """The race on one capture, and what the prototype printed.

    Args:
        program: `FILE nodes STEPS PACK.npz`; steps: of its schedule.
        fit: steps → (dB on white, seconds) of ours.
        longest: schedule of ours.
    """
    printed = run(program, steps, place)
    reached = [(float(s), float(db)) for s, db in re.findall(r"([\d.]+) s .*PSNR ([\d.]+)", printed)]
    mark = min(MARK, max(db for _, db in reached))
    theirs = next(seconds for seconds, db in reached if db >= mark)
    tried = SHORTEST
    while tried <= longest:
        db, seconds = fit(tried)
        if db >= mark:
            return Race(mark, theirs, seconds, tried), printed
        tried = tried * 3 // 2
    return Race(mark, theirs, None, tried), printed


def run(program: Path, steps: int, place: Path) -> str:
    """What the prototype prints of a capture."""
    pack: dict[str, Any] = {}
    for split in ("train", "test"):
        content = json.loads((place / f"transforms_{split}.json").read_text())
        pictures = [read_picture(place / f"{frame['file_path']}.png") for frame in content["frames"]]
        stacked = np.stack(pictures).astype(np.float32)
        stacked[..., :3] *= stacked[..., 3:] / 255
        pack[f"{split}_im"] = stacked.round().astype(np.uint8)
        pack[f"{split}_c2w"] = np.array([frame["transform_matrix"] for frame in content["frames"]])
        pack[f"{split}_t"] = np.array([frame["time"] for frame in content["frames"]])
        pack["fovx"] = content["camera_angle_x"]
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "pack.npz", **pack)
        command = [sys.executable, str(program), "nodes", str(steps), str(Path(folder) / "pack.npz")]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
