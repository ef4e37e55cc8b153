"""The cache: what goes in comes out, a file is whole or absent, damage is said."""

import numpy as np
import pytest

DYNAMIC = 5
FRAMES = 3


@pytest.fixture
def cache(package, tmp_path):
    from blender_addon.cache.frames import Description, RunCache

    return RunCache.create(tmp_path, Description("ball-1", "ball", "r1", FRAMES, 2, DYNAMIC, 10.0))


def _frame(seed):
    values = np.random.default_rng(seed)
    return {
        "means": values.normal(size=(DYNAMIC, 3)).astype("f4") * 10,
        "quats": values.uniform(-1, 1, size=(DYNAMIC, 4)).astype("f4"),
        "colors": values.normal(size=(DYNAMIC, 3)).astype("f4"),
    }


def test_a_frame_comes_back_as_it_was_stored(cache):
    from blender_addon.cache.frames import STEPS

    stored = _frame(0)
    cache.write_frame(1, stored)
    found = cache.frame(1)
    np.testing.assert_array_equal(found["means"], stored["means"])
    np.testing.assert_allclose(found["quats"] * STEPS["quats"], stored["quats"], atol=0.51 / 32767)
    np.testing.assert_allclose(found["colors"] * STEPS["colors"], stored["colors"], atol=0.51 * 8 / 32767)


def test_a_colour_beyond_the_range_is_clipped_not_wrapped(cache):
    from blender_addon.cache.frames import STEPS

    cache.write_frame(0, _frame(0) | {"colors": np.full((DYNAMIC, 3), 100.0)})
    assert (cache.frame(0)["colors"] * STEPS["colors"]).min() == pytest.approx(8.0)


def test_missing_frames_are_those_not_stored(cache):
    cache.write_frame(1, _frame(0))
    assert cache.missing_frames() == [0, 2]
    assert cache.has_frame(1) and not cache.has_frame(0)


def test_a_reader_keeps_its_frame_while_it_is_replaced(cache):
    first, second = _frame(0), _frame(1)
    cache.write_frame(0, first)
    found = cache.frame(0)
    cache.write_frame(0, second)
    np.testing.assert_array_equal(found["means"], first["means"])
    np.testing.assert_array_equal(cache.frame(0)["means"], second["means"])


def test_a_frame_of_the_wrong_size_is_refused_and_leaves_nothing(cache):
    from blender_addon.cache.frames import CacheError

    frame = _frame(0) | {"quats": np.zeros((DYNAMIC + 1, 4), "f4")}
    with pytest.raises(CacheError, match=r"quats has 24 values, but 5 points need 20"):
        cache.write_frame(0, frame)
    assert not list((cache.path / "frames").iterdir())


def test_a_truncated_frame_is_said_not_shown(cache):
    from blender_addon.cache.frames import CacheError

    cache.write_frame(0, _frame(0))
    file = cache.path / "frames" / "000000.block"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(CacheError, match="remove the cache"):
        cache.frame(0)


@pytest.mark.parametrize(
    ("manifest", "says"),
    [('{"format": 1}', "another version"), ("{", "damaged"), ('{"format": 2}', "damaged"), (None, "no cached run")],
)
def test_a_manifest_that_cannot_be_used_is_said(cache, manifest, says):
    from blender_addon.cache.frames import CacheError, RunCache

    file = cache.path / "manifest.json"
    file.unlink() if manifest is None else file.write_text(manifest)
    with pytest.raises(CacheError, match=says):
        RunCache.open(cache.path)


def test_an_answer_comes_back_with_its_relevancy(cache):
    from blender_addon.cache.frames import Answer, prompt_key

    answer = Answer("Throwing  the ball", ((0, 1, 1, 0.75),), (0.0, 1.0, 0.5), ("It knows no ball.",))
    key = prompt_key(answer.prompt)
    cache.write_answer(key, answer, np.array([0, 255], "u1"))
    cache.write_relevancy(key, 2, np.arange(DYNAMIC, dtype="u1"))
    assert cache.answer(key) == answer
    assert list(cache.static_relevancy(key)) == [0, 255]
    assert list(cache.relevancy(key, 2)) == [0, 1, 2, 3, 4]
    assert cache.missing_relevancy(key) == [0, 1]
    assert prompt_key("throwing the  Ball ") == key


def test_a_run_without_moving_points_is_legal(package, tmp_path):
    from blender_addon.cache.frames import Description, RunCache

    cache = RunCache.create(tmp_path, Description("still", "still", "r", 1, 1, 0, 10.0))
    empty = {"means": np.zeros((0, 3)), "quats": np.zeros((0, 4)), "colors": np.zeros((0, 3))}
    cache.write_frame(0, empty)
    assert cache.frame(0)["means"].shape == (0, 3)


def test_another_revision_is_another_folder(package):
    from blender_addon.cache.frames import run_id

    assert run_id("a/run", "1") != run_id("a/run", "2")
    assert "/" not in run_id("../a/run", "1")
