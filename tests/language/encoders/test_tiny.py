"""The tiny encoder in the product, with random weights: what it says, how it reads, and from pictures to answers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from backend.jobs.exchange import export
from backend.runs.answers import answer_body
from legs4d import pipeline
from legs4d.cli import app
from legs4d.cli.making import _tell_choice
from legs4d.config import ExtractSettings, LiftSettings
from legs4d.context import Context, EncoderFiles
from legs4d.errors import EncoderError, PromptError
from legs4d.gaussians.store.run import Run
from legs4d.grounding import compose, query
from legs4d.language import minilm
from legs4d.language.embedding.grids import GridStore
from legs4d.language.encoders import get_encoder
from legs4d.language.encoders.tiny.encoder import WEIGHTS, TinyEncoder
from legs4d.language.encoders.tiny.model import TinyModel
from legs4d.language.encoders.tiny.reading import FILLERS, NEIGHBOURS_FILE, Reader
from legs4d.language.encoders.tiny.text_half import WORDS
from legs4d.language.encoders.tiny.words import Words, known_words
from legs4d.language.field import lerf_relevancy

from ...synthetic import Scene, write_dataset, write_run

SCENE = Scene(num_frames=3, width=48, height=32, num_train=3, num_test=1)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random ones, of a model that is sure of nothing."""
    torch.manual_seed(1)
    model = TinyModel(known_words().count)
    torch.nn.init.constant_(model.logit_scale, 6.0)
    torch.nn.init.constant_(model.logit_bias, -2.5)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file({name: value.half().contiguous() for name, value in model.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def lifted(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Run:
    """A run whose pictures were seen with these weights."""
    folder = tmp_path_factory.mktemp("tiny")
    dataset = write_dataset(folder / "dataset", SCENE)
    run = write_run(folder / "run", SCENE, language=False, dataset=str(dataset))
    torch.set_num_threads(1)
    few = ExtractSettings(background="never", change=0.02)
    pipeline.lift(run.path, LiftSettings(encoder="tiny"), Context("cpu", files=EncoderFiles(weights)), extraction=few)
    return Run.open(run.path)


def test_relevancy_against_the_empty_phrase_is_the_trained_probability(weights: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("legs4d.language.encoders.tiny.encoder.TINY_THRESHOLD", 1.0)
    model = TinyModel(known_words().count).eval()
    model.load_state_dict(load_file(weights))
    clips = torch.randn(5, 8, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    prompts = ["a ball flying through the air", "a man throws a ball"]
    tokens = torch.from_numpy(known_words().encode(prompts))
    with torch.no_grad():
        cosines = model.see(clips) @ model.read(tokens).T
        expected = torch.sigmoid(model.logit_scale * cosines + model.logit_bias)

    encoder = TinyEncoder(EncoderFiles(weights))
    vision = encoder.vision(CPU)
    said = vision.embed_windows(vision.embed_frames(clips.flatten(0, 1)).view(5, 8, -1)).numpy()
    np.testing.assert_allclose(np.linalg.norm(said, axis=1), 1, atol=1e-5)
    calibration = encoder.calibration
    phrases = said @ encoder.encode_text(prompts).T, said @ encoder.encode_text(list(calibration.canonical)).T
    relevancy = lerf_relevancy(*phrases, encoder.temperature)
    np.testing.assert_allclose(relevancy, expected.numpy(), atol=1e-4)
    assert 0.005 < relevancy.min() < relevancy.max() < 0.995
    # Another threshold is another share of the bias.
    monkeypatch.setattr("legs4d.language.encoders.tiny.encoder.TINY_THRESHOLD", 0.5)
    shifted = lerf_relevancy(phrases[0], said @ encoder.encode_text([""]).T, encoder.temperature)
    expected = torch.sigmoid(model.logit_scale * cosines + 0.5 * model.logit_bias).detach()
    np.testing.assert_allclose(shifted, expected.numpy(), atol=1e-4)


def test_pictures_are_embedded_lifted_and_asked(lifted: Run):
    assert lifted.info["encoder"] == "tiny" and lifted.stages["lift"].finished
    grid = GridStore.open(lifted.path, "tiny").read(0)
    assert grid.rows.shape[1] == 257 and 0 < len(grid.rows) == grid.valid.sum()
    (found,) = query(lifted, ["a ball flying through the air"])
    assert found.relevancy.shape == (3,) and found.warnings == ()
    assert np.isfinite(found.frame(1)).all()


def test_the_choice_is_told_where_nobody_made_one(lifted: Run, capsys: pytest.CaptureFixture[str]):
    _tell_choice(lifted, "tiny")
    assert capsys.readouterr().err == ""
    _tell_choice(lifted, "auto")
    assert "has no captions: its language is what the encoder `tiny` sees" in capsys.readouterr().err


def test_a_run_answers_by_the_weights_that_it_was_made_with(
    lifted: Run, weights: Path, monkeypatch: pytest.MonkeyPatch
):
    module = "legs4d.language.encoders.tiny.encoder"
    monkeypatch.setattr(f"{module}.WEIGHTS", Path("nowhere"))
    (found,) = query(lifted, ["a ball"])
    (same,) = query(lifted, ["a ball"], encoder=TinyEncoder(EncoderFiles(weights)))
    np.testing.assert_allclose(found.relevancy, same.relevancy, atol=1e-5)


def test_words_that_are_not_known_are_read_as_near_ones_or_not_at_all():
    reader = Reader(known_words())
    assert reader.read("A ball flying through the air").remarks == []
    doorway, quantum = reader.read("a quantum doorway opening").remarks[::-1]
    assert "'doorway', and read it as 'door'" in doorway and "'quantum', and did not take it in" in quantum
    assert reader.read("a quantum doorway opening").text == "quantum door opening"
    with pytest.raises(PromptError, match=r"none of the words of 'the quantum'.*man, woman.*flying, falling"):
        reader.read("the quantum")
    with pytest.raises(PromptError, match="none of the words"):
        reader.read("is there something")  # all of them known, and none says anything


def test_neighbours_are_those_of_the_words():
    with np.load(NEIGHBOURS_FILE, allow_pickle=False) as file:
        names, vectors = file["words"].tolist(), file["vectors"].astype(np.float32)
    assert names == [word for word in known_words().words if word not in FILLERS], (
        "run scripts/training/tiny/neighbours.py"
    )
    np.testing.assert_allclose(vectors[[0, -1]], minilm.embed([names[0], names[-1]]), atol=1e-3)


def test_a_prompts_warnings_reach_the_answer_the_server_and_the_command_line(lifted: Run):
    prompt = "a sphere plunging on a doorway"
    (found,) = query(lifted, [prompt])
    assert len(found.warnings) == 1 and "read it as 'door'" in found.warnings[0]
    (both,) = compose(lifted, [f"{prompt} AND a truck"])
    assert both.warnings[0] == found.warnings[0] and "'truck'" in both.warnings[1]
    done = CliRunner().invoke(app, ["query", str(lifted.path), prompt, "--json"])
    assert done.exit_code == 0 and f"warning: {prompt!r}: {found.warnings[0]}" in done.stderr
    assert '"warnings": ["The encoder does not know' in done.stdout
    sent = answer_body(found)
    assert sent["warnings"] == [*found.warnings]
    refused = CliRunner().invoke(app, ["query", str(lifted.path), "quantum democracy"])
    assert refused.exit_code == 1 and "knows none of the words" in refused.stderr


def test_whatever_asks_a_prompt_warns(lifted: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    prompt, camera = "a sphere near a doorway", lifted.cameras("test").ids[0]
    true = tmp_path / "true" / prompt.replace(" ", "_") / f"cam{camera}"
    true.mkdir(parents=True)
    number = lifted.info["frame_numbers"][0]
    Image.fromarray(np.ones((SCENE.height, SCENE.width), bool)).save(true / f"{number:06d}.png")
    for asks in (
        ["render", "--prompt", prompt, "--out", str(tmp_path / "film")],
        ["export", "--prompt", prompt, "--out", str(tmp_path / "files")],
        ["eval", "--grounding", str(tmp_path / "true")],
    ):
        done = CliRunner().invoke(app, [asks[0], str(lifted.path), *asks[1:]])
        assert done.exit_code == 0, done.output
        assert f"warning: {prompt!r}: The encoder does not know the word 'doorway'" in done.stderr, asks
    spec = {
        "source": str(lifted.path),
        "out": str(tmp_path / "job"),
        "name": "job",
        "frames": (0, 0),
        "prompt": prompt,
        "how": {},
        "parts": [None, None],
    }
    export({**spec, "format": "ply", "job": 1}, lambda progress: None, Event())
    assert "The encoder does not know the word 'doorway'" in caplog.text


def test_weights_of_another_vocabulary_bring_their_own_words(weights: Path, tmp_path: Path):
    words = Words(("zeppelin", "ball"))
    model = TinyModel(words.count)
    save_file(model.state_dict(), tmp_path / "own.safetensors", metadata={WORDS: "zeppelin ball"})
    encoder = TinyEncoder(EncoderFiles(tmp_path / "own.safetensors"))
    assert encoder.remarks("a zeppelin") == [] and "'puppy'" in encoder.remarks("a zeppelin, puppy")[0]
    encoder.save_text(tmp_path / "text")
    again = TinyEncoder(EncoderFiles(text=tmp_path / "text"))
    np.testing.assert_allclose(again.encode_text(["a zeppelin"]), encoder.encode_text(["a zeppelin"]), atol=1e-6)


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def _without_text(path: Path) -> None:
    save_file({name: value for name, value in load_file(path).items() if "ln_final" not in name}, path)


def _other_frames(path: Path) -> None:
    save_file(load_file(path) | {"frame.code.weight": torch.zeros(3, 3)}, path)


def _unsure(path: Path) -> None:
    save_file(load_file(path) | {"logit_scale": torch.tensor(float("nan"))}, path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_cut_short, "cannot be read as weights; it may be cut short"),
        (_without_text, "has no 'text.ln_final.*another model's weights"),
        (_other_frames, r"its 'frame.code.weight' is \(3, 3\)"),
        (_unsure, "logit_scale is nan"),
        (Path.unlink, "there are no weights of the tiny encoder"),
    ],
)
def test_bad_weights_are_one_clear_error(weights: Path, tmp_path: Path, spoil: object, message: str):
    path = tmp_path / "bad.safetensors"
    shutil.copy(weights, path)
    assert callable(spoil)
    spoil(path)
    with pytest.raises(EncoderError, match=message):
        TinyEncoder(EncoderFiles(path)).vision(CPU)


def test_it_has_no_variants():
    with pytest.raises(EncoderError, match="its weights come with the package"):
        get_encoder("tiny:large")


def test_the_packages_weights_are_whole_and_small():
    encoder = TinyEncoder(EncoderFiles())
    encoder.vision(CPU)
    assert WEIGHTS.stat().st_size <= 15e6
    assert sum(value.numel() for value in load_file(WEIGHTS).values()) <= 7e6
    for prompt in ("a ball flying through the air", "a box spinning around", "a door opening", "a man throwing a ball"):
        assert encoder.remarks(prompt) == []
