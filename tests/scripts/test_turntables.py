"""The page of turntables frames the sides that are a guess."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from bench.generate.turntables import DEGREES, GUESS, around
from PIL import Image

from legs4d.commands import Object
from legs4d.context import Context
from legs4d.gaussians.store.run import Run
from legs4d.generate.work import object_run


def test_the_back_of_a_relief_is_a_guess_and_its_front_is_none(tmp_path: Path) -> None:
    picture = np.full((48, 48, 3), 255, np.uint8)
    picture[10:38, 14:34] = (200, 60, 30)
    Image.fromarray(picture).save(tmp_path / "one.png")
    asked = Object(source=str(tmp_path / "one.png"), out=str(tmp_path / "run"), prior="inflate")
    object_run(asked, Context("cpu"))
    sides = around(Run.open(tmp_path / "run"), 0, DEGREES, torch.device("cpu"))
    framed = {degrees for degrees, side in zip(DEGREES, sides, strict=True) if np.allclose(side[0, 0], GUESS)}
    assert {135, 180, 225} <= framed and not framed & {0, 45, 315}
