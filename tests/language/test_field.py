"""Relevancy is LERF's, and what no camera saw is relevant to nothing."""

from pathlib import Path

import numpy as np
import pytest

from legs4d.errors import EncoderError, RunError
from legs4d.gaussians.store.run import Run
from legs4d.language.field import LanguageField, lerf_relevancy
from tests.synthetic import CAPTION_FLYING, CAPTION_LYING, Scene, write_run

REFERENCE = Path(__file__).resolve().parents[3] / "shared/reference/legacy_4legs/expected.npz"
SCENE = Scene(num_frames=6)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("field") / "run", SCENE)


def test_relevancy_is_the_least_of_the_pairwise_softmaxes():
    rng = np.random.default_rng(0)
    prompts, canonical = rng.uniform(-1, 1, (50, 3)), rng.uniform(-1, 1, (50, 4))
    expected = np.exp(10 * prompts)[:, :, None] / (
        np.exp(10 * prompts)[:, :, None] + np.exp(10 * canonical)[:, None, :]
    )
    found = lerf_relevancy(prompts.astype(np.float32), canonical.astype(np.float32), 10.0)
    np.testing.assert_allclose(found, expected.min(axis=2), rtol=1e-5)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference files are not beside this checkout")
def test_relevancy_is_that_of_the_original_4legs():
    with np.load(REFERENCE, allow_pickle=False) as reference:
        phrases = reference["phrases"]
        for frame in range(3):
            features = reference[f"decoded_{frame}"].astype(np.float32)
            cosines = features / np.linalg.norm(features, axis=1, keepdims=True) @ phrases.T
            found = lerf_relevancy(cosines[:, :1], cosines[:, 1:], 10.0)[:, 0]
            np.testing.assert_allclose(found, reference[f"relevancy_{frame}"], atol=1e-3)


def test_what_is_said_is_relevant_and_the_opposite_less(run: Run):
    field = LanguageField(run)
    prompts = field.embed([CAPTION_LYING, CAPTION_FLYING])
    first, last = SCENE.flight or (0, 0)
    for frame in range(SCENE.num_frames):
        lying, flying = field.moving(frame, prompts).values.T
        assert ((flying > lying) == (first <= frame <= last)).all()


def test_what_no_camera_saw_is_relevant_to_nothing(run: Run, tmp_path: Path):
    blind = write_run(tmp_path / "blind", SCENE)
    codes, confidence = blind.moving_codes(0)
    confidence = confidence.copy()
    confidence[:7] = 0
    blind.write_codes(0, codes, confidence)
    field = LanguageField(blind)
    values = field.moving(0, field.embed([CAPTION_LYING])).values[:, 0]
    assert not values[:7].any() and (values[7:] > 0.5).all()


def test_a_frame_is_scored_when_it_is_asked_for_and_only_while_its_codes_are_those_that_were_swept(tmp_path: Path):
    run = write_run(tmp_path / "lifted", SCENE)
    field = LanguageField(run)
    prompt = field.embed([CAPTION_FLYING])
    still, moving = np.ones(run.num_static, bool), np.ones(run.num_dynamic, bool)
    frames = field.sweep(prompt, still, lambda frame: moving, (0.5, 0.01)).moving[0]
    expected = np.clip(2 * field.moving(3, prompt).values[:, 0] - 1, 0, 1)
    np.testing.assert_array_equal(frames[3], expected.astype(np.float16))
    assert frames[0].shape == (run.num_dynamic,)
    arrays, attributes = run.codec()
    Run.open(run.path).write_codec(attributes.pop("name"), arrays, attributes)  # as another process begins to lift
    np.testing.assert_array_equal(frames[3], expected.astype(np.float16))  # known already
    with pytest.raises(RunError, match="lifted anew"):
        frames[4]


def test_a_run_without_language_is_refused(tmp_path: Path):
    with pytest.raises(RunError, match="no language"):
        LanguageField(write_run(tmp_path / "mute", SCENE, language=False))


def test_a_run_of_an_unknown_encoder_is_refused(tmp_path: Path):
    strange = write_run(tmp_path / "strange", SCENE)
    strange.set_info(encoder="telepathy")
    with pytest.raises(EncoderError, match="no encoder 'telepathy'"):
        LanguageField(strange)


def test_a_run_lifted_by_an_older_encoder_is_refused(tmp_path: Path):
    old = write_run(tmp_path / "old", SCENE)
    arrays, attributes = old.codec()
    attributes.pop("name")
    old.write_codec("linear", {"mean": arrays["mean"][:384], "basis": arrays["basis"][:, :384]}, attributes)
    with pytest.raises(RunError, match=r"another version of the encoder 'captions' \(384 .* now 768\); lift it again"):
        LanguageField(old)
