"""The page of `legs4d view` in a headless Chromium (Debian: apt install chromium), by mouse and keyboard.

LEGS4D_SCREENSHOTS=FOLDER keeps its pictures for a person to look at.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page as Tab
from playwright.sync_api import sync_playwright

from backend.viewer.page import Page
from legs4d.gaussians.selections import read_selection, selection_names
from legs4d.gaussians.store.run import Run
from legs4d.segment.masks.frame_masks import masks_of_pictures
from legs4d.segment.stage import segment_run
from tests.segment.table import BALL, cameras, ids, overlapping, things, write_table
from tests.segment.test_segments import _NoNames
from tests.synthetic import Scene, write_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCENE = Scene(num_frames=9, width=48, height=32, num_train=4, num_test=1)
FLYING = "the ball is flying through the air"
SOFTWARE = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
PANEL = 340
"""Pixels at the right that the controls cover."""
NOTICE = 200
"""Rows at the top that it covers."""
SECONDS = 60

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; Debian: apt install chromium")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    shown = Page(write_run(tmp_path / "thrown", SCENE))
    yield shown
    shown.close()


@pytest.fixture
def tab(page: Page) -> Iterator[Tab]:
    with in_browser(page) as tab:
        yield tab


@contextlib.contextmanager
def in_browser(page: Page, width: int = 760) -> Iterator[Tab]:
    """The page as somebody sees it, in a window so many pixels wide."""
    with sync_playwright() as playwright:
        # Root has no sandbox; the page is our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*SOFTWARE, "--no-sandbox"])
        opened = browser.new_page(viewport={"width": width, "height": 480})
        opened.set_default_timeout(SECONDS * 1000)
        opened.goto(page.address)
        yield opened
        browser.close()


def picture(tab: Tab, name: str) -> NDArray[np.float64]:
    """[H, W, 3] in 0..1, what is left of the controls."""
    window = tab.viewport_size
    assert window is not None
    png = tab.screenshot(clip={"x": 0, "y": 0, "width": window["width"] - PANEL, "height": window["height"]})
    if folder := os.environ.get("LEGS4D_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        tab.screenshot(path=f"{folder}/view_{name}.png")
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.float64) / 255


def wait_for_picture(tab: Tab, name: str, wanted: object) -> NDArray[np.float64]:
    """The first picture of which `wanted` is true."""
    assert callable(wanted)
    deadline = time.monotonic() + SECONDS
    while not wanted(found := picture(tab, name)):
        assert time.monotonic() < deadline, f"{name}: the picture never became what it should be"
        time.sleep(0.3)
    return found


def saturation(image: NDArray[np.float64]) -> NDArray[np.float64]:
    return image.max(axis=-1) - image.min(axis=-1)


def test_a_person_asks_scrubs_and_plays(page: Page, tab: Tab) -> None:
    tab.get_by_text("What happens?").wait_for()
    plain = wait_for_picture(tab, "plain", lambda image: saturation(image).mean() > 0.1)

    # The world is the right way up: below the middle there is floor, which the sky's colours are not.
    top, bottom = plain[:60].mean(axis=(0, 1)), plain[-60:].mean(axis=(0, 1))
    assert bottom[0] > bottom[2] and not np.allclose(top, bottom, atol=0.05)

    tab.locator("form input").fill(FLYING)
    tab.keyboard.press("Enter")
    tab.get_by_text("frames 3 to 5").wait_for()
    tab.get_by_text("holds").wait_for()
    lit = wait_for_picture(tab, "lit", lambda image: np.median(saturation(image)) < 0.1)
    orange = (lit[..., 0] > 0.6) & (lit[..., 0] - lit[..., 2] > 0.25)
    assert 50 < orange.sum() < 0.2 * orange.size  # the ball, and nothing but the ball

    # Scrubbing: the frame number beside the slider is typed over.
    tab.locator("input[type=text][value='3'], input[type=text][value='4'], input[type=text][value='5']").first.fill("8")
    tab.keyboard.press("Enter")
    tab.get_by_text("frame 8 ·").wait_for()
    assert page.frame == 8

    tab.get_by_role("button", name="Clear").click()
    tab.get_by_role("button", name="Play").click()
    tab.get_by_role("button", name="Pause").wait_for()
    frames: set[int] = set()
    deadline = time.monotonic() + SECONDS
    while len(frames) < 3 and time.monotonic() < deadline:
        frames.add(page.frame)
        time.sleep(0.02)
    tab.get_by_role("button", name="Pause").click()
    tab.get_by_role("button", name="Play").wait_for()
    assert len(frames) >= 3
    wait_for_picture(tab, "cleared", lambda image: saturation(image).mean() > 0.1)


def test_a_person_clicks_on_a_thing_sees_it_alone_and_keeps_it(tmp_path: Path) -> None:
    run = write_table(tmp_path / "table")
    segment_run(run, _NoNames(masks_of_pictures(0, cameras(), overlapping(ids(cameras()), np.random.default_rng(5)))))
    page = Page(Run.open(run.path))
    try:
        with in_browser(page, 1100) as tab:  # wide enough for the ball, at the right, to lie beside the controls
            tab.get_by_text("What happens?").wait_for()
            # The ball is blue, and nothing else is; the camera looks at the middle of the table.
            seen = wait_for_picture(tab, "table", lambda image: blue(image).sum() > 200)
            rows, columns = np.nonzero(blue(seen))
            tab.mouse.click(float(np.median(columns)), float(np.median(rows)))
            tab.get_by_text("Gaussians, segment").wait_for()
            tab.get_by_text("Alone").click()
            assert red(seen).sum() > 200  # the block beside it, which goes
            wait_for_picture(tab, "alone", lambda image: blue(image).sum() > 200 and not red(image).any())
            name = tab.locator("input[value='selection']")
            name.fill("blue ball")
            tab.get_by_role("button", name="Save").click()
            tab.get_by_text("kept as").wait_for()
        assert selection_names(run) == ["blue ball"]
        kept = np.asarray(read_selection(run, "blue ball").weights) >= 0.5
        assert (things()[1][kept] == BALL).mean() > 0.9
    finally:
        page.close()


def blue(image: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((image[..., 2] > 0.5) & (image[..., 2] - image[..., 0] > 0.3))


def red(image: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Below viser's notice on software rendering, which has a red edge."""
    below = image[NOTICE:]
    return np.asarray((below[..., 0] > 0.5) & (below[..., 1] < 0.35))
