"""Runs side by side: a page for each prompt, a column for each run."""

from pathlib import Path

import numpy as np
import torch
from bench.language.show_lifts import write_pages
from PIL import Image

from tests.synthetic import Scene, write_grounding, write_run


def test_a_page_has_a_column_for_each_run(tmp_path: Path) -> None:
    scene = Scene(num_frames=6, width=48, height=32, num_train=4, num_test=1)
    run = write_run(tmp_path / "run", scene)
    truth = write_grounding(tmp_path / "truth", scene)
    widths = []
    for runs in ({"one": run}, {"one": run, "two": run}):
        (page,) = write_pages(runs, truth, tmp_path / "pages", torch.device("cpu"))
        picture = np.asarray(Image.open(page)).astype(int)
        widths.append(picture.shape[1])
        green = (picture[..., 1] > 200) & (picture[..., 0] < 90)
        assert len({x // 52 for x in np.flatnonzero(green.any(axis=0)) - 130}) == 1 + len(runs)  # 48 pixels and a gap
    assert widths[1] == widths[0] + 52
