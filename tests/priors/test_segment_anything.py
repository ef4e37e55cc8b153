"""SAM 2 and SAM 3 by tiny random twins of the published folders: boxes, clicks, words, videos; `objects --prompt`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from legs4d.cli import app
from legs4d.errors import Legs4dError
from legs4d.priors.cache import is_there, open_prior
from legs4d.priors.masks.sam2 import Sam2
from legs4d.priors.masks.sam3 import Sam3Words, Sam3WordsVideo
from legs4d.priors.masks.segment_anything import Clicks, StillMasks, VideoMasks
from legs4d.priors.objects.sightings import called
from legs4d.priors.registry import find_prior
from tests.priors.sam_twins import sam2_twin, sam3_twin
from tests.synthetic import Scene, write_dataset

CPU = torch.device("cpu")
BOXES = np.array([[2, 3, 20, 30], [30, 5, 58, 38]], np.float32)
CLICKS = Clicks(np.array([[10, 10], [50, 30]], np.float32), np.array([True, False]))


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.float32]:
    return np.random.default_rng(0).random((3, 40, 60, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights as a user fills it."""
    folder = tmp_path_factory.mktemp("weights")
    sam2_twin(folder / "sam2")
    sam3_twin(folder / "sam3")
    return folder


@pytest.mark.parametrize("name", ["sam2", "sam3"])
def test_masks_from_boxes_and_clicks(name: str, weights: Path, pictures: NDArray[np.float32]) -> None:
    assert is_there(find_prior(name), weights)
    sam: StillMasks = open_prior(name, CPU, weights)
    found = sam.masks(pictures[0], BOXES)
    assert found.shape == (2, 40, 60) and found.min() >= 0 and found.max() <= 1
    assert not np.array_equal(found[0], found[1])
    assert sam.masks(pictures[0], BOXES[:0]).shape == (0, 40, 60)
    clicked = sam.click(pictures[0], CLICKS)
    assert clicked.shape == (40, 60)
    other = sam.click(pictures[0], Clicks(CLICKS.points, ~CLICKS.inside))
    assert not np.array_equal(clicked, other)


@pytest.mark.parametrize("name", ["sam2-video", "sam3-video"])
def test_masks_through_a_video(name: str, weights: Path, pictures: NDArray[np.float32]) -> None:
    assert is_there(find_prior(name), weights)  # the same folder as that of pictures
    sam: VideoMasks = open_prior(name, CPU, weights)
    found = sam.masks_through(pictures, BOXES, frame=1)
    assert found.shape == (3, 2, 40, 60) and (found.max(axis=(1, 2, 3)) > 0).all()
    clicked = sam.clicked_through(pictures, [CLICKS], frame=1)
    assert clicked.shape == (3, 1, 40, 60) and not np.array_equal(clicked[:, 0], found[:, 0])
    with pytest.raises(Legs4dError, match="there is no frame 3; choose one from 0 to 2"):
        sam.masks_through(pictures, BOXES, frame=3)


def test_what_words_mean(weights: Path, pictures: NDArray[np.float32]) -> None:
    sam = Sam3Words(weights / "sam3", CPU, least_score=0.0)
    boxes, masks = sam.found(pictures[0], ("a bad dog", "a head"))
    assert len(boxes) == 10 and masks.shape == (10, 40, 60) and set(boxes.names) == {"a bad dog", "a head"}
    assert (np.diff(boxes.scores) <= 0).all() and masks.min() >= 0 and masks.max() <= 1
    alone = sam.boxes_of(pictures[0], ("a head",))
    kept = [i for i, name in enumerate(boxes.names) if name == "a head"]
    np.testing.assert_allclose(alone.boxes, boxes.boxes[kept], atol=1e-4)
    sam.least_score = 1.0
    none, nothing = sam.found(pictures[0], ("a head",))
    assert none.boxes.shape == (0, 4) and nothing.shape == (0, 40, 60)
    with pytest.raises(Legs4dError, match=r"is longer than SAM 3 reads \(32 word pieces\); say it in fewer words"):
        sam.boxes_of(pictures[0], ("a dog and a head and a hand and a dog and a lead",))
    with pytest.raises(Legs4dError, match="the prompt: says nothing"):
        sam.boxes_of(pictures[0], (" ",))


@pytest.mark.long
def test_what_words_mean_through_a_video(weights: Path, pictures: NDArray[np.float32]) -> None:
    sam = Sam3WordsVideo(weights / "sam3", CPU)
    found, names = sam.masks_through(pictures, ("a head", "dogs"))
    assert found.shape == (3, len(names), 40, 60) and names and set(names) <= {"a head", "dogs"}
    assert found.max() <= 1 and (found[0].max(axis=(1, 2)) > 0).any()


def test_weights_that_are_not_whole(tmp_path: Path) -> None:
    fix = f"put the files of facebook/sam3 into {tmp_path}"
    with pytest.raises(Legs4dError, match=f"there is no config.json; {fix}"):
        Sam3Words(tmp_path, CPU)
    (sam3_twin(tmp_path) / "vocab.json").unlink()
    with pytest.raises(Legs4dError, match=f"there is no tokenizer.json and no vocab.json; {fix}"):
        Sam3Words(tmp_path, CPU)
    with pytest.raises(Legs4dError, match="these are another model's weights"):
        Sam2(tmp_path, CPU)


@pytest.mark.long
def test_objects_by_prompt(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = write_dataset(tmp_path / "clip", Scene(num_frames=3, width=96, height=64, num_train=6, num_test=1))
    ask = ["objects", str(dataset), "--prompt", "a box", "--json", "--cache"]
    none = CliRunner().invoke(app, [*ask, str(tmp_path / "none")])
    assert none.exit_code == 1 and "the weights of sam3-words are not there; put config.json, model" in none.output
    # boxes of random weights agree on no place in space: all of it has run, and it is said what was not found
    nothing = CliRunner().invoke(app, [*ask, str(weights)])
    assert nothing.exit_code == 1 and "nothing of what 'a box' means was found in three cameras or" in nothing.output
    # the words reach the network, and what it finds is called by them: boxes where the box truly is stand for trained
    # weights, everything else is the real path
    from legs4d.priors.protocols import NamedBoxes
    from legs4d.scene.readers import open_sequence

    sequence = open_sequence(dataset)
    asked: list[tuple[str, ...]] = []

    def boxes_of(self: Sam3Words, picture: NDArray[np.float32], words: tuple[str, ...]) -> NamedBoxes:
        asked.append(words)
        for frame in range(3):
            for camera in range(6):
                if np.array_equal(sequence.images("train", frame, [camera])[0], picture):
                    labels = sequence.objects("train", frame, [camera])
                    assert labels is not None
                    rows, columns = np.nonzero(labels[0] == 1)
                    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                    return NamedBoxes(np.array([box], np.float32), np.array([0.9], np.float32), (words[0],))
        raise AssertionError("another picture")

    monkeypatch.setattr(Sam3Words, "boxes_of", boxes_of)
    done = CliRunner().invoke(app, [*ask, str(weights)])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [one["name"] for one in told["objects"]] == ["box"] and set(asked) == {("a box",)}
    assert told["made_from"]["words"] == ["a box"] and told["made_from"]["priors"][0]["name"] == "sam3"
    assert len(told["made_from"]["priors"][0]["sha256"]) == 64
    other = CliRunner().invoke(app, ["objects", str(dataset), "--prompt", "a ball", "--cache", str(weights)])
    assert other.exit_code == 1 and "otherwise; give --again" in other.output


def test_names_of_prompts() -> None:
    assert [called(words) for words in ("a ball", "The man in red", "dogs", "an")] == [
        "ball",
        "man in red",
        "dogs",
        "an",
    ]
