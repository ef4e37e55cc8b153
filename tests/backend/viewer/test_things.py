"""Things on the browser's page: a click along a ray selects a segment, at any scale, alone, and is kept in the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.viewer.page import Page
from legs4d.gaussians.selections import read_selection, selection_names
from legs4d.gaussians.store.run import Run
from legs4d.segment.masks.sources import MaskSource
from legs4d.segment.stage import segment_run
from tests.segment.table import BALL, CENTER, LOWER, UPPER, cameras, ids, overlapping, things, write_table
from tests.segment.test_segments import _NoNames

GAUSSIANS, OWNER = things()
EYE = np.array([0.3, -1.6, -2.6])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    from legs4d.segment.masks.frame_masks import masks_of_pictures

    run = write_table(tmp_path_factory.mktemp("things") / "run")
    views = cameras()
    source: MaskSource = _NoNames(masks_of_pictures(0, views, overlapping(ids(views), np.random.default_rng(5))))
    segment_run(run, source)
    page = Page(Run.open(run.path))
    yield page
    page.close()


def shown_alone(page: Page) -> NDArray[np.bool_]:
    page.things.show_alone(True)
    found = page.shown.static_opacities(0)[:, 0] > 0
    page.things.show_alone(False)
    return np.asarray(found)


def test_a_click_selects_what_is_in_front_at_any_scale(page: Page) -> None:
    page.things.point(EYE, CENTER - EYE)
    assert "Gaussians, segment" in page.things.said.content
    alone = shown_alone(page)
    assert (OWNER[alone] == BALL).mean() > 0.9 and alone[OWNER == BALL].mean() > 0.6
    colors = page.shown.static_rgbs(0)
    dimmed = colors[~alone] - np.clip(GAUSSIANS.rgb, 0, 1)[~alone]
    assert np.abs(dimmed).mean() > 0.1

    page.things.rescale(0.0)
    block = np.array([-0.5, -0.8, -0.25])
    page.things.point(EYE, block - EYE)
    small = shown_alone(page)
    page.things.rescale(1.0)
    # what no picture shows, between the blocks, may go with either
    assert (OWNER[small] == UPPER).mean() > 0.8 and np.isin(OWNER[shown_alone(page)], (UPPER, LOWER)).mean() > 0.9
    assert shown_alone(page).sum() > 1.5 * small.sum()


def test_clicks_add_and_take_away_and_are_kept(page: Page) -> None:
    page.things.rescale(0.0)
    block = np.array([-0.5, -0.8, -0.25])
    page.things.point(EYE, CENTER - EYE)
    page.things.point(EYE, block - EYE, mode="add")
    both = shown_alone(page)
    assert set(np.unique(OWNER[both])) >= {BALL, UPPER}
    page.things.point(EYE, CENTER - EYE, mode="subtract")
    page.things.save("the block")
    run = Run.open(page.shown.run.path)
    kept = read_selection(run, "the block")
    assert np.array_equal(kept.weights >= 0.5, shown_alone(page)) and not (OWNER[kept.weights >= 0.5] == BALL).any()
    assert "kept as “the block”" in page.things.said.content and selection_names(run) == ["the block"]
    assert [step["mode"] for step in kept.made["steps"][0]["page"]] == ["new", "add", "subtract"]


def test_what_is_wrong_is_said_beside_it(page: Page) -> None:
    page.things.point(EYE, CENTER - EYE)
    before = shown_alone(page)
    for direction, mode, says in (
        (np.array([0.0, -1.0, 0.0]), "new", "there is nothing at this pixel"),
        (CENTER - EYE, "subtract", "nothing would be left"),
    ):
        page.things.point(EYE, direction, mode=mode)  # type: ignore[arg-type]
        assert says in page.things.said.content
        assert np.array_equal(shown_alone(page), before)


def test_a_run_without_segments_says_what_makes_them(tmp_path: Path) -> None:
    page = Page(write_table(tmp_path / "run"))
    page.close()
