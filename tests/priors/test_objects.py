"""`legs4d objects`: sightings become things in space and time, things become masks, and footage is read with them."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from collections.abc import Sequence as Several
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from legs4d import pipeline
from legs4d.cli import app
from legs4d.config import DatasetSettings
from legs4d.context import Context
from legs4d.errors import DatasetError
from legs4d.priors.objects.find import find_objects, open_helpers
from legs4d.priors.objects.folder import default_folder, read_table
from legs4d.priors.objects.places import find_places, project
from legs4d.priors.objects.sightings import PERSON, THING, Sightings, histogram, see
from legs4d.priors.objects.sightings import Finders as Nobody
from legs4d.priors.objects.tracks import Thing, follow, name_things
from legs4d.progress import Progress, Stopped
from legs4d.scene.found_objects import FoundObjects
from legs4d.scene.images import read_labels
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence
from tests.synthetic import Scene, write_dataset

SCENE = Scene(num_frames=9, width=96, height=64, num_train=6, num_test=1)
CAMERAS = SCENE.cameras("train")
RED, BLUE = np.eye(64, dtype=np.float32)[[48, 3]]

Where = Callable[[int], NDArray[np.float64] | None]


def sighted(
    frame: int, things: Several[tuple[Where, float, str, NDArray[np.float32]]], *, blind: int = 99
) -> Sightings:
    """What cameras see of balls: (frame → middle or None, diameter, name, colours). Camera `blind` sees none."""
    rows = []
    for where, size, name, colors in things:
        middle = where(frame)
        for camera in range(len(CAMERAS)):
            if middle is None or camera == blind:
                continue
            viewmat, intrinsics = (
                part[camera].astype(np.float64) for part in (CAMERAS.world_to_camera, CAMERAS.intrinsics)
            )
            pixel, depth = project(middle, viewmat, intrinsics)
            half = size / 2 * intrinsics[[0, 1], [0, 1]] / depth
            rows.append((camera, np.concatenate([pixel - half, pixel + half]), 0.5, name, colors, 1.0))
    cameras, boxes, scores, names, colors, moving = zip(*rows, strict=True)
    return Sightings(
        np.array(cameras),
        np.array(boxes, np.float32),
        np.array(scores, np.float32),
        np.array(names, np.str_),
        np.array(colors, np.float32),
        np.array(moving, np.float32),
    )


def flying(frame: int) -> NDArray[np.float64]:
    return np.array([-0.4 + 0.1 * frame, -0.3, 0.1])


def standing(frame: int) -> NDArray[np.float64]:
    return np.array([0.3, -0.2, -0.2])


def test_a_place_is_where_cameras_agree() -> None:
    (place,) = find_places(sighted(2, [(flying, 0.2, "sports ball", RED)], blind=3), CAMERAS)
    np.testing.assert_allclose(place.position, flying(2), atol=1e-5)
    np.testing.assert_allclose(place.size, [0.2, 0.2], rtol=1e-4)
    assert len(place.sightings) == 5 and not place.is_person


def test_boxes_that_no_other_camera_bears_out_are_no_place() -> None:
    seen = sighted(0, [(flying, 0.2, "sports ball", RED)])
    two = Sightings(*(getattr(seen, name)[:2] for name in Sightings.__dataclass_fields__))
    assert find_places(two, CAMERAS) == []
    # boxes of six cameras at random hardly ever agree
    generator = np.random.default_rng(0)
    corners = generator.uniform(0, 60, (6, 2)).astype(np.float32)
    noise = Sightings(
        np.arange(6), np.c_[corners, corners + 5], *(getattr(seen, n) for n in ("scores", "names", "colors", "moving"))
    )
    assert find_places(noise, CAMERAS) == []


def things_of(frames: list[Sightings]) -> list[Thing]:
    return name_things(follow([find_places(seen, CAMERAS) for seen in frames]), frames, len(CAMERAS))


def test_two_that_look_alike_keep_their_ids_while_both_are_seen() -> None:
    both = [(flying, 0.2, "sports ball", RED), (standing, 0.2, "sports ball", RED)]
    found = things_of([sighted(frame, both) for frame in range(8)])
    assert len(found) == 2 and all(len(thing.track.places) == 8 for thing in found)
    goes = next(thing for thing in found if abs(thing.track.places[0].position[0] + 0.4) < 1e-3)
    np.testing.assert_allclose(goes.track.places[7].position, flying(7), atol=1e-4)
    assert (goes.name, goes.named, goes.doubt) == ("sports ball", 1.0, "")


def test_a_thing_that_leaves_and_comes_back_is_the_same_and_one_of_another_colour_is_not() -> None:
    def leaving(frame: int) -> NDArray[np.float64] | None:
        return flying(frame) if frame < 4 else standing(frame) if frame > 11 else None

    def later(frame: int) -> NDArray[np.float64] | None:
        return standing(frame) - np.array([0, 0.5, 0]) if frame > 11 else None

    ground = (lambda frame: np.array([0.0, 0.1, 0.4]), 0.3, "chair", BLUE)
    frames = [sighted(f, [(leaving, 0.2, "cup", RED), (later, 0.2, "cup", BLUE), ground]) for f in range(16)]
    cups = [thing for thing in things_of(frames) if thing.name == "cup"]
    assert sorted((thing.track.first, thing.track.last) for thing in cups) == [(0, 15), (12, 15)]


def test_who_comes_back_and_may_be_either_of_two_is_doubted() -> None:
    def until(last: int, where: Where) -> Where:
        return lambda frame: where(frame) if frame <= last else None

    def back(frame: int) -> NDArray[np.float64] | None:
        return np.array([0.0, -0.5, 0.0]) if frame > 11 else None

    ground = (lambda frame: np.array([0.0, 0.1, 0.4]), 0.3, "chair", BLUE)
    cups: list[tuple[Where, float, str, NDArray[np.float32]]] = [
        (until(3, flying), 0.2, "cup", RED),
        (until(3, standing), 0.2, "cup", RED),
        (back, 0.2, "cup", RED),
    ]
    found = things_of([sighted(frame, [*cups, ground]) for frame in range(16)])
    doubts = [thing.doubt for thing in found if thing.doubt]
    assert doubts == ["in frame 12 it may be another that looks like it"]


@pytest.mark.parametrize(("color", "told"), [(RED, ["in frame 9 it may be another that looks like it"]), (BLUE, [])])
def test_who_comes_back_soon_and_may_be_either_of_two_is_doubted(color: NDArray[np.float32], told: list[str]) -> None:
    """Both were going there; colours tell them apart or do not."""

    def one(frame: int) -> NDArray[np.float64] | None:
        where = np.array([-0.9 + 0.1 * frame, -0.3, 0.3]), np.array([-0.1 + 0.06 * (frame - 9), -0.5, 0.0])
        return where[0] if frame < 5 else where[1] if frame > 8 else None

    def other(frame: int) -> NDArray[np.float64] | None:
        return np.array([0.7 - 0.1 * frame, -0.7, -0.3]) if frame < 5 else None

    ground = (lambda frame: np.array([0.0, 0.1, 0.4]), 0.3, "chair", BLUE)
    found = things_of([sighted(f, [(one, 0.36, "cup", RED), (other, 0.36, "cup", color), ground]) for f in range(14)])
    assert [thing.doubt for thing in found if thing.doubt] == told


def test_a_thing_keeps_its_size() -> None:
    """What is taken for a thing as large as the hall is not continued by a small one that flies through it."""
    hall = (lambda frame: np.array([0.0, -0.25, 0.0]) if frame < 4 else None, 1.6, "airplane", BLUE)
    ball = (lambda frame: flying(frame) if frame > 3 else None, 0.2, "sports ball", RED)
    found = things_of([sighted(frame, [hall, ball]) for frame in range(8)])
    assert {(thing.name, thing.track.first, thing.track.last) for thing in found} == {
        ("airplane", 0, 3),
        ("sports ball", 4, 7),
    }


def test_forty_people_are_forty() -> None:
    spots = [np.array([0.35 * (i % 8) - 1.2, -0.2, 0.35 * (i // 8) - 0.7]) for i in range(40)]

    def at(spot: NDArray[np.float64]) -> Where:
        return lambda frame: spot

    people = [(at(spot), 0.2, PERSON, RED) for spot in spots]
    found = find_places(sighted(0, people), CAMERAS)
    assert len(found) >= 38 and all(place.is_person for place in found)
    for place in found[:30]:
        assert min(np.linalg.norm(place.position - spot) for spot in spots) < 0.05


def test_what_moves_is_seen_where_nobody_names_it() -> None:
    moving = np.zeros((40, 60), np.float32)
    moving[10:20, 30:44] = 1
    moving[2, 2] = 1  # noise
    seen = see(4, np.full((40, 60, 3), 0.5, np.float32), moving, Nobody(None, None))
    assert seen.names.tolist() == [THING] and seen.cameras.tolist() == [4]
    np.testing.assert_array_equal(seen.boxes, [[30, 10, 44, 20]])
    assert histogram(np.ones((4, 4, 3), np.float32), np.array([0, 0, 4, 4]))[63] == 1


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Footage whose only masks are the objects' that found ones are compared with."""
    folder = write_dataset(tmp_path_factory.mktemp("found") / "clip", SCENE)
    shutil.move(folder / "objects", folder.parent / "true")
    return folder


@pytest.fixture(scope="module")
def found(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = CliRunner().invoke(app, ["objects", str(dataset), "--cache", str(tmp_path_factory.mktemp("none")), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["without"] == ["nanodet", "movenet", "u2netp", "pose"] and told["folder"] == f"{dataset}.objects"
    return default_folder(dataset)


def test_what_moves_is_found_without_any_weights(dataset: Path, found: Path) -> None:
    objects, told = read_table(found)
    assert objects and {one.name for one in objects} == {THING} and told["made_from"]["priors"] == []
    assert len(objects) >= 2
    shown, right = [], []
    for path in sorted((dataset.parent / "true").rglob("*.png")):
        truth = read_labels(path) > 0  # box and ball
        labels = read_labels(found / "objects" / path.parent.name / path.name)
        assert labels.shape == truth.shape and labels.max() <= len(objects)
        shown.append((labels[truth] > 0).mean())
        if labels.any():
            right.append(truth[labels > 0].mean())
    assert np.mean(shown) > 0.7 and np.mean(right) > 0.85


def test_footage_is_read_with_what_was_found(dataset: Path, found: Path) -> None:
    sequence = open_sequence(dataset)
    assert isinstance(sequence, FoundObjects) and "Object masks are those of clip.objects." in sequence.notes
    labels = sequence.objects("train", 3)
    place = found / "objects" / str(sequence.cameras("train", 3).ids[2]) / "000003.png"
    assert labels is not None
    np.testing.assert_array_equal(labels[2], read_labels(place))
    assert sequence.objects("test", 3) is None
    half = open_sequence(dataset, 0.5).objects("train", 3, [2])
    assert half is not None and half.shape == (1, 32, 48)
    plain = open_sequence(dataset, found=False)
    assert plain.objects("train", 0) is None
    # it has masks of its own: what was found matters to language alone
    assert plain.fingerprint() == sequence.fingerprint()
    assert plain.fingerprint(language=True) != sequence.fingerprint(language=True)


def test_found_objects_are_the_masks_of_footage_without_any(dataset: Path, found: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "clip", ignore=shutil.ignore_patterns("seg"))
    shutil.copytree(found, tmp_path / "clip.objects")
    sequence = open_sequence(tmp_path / "clip")
    masks, labels = sequence.masks("train", 2), sequence.objects("train", 2)
    assert masks is not None and labels is not None
    np.testing.assert_array_equal(masks > 0.5, labels > 0)
    before = sequence.fingerprint()
    for folder in ("clip", "clip.objects"):
        shutil.move(tmp_path / folder, tmp_path / f"moved {folder}")
    (tmp_path / "moved clip.objects").rename(tmp_path / "elsewhere.objects")
    (tmp_path / "moved clip").rename(tmp_path / "elsewhere")
    assert open_sequence(tmp_path / "elsewhere").fingerprint() == before
    next((tmp_path / "elsewhere.objects").rglob("000002.png")).unlink()
    with pytest.raises(DatasetError, match=r"000002.png: is missing; find the objects anew"):
        open_sequence(tmp_path / "elsewhere")


def test_the_same_again_does_nothing_and_another_is_refused(dataset: Path, found: Path) -> None:
    before = (found / "objects.json").stat().st_mtime_ns
    pipeline.find_objects(dataset, found, priors=found.parent / "none")
    assert (found / "objects.json").stat().st_mtime_ns == before
    with pytest.raises(DatasetError, match="found in other footage, or otherwise; give --again"):
        pipeline.find_objects(dataset, found, reading=DatasetSettings(scale=0.5), priors=found.parent / "none")
    with pytest.raises(DatasetError, match="is a folder of something else"):
        pipeline.find_objects(dataset, dataset / "ims", priors=found.parent / "none")


def test_stopped_in_the_middle_it_goes_on_and_finds_the_same(dataset: Path, found: Path, tmp_path: Path) -> None:
    sequence, helpers = open_sequence(dataset, found=False), open_helpers(torch.device("cpu"), tmp_path)
    stages = []
    for stage in ("look_for_objects", "cut_objects"):
        stop = threading.Event()

        def until(now: Progress, stage: str = stage, stop: threading.Event = stop) -> None:
            stages.append(now.stage)
            if now.stage == stage and now.done > now.total // 2:
                stop.set()

        with pytest.raises(Stopped):
            find_objects(sequence, tmp_path / "out", helpers, Context(progress=until, stop=stop))
        assert not (tmp_path / "out").exists()
    told = find_objects(sequence, tmp_path / "out", helpers)
    assert told["objects"] == json.loads((found / "objects.json").read_text())["objects"]
    for path in found.rglob("*.png"):
        assert (tmp_path / "out" / path.relative_to(found)).read_bytes() == path.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def unmasked(dataset: Path, folder: Path) -> Path:
    """The same footage with nobody's masks."""
    return Path(shutil.copytree(dataset, folder / "clip", ignore=shutil.ignore_patterns("seg", "objects")))


def test_training_finds_what_moves_where_nobody_gave_masks(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from legs4d.pipeline.footage import read_footage
    from legs4d.priors.objects import find, unasked

    clip, told = unmasked(dataset, tmp_path), list[str]()

    def footage() -> Sequence:
        context = Context("cpu", tell=told.append)
        return read_footage(clip, tmp_path / "run", None, DatasetSettings(), context, objects=True, again=False)

    monkeypatch.setenv("LEGS4D_PRIORS", str(tmp_path / "none"))
    assert not isinstance(footage(), FoundObjects) and not default_folder(clip).exists()
    assert "`legs4d priors get nanodet movenet u2netp pose` fetches what would find the objects" in told[-1]
    # nobody is missing where nobody is asked for: what moves is found, and cut by GrabCut
    for module in (find, unasked):
        monkeypatch.setattr(module, "HELPERS", ())
    found = footage()
    assert isinstance(found, FoundObjects) and found.folder == default_folder(clip)
    assert "its objects are looked for, as by `legs4d objects`, and kept in" in " ".join(told)
    labels = found.objects("train", 3)
    assert labels is not None and labels.any()
    # it is these masks that the run is made from: others are other footage
    before = found.fingerprint()
    for path in (default_folder(clip) / "objects").rglob("000003.png"):
        shutil.copyfile(path.with_name("000004.png"), path)
    assert footage().fingerprint() != before


def test_footage_in_which_nothing_can_be_found(tmp_path: Path) -> None:
    still = write_dataset(tmp_path / "still", Scene(num_frames=2, num_train=2, num_test=1))
    with pytest.raises(DatasetError, match="has 2 training cameras; a thing counts when 3 see it"):
        pipeline.find_objects(still, priors=tmp_path)


def test_footage_in_which_nobody_moves(tmp_path: Path) -> None:
    still = write_dataset(tmp_path / "still", Scene(num_frames=3, width=48, height=32, num_train=3, num_test=1))
    shutil.rmtree(still / "seg")
    shutil.rmtree(still / "objects")
    for picture in (still / "ims").rglob("*.jpg"):
        shutil.copyfile(picture.with_name("000000.jpg"), picture) if picture.stem != "000000" else None
    with pytest.raises(DatasetError):
        pipeline.find_objects(still, priors=tmp_path / "none")
    assert [path.name for path in tmp_path.iterdir()] == ["still"]
