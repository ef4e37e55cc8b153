"""Pointing at things: what a click, a box, a place and a scale mean, what is kept of it, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray
from PIL import Image
from plyfile import PlyData

from legs4d import commands
from legs4d.errors import DatasetError, Legs4dError, RunError
from legs4d.gaussians.part import RunPart, part_of
from legs4d.gaussians.selections import delete_selection, read_selection, selection_names
from legs4d.gaussians.store.run import Run
from legs4d.grounding.selecting import select_in
from legs4d.segment.appearance import colored, components, similarity
from legs4d.segment.bitmaps import write_bitmap
from legs4d.segment.choose import segment_scores, stretched
from legs4d.segment.pick import under_pixel
from legs4d.segment.segments import read_segments
from legs4d.segment.selecting import Pointed, select, undo
from legs4d.segment.stage import find_masks, segment_run
from legs4d.segment.views import view_of
from legs4d.segment.work import write_bitmaps
from tests.backend.conftest import legs4d
from tests.segment.table import BALL, FLOOR, LOWER, NEAR, UPPER, cameras, ids, overlapping, things, write_table

GAUSSIANS, OWNER = things()
VIEW = cameras(2, 8, 0.35).take([0])
SEEN = ids(VIEW)[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("selecting")
    rng = np.random.default_rng(5)
    for camera, masks in enumerate(overlapping(ids(cameras()), rng)):
        (folder / "sam_masks" / str(camera)).mkdir(parents=True)
        torch.save(torch.from_numpy(masks), folder / "sam_masks" / str(camera) / "0.pt")
    run = write_table(folder / "run")
    segment_run(run, find_masks(run, str(folder)))
    return folder


@pytest.fixture
def run(made: Path) -> Run:
    """With segments, and without selections."""
    run = Run.open(made / "run")
    for name in selection_names(run):
        delete_selection(run, name)
    return run


def middle(thing: int) -> tuple[float, float]:
    """A pixel in the middle of what is seen of a thing."""
    rows, columns = np.nonzero(np.equal(SEEN, thing))
    at = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return float(columns[at]), float(rows[at])


def click(thing: int, **more: Any) -> Pointed:
    return Pointed(clicks=(middle(thing),), camera=8, **more)


def of(run: Run, name: str) -> NDArray[np.bool_]:
    return np.asarray(read_selection(run, name).weights) >= 0.5


def share_of(selected: NDArray[np.bool_], *of_things: int) -> float:
    visible = read_mass() > 1
    true = np.isin(OWNER, of_things) & visible
    return float((selected & true).sum() / ((selected & visible) | true).sum())


def read_mass() -> NDArray[np.float32]:
    assert _MASS
    return _MASS[0]


_MASS: list[NDArray[np.float32]] = []


@pytest.fixture(autouse=True)
def mass(made: Path) -> None:
    if not _MASS:
        _MASS.append(read_segments(Run.open(made / "run")).mass)


def test_a_pixel_is_what_is_in_front() -> None:
    for thing in (FLOOR, LOWER, UPPER, BALL):
        filled = under_pixel(GAUSSIANS, VIEW, middle(thing), NEAR)
        assert filled.sum() > 0.9 and filled[thing == OWNER].sum() > 0.8 * filled.sum()
    behind = GAUSSIANS.replace(opacities=np.where(OWNER == BALL, 0.0, GAUSSIANS.opacities).astype(np.float32))
    assert under_pixel(behind, VIEW, middle(BALL), NEAR)[OWNER == BALL].sum() == 0


def test_a_click_is_the_segment_there_and_the_scale_says_which(run: Run) -> None:
    small = select(run, "small", click(UPPER, scale=0.0))
    large = select(run, "large", click(UPPER, scale=1.0))
    assert share_of(of(run, "small"), UPPER) > 0.9 and share_of(of(run, "large"), UPPER, LOWER) > 0.9
    assert small["gaussians"] == of(run, "small").sum() < large["gaussians"]
    assert 0 <= small["scale"] < large["scale"] == 1 and small["scores"][0] > 0.8
    assert select(run, "ball", click(BALL, scale=0.3))["segments"] == select(run, "b", click(BALL))["segments"]


def test_several_clicks_are_together_and_steps_are_undone(run: Run) -> None:
    both = Pointed(clicks=(middle(UPPER), middle(BALL)), camera=8, scale=0.0)
    select(run, "things", both)
    assert share_of(of(run, "things"), UPPER, BALL) > 0.9
    first = of(run, "things")
    select(run, "things", click(LOWER, scale=0.0), "add")
    assert share_of(of(run, "things"), UPPER, BALL, LOWER) > 0.9
    select(run, "things", click(BALL, scale=0.0), "subtract")
    assert share_of(of(run, "things"), UPPER, LOWER) > 0.9
    made = read_selection(run, "things").made
    assert [step["mode"] for step in made["steps"]] == ["new", "add", "subtract"]
    assert made["steps"][1]["camera"] == 8 and made["steps"][1]["scale"] == 0.0
    undo(run, "things")
    assert undo(run, "things")["steps"] == 1 and np.array_equal(of(run, "things"), first)
    with pytest.raises(RunError, match="has no step to take back"):
        undo(run, "things")
    for idle in ({"scale": 0.3}, {"threshold": 0.3}, {"camera": 8}, {"frame": 1}):
        with pytest.raises(Legs4dError, match="--undo: takes the last step back"):
            select_in(run.path, commands.Segment.model_validate({"run": "r", "name": "things", "undo": True, **idle}))


def test_a_box_is_what_lies_in_it(run: Run) -> None:
    rows, columns = np.nonzero(np.isin(SEEN, (LOWER, UPPER)))
    around = (float(columns.min() - 3), float(rows.min() - 3), float(columns.max() + 4), float(rows.max() + 4))
    found = select(run, "boxed", Pointed(box=around, camera=8))
    assert len(found["segments"]) == 3 and share_of(of(run, "boxed"), UPPER, LOWER) > 0.9
    assert len(select(run, "boxed", Pointed(box=around, camera=8, scale=0.0))["segments"]) == 1
    with pytest.raises(Legs4dError, match="no segment lies in this box"):
        select(run, "boxed", Pointed(box=(around[0], around[1], around[0] + 9, around[1] + 9), camera=8))


def test_a_place_is_what_is_there(run: Run) -> None:
    select(run, "there", Pointed(point=(0.6, -0.75, 0.1)))
    assert share_of(of(run, "there"), BALL) > 0.9


def test_a_prompt_is_the_segments_that_answer_it(run: Run) -> None:
    relevancy = np.where(OWNER == BALL, 0.9, 0.1).astype(np.float32)
    found = select(run, "told", Pointed(prompt="a ball"), relevancy=lambda _: (relevancy, 0.5))
    assert share_of(of(run, "told"), BALL) > 0.9 and len(found["segments"]) == 1
    scores = segment_scores(read_segments(run), relevancy)
    assert scores.max() == pytest.approx(0.9, abs=0.05) and np.sort(scores)[-2] < 0.2
    with pytest.raises(Legs4dError, match=r"no segment answers 'a cow' \(the best has 0\.90 of the 0\.95"):
        select(run, "told", Pointed(prompt="a cow"), relevancy=lambda _: (relevancy, 0.95))


def test_what_hardly_belongs_to_a_segment_does_not_say_what_it_is(run: Run) -> None:
    edge = replace(
        read_segments(run),
        members=scipy.sparse.csc_array(np.array([[1], [0.3]], np.float32)),
        mass=np.array([1, 9], np.float32),
    )
    assert segment_scores(edge, np.array([0.9, 0], np.float32)) == pytest.approx([0.9])


def test_a_threshold_moves_what_belongs() -> None:
    share = np.array([0, 0.3, 0.7, 0.85, 1], np.float32)
    assert stretched(share, 0.7) == pytest.approx([0, 0.3 / 1.4, 0.5, 0.75, 1])
    assert stretched(share, 0.5) == pytest.approx(share)


@pytest.mark.parametrize(
    ("pointed", "says"),
    [
        (Pointed(clicks=((0.0, 0.0),), camera=8), "there is nothing at this pixel"),
        (Pointed(clicks=((500.0, 3.0),), camera=8), r"\(500, 3\) is not in the picture; its pixels are 0,0 to 159,119"),
        (Pointed(clicks=((3.0, 3.0),)), "no camera is given; say whose picture is meant: 0, 1"),
        (Pointed(clicks=((3.0, 3.0),), camera=77), "there is no camera 77 in frame 0"),
        (Pointed(clicks=((3.0, 3.0),), camera=8, frame=5), "has no frame 5: it has 1"),
        (Pointed(clicks=((80.0, 110.0),), camera=8), "what is there is in no segment"),
        (Pointed(box=(5.0, 5.0, 5.0, 9.0), camera=8), "holds no pixel of a picture of 160×120"),
        (Pointed(point=(50.0, 0.0, 0.0)), r"there is nothing at \(50, 0, 0\)"),
        (Pointed(), "nothing is pointed at; give one of --click"),
        (Pointed(point=(0.0, 0.0, 0.0), prompt="a"), "--point and --prompt are given"),
        (Pointed(segments=(9,)), "has no segment 9; it has segments 0 to 3"),
        (Pointed(segments=(0,), threshold=0.0), "0 is not between 0 and 1"),
        (Pointed(point=(0.0, 0.0, 0.0), scale=1.5), r"1\.5 is not in 0\.\.1"),
        (Pointed(point=(0.0, 0.0, 0.0), frame=5), "has no frame 5: it has 1"),
        (Pointed(segments=(0,), scale=0.5), "--scale: says nothing of --segment; leave it out"),
        (Pointed(segments=(0,), camera=1), "--camera: says nothing of --segment"),
    ],
)
def test_what_cannot_be_meant_is_told_and_nothing_is_lost(run: Run, pointed: Pointed, says: str) -> None:
    select(run, "kept", click(BALL))
    before = read_selection(run, "kept")
    with pytest.raises(Legs4dError, match=says):
        select(run, "kept", pointed)
    after = read_selection(run, "kept")
    assert np.array_equal(before.weights, after.weights) and before.made == after.made


def test_clicks_that_contradict_each_other_leave_the_selection_as_it_was(run: Run) -> None:
    select(run, "ball", click(BALL))
    before = of(run, "ball")
    with pytest.raises(Legs4dError, match="the selection 'ball': nothing would be left of it"):
        select(run, "ball", click(BALL), "subtract")
    assert np.array_equal(of(run, "ball"), before) and before.any()
    with pytest.raises(RunError, match="has no selection 'none'"):
        select(run, "none", click(BALL), "add")


def test_bitmaps_come_and_go(run: Run, tmp_path: Path) -> None:
    write_bitmap(tmp_path / "ball.pt", OWNER == BALL)
    assert np.array_equal(torch.load(tmp_path / "ball.pt", weights_only=True).numpy(), OWNER == BALL)
    select(run, "given", Pointed(bitmap=tmp_path / "ball.pt"))
    assert np.array_equal(of(run, "given"), OWNER == BALL)
    shares = torch.tensor([0.3, 0.7, 0.9]).repeat(len(OWNER))[: len(OWNER)]
    torch.save(shares, tmp_path / "shares.pt")
    select(run, "given", Pointed(bitmap=tmp_path / "shares.pt", threshold=0.8))
    assert np.array_equal(of(run, "given"), shares.numpy() >= 0.8)
    torch.save(torch.zeros(len(OWNER), dtype=torch.bool), tmp_path / "none.pt")
    torch.save(torch.ones(7), tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no tensor")
    write_bitmap(tmp_path / "labels.pt", np.arange(len(OWNER)) % 5 - 1)  # of `segments --bitmaps`: no selection
    torch.save(torch.from_numpy(255 * (OWNER == BALL).astype(np.uint8)), tmp_path / "bytes.pt")
    select(run, "given", Pointed(bitmap=tmp_path / "bytes.pt"))
    assert np.array_equal(of(run, "given"), OWNER == BALL)
    for name, says in (
        ("none.pt", "selects nothing"),
        ("other.pt", rf"a tensor of shape \(7,\); it must hold a value for each of the run's {len(OWNER)} Gaussians"),
        ("text.pt", "holds damaged"),
        ("gone.pt", "there is no such file"),
        ("labels.pt", "holds numbers from -1 to 3; it must hold true and false"),
    ):
        with pytest.raises(DatasetError, match=says):
            select(run, "given", Pointed(bitmap=tmp_path / name))


# -- parts of runs, and files of them ----------------------------------------------------------------------------------


def test_a_part_of_a_run_is_what_selections_leave(run: Run) -> None:
    select(run, "ball", click(BALL))
    ball = of(run, "ball")
    alone = part_of(run, "ball", None, keep_places=False)
    rest = part_of(run, None, "ball", keep_places=False)
    assert alone.count(0) == len(alone.frame(0)) == alone.num_static == ball.sum()
    assert rest.count(0) == len(rest.frame(0)) == (~ball).sum()
    places = part_of(run, "ball", None, keep_places=True).frame(0)
    assert len(places) == len(ball) and np.array_equal(places.opacities > 0, ball)
    assert part_of(run, None, None, keep_places=True) is run
    with pytest.raises(RunError, match=r"nothing stays of it \('ball', 'ball'\)"):
        RunPart(run, ["ball"], ["ball"])
    with pytest.raises(RunError, match="has no selection 'bal'"):
        RunPart(run, ["bal"])


def test_colors_of_segments_tell_them_apart(run: Run) -> None:
    select(run, "ball", click(BALL))
    segments = read_segments(run)
    small, large = colored(segments, 0.0), colored(segments, 1.0)
    visible = segments.mass > 1
    assert len(np.unique(small[visible & (OWNER != FLOOR)].round(3), axis=0)) >= 3
    upper, lower = (visible & np.equal(OWNER, thing) for thing in (UPPER, LOWER))
    assert np.median(np.abs(large[upper] - np.median(large[lower], axis=0)).sum(1)) == 0
    alike = similarity(segments, read_selection(run, "ball").weights.astype(np.float32))
    assert alike[visible & (OWNER == BALL)].mean() > 0.9 and alike[OWNER == UPPER].mean() < 0.1
    parts = components(segments)
    means = [parts[visible & (thing == OWNER)].mean(axis=0) for thing in (FLOOR, LOWER, UPPER, BALL)]
    apart = [np.abs(a - b).sum() for i, a in enumerate(means) for b in means[:i]]
    assert parts.shape == (len(OWNER), 3) and min(apart) > 0.3


def test_commands_make_segments_and_selections_and_use_them(made: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(made / "run", run)
    refused = legs4d("segments", run, "--masks", made)
    assert refused.exit_code == 1 and "has segments already; see them by --list" in refused.stderr
    told = json.loads(legs4d("segments", run, "--masks", made, "--again", "--json").stdout)
    assert len(told["segments"]) == 4 and told["made"]["source"] == str(made)
    assert legs4d("segments", run, "--rename", "0=blocks").exit_code == 0
    x, y = middle(BALL)
    one = legs4d("segment", run, "--click", f"{x:g},{y:g}", "--camera", "8", "--name", "the ball", "--json")
    assert (found := json.loads(one.stdout))["name"] == "the ball" and found["run"] == str(run)
    listed = legs4d("segments", run, "--list").stdout
    assert "blocks" in listed and f"selection 'the ball': {found['gaussians']} Gaussians, 1 steps" in listed

    out = tmp_path / "out"
    assert legs4d("export", run, "--out", out, "--without", "the ball").exit_code == 0
    assert len(PlyData.read(out / "frame_000000.ply")["vertex"]) == len(OWNER) - found["gaussians"]
    layers = ("--mask", "--similarity", "--segments", "--components")
    pictures = tmp_path / "pictures"
    done = legs4d("render", run, "--out", pictures, "--selection", "the ball", "--cameras", "8", *layers)
    assert done.exit_code == 0, done.stderr
    shown = np.asarray(Image.open(pictures / "000000.png")).astype(int)
    mask = np.asarray(Image.open(tmp_path / "pictures_mask" / "000000.png")) > 0
    mask = mask[..., 0] if mask.ndim == 3 else mask
    true = SEEN == BALL
    assert (mask & true).sum() / (mask | true).sum() > 0.9
    assert shown[SEEN == UPPER].max() < 60 < np.median(shown[true].max(axis=-1))
    for layer in ("similarity", "segments", "components"):
        assert np.asarray(Image.open(tmp_path / f"pictures_{layer}" / "000000.png")).any()
    refused = legs4d("render", run, "--out", pictures, "--mask")
    assert refused.exit_code == 1 and "--mask: is of a selection; name one by --selection." in refused.stderr
    refused = legs4d("segments", run, "--delete", "the ball", "--rename", "0=a")
    assert refused.exit_code == 1 and "--rename and --delete: do different things" in refused.stderr
    gone = legs4d("segments", run, "--delete", "the ball")
    assert gone.exit_code == 0 and "the ball" not in legs4d("segments", run, "--list").stdout


def test_a_camera_is_found_by_its_number(run: Run) -> None:
    assert view_of(run, 9, 0).ids == (9,) and view_of(run, 3, 0).ids == (3,)


def test_words_and_scale_choose_between_a_thing_and_its_part(run: Run) -> None:
    blocks = np.where(np.isin(OWNER, (UPPER, LOWER)), 0.8, 0.1).astype(np.float32)
    blocks[np.equal(OWNER, UPPER)] = 0.9

    def chosen(scale: float | None) -> NDArray[np.bool_]:
        select(run, "said", Pointed(prompt="a block", scale=scale), relevancy=lambda _: (blocks, 0.5))
        return of(run, "said")

    assert share_of(chosen(0.0), UPPER) > 0.9
    assert share_of(chosen(1.0), UPPER, LOWER) > 0.9
    assert share_of(chosen(None), UPPER) > 0.9  # the surest
    blocks[np.equal(OWNER, LOWER)] = 0.88
    assert share_of(chosen(None), UPPER, LOWER) > 0.9  # but the whole, where it answers as well


def test_selections_and_labels_are_written_as_bitmaps(run: Run, tmp_path: Path) -> None:
    for name in ("the bäll / blue", "labels"):
        select(run, name, click(BALL))
    files = write_bitmaps(run, tmp_path / "out")
    names = {"the bäll %2F blue.pt", "%6Cabels.pt", "labels.pt"}
    assert files[-1].name == "labels.pt" and {file.name for file in (tmp_path / "out").iterdir()} == names
    assert np.array_equal(torch.load(files[1], weights_only=True).numpy(), of(run, "the bäll / blue"))
    labels = torch.load(files[-1], weights_only=True).numpy()
    segments = read_segments(run)
    upper = int(np.argmax([share_of(segments.weights(s) >= 0.5, UPPER) for s in range(len(segments))]))
    assert share_of(labels == upper, UPPER) > 0.9 and (labels[OWNER == FLOOR] == -1).mean() > 0.9
    with pytest.raises(Legs4dError, match="has files already; give an empty folder"):
        write_bitmaps(run, tmp_path / "out")
