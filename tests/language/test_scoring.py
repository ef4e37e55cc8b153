"""The scoring kernel against cosines of decoded features, in float64."""

import numpy as np
import pytest

from legs4d.language.codec import fit_linear_codec
from legs4d.language.scoring import BINS, linear_relevancy, strength_histogram

RNG = np.random.default_rng(4)


def unit_rows(count: int, dim: int) -> np.ndarray:
    rows = RNG.normal(size=(count, dim)).astype(np.float32) + 0.5
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# Counts and widths that are no multiples of a vector's, and more phrases than are multiplied at once.
@pytest.mark.parametrize(
    ("count", "dim", "prompts", "canonical"),
    [(1, 3, 1, 1), (7, 13, 1, 4), (16, 64, 2, 1), (5003, 64, 10, 4), (4999, 8, 3, 2)],
)
def test_relevancy_is_that_of_decoded_features(count: int, dim: int, prompts: int, canonical: int):
    rows = unit_rows(200, 90)
    codec = fit_linear_codec([rows], energy=1.0, max_dim=dim)
    codes = codec.encode(rows[RNG.integers(0, 200, count)]).astype(np.float16)
    confidence = RNG.integers(0, 3, count).astype(np.float32)
    phrases, rivals = unit_rows(prompts, 90), unit_rows(canonical, 90)
    features = codec.mean.astype(float) + codes.astype(float) @ codec.basis.astype(float)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    pairs = np.exp(10 * features @ phrases.T)[:, :, None], np.exp(10 * features @ rivals.T)[:, None]
    expected = (pairs[0] / (pairs[0] + pairs[1])).min(axis=2) * (confidence > 0)[:, None]
    found = linear_relevancy(codec, codes, confidence, phrases, rivals, 10.0)
    assert found.shape == (count, prompts)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_extreme_temperatures_neither_overflow_nor_divide_by_nothing():
    rows = unit_rows(20, 30)
    codec = fit_linear_codec([rows], max_dim=8)
    codes = codec.encode(rows).astype(np.float16)
    found = linear_relevancy(codec, codes, np.ones(20, np.float32), rows[:1], rows[1:2], 1e6)
    assert found[0, 0] == 1 and found[1, 0] < 1e-30 and np.isfinite(found).all()


def test_half_precision_is_read_exactly_subnormals_included():
    # One number a code, one direction: relevancy depends on the number's sign alone, and on its exact value below.
    rows = np.array([[1, 0], [0, 1]], np.float32)
    codec = fit_linear_codec([rows])
    values = np.array([6e-8, -6e-8, 6.1e-5, -1.5, 65504], np.float16)[:, None]
    features = codec.mean.astype(float) + values.astype(float) @ codec.basis.astype(float)
    cosine = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = linear_relevancy(codec, values, np.ones(5, np.float32), rows[:1], rows[1:], 2.0)
    np.testing.assert_allclose(found[:, 0], 1 / (1 + np.exp(2 * (cosine[:, 1] - cosine[:, 0]))), atol=1e-6)


def test_strengths_and_their_histogram():
    relevancy = np.concatenate([RNG.uniform(0, 1, (3000, 2)), [[0.5, 1.0]]]).astype(np.float32)
    weight = RNG.uniform(0, 5, 3001).astype(np.float32)
    group = RNG.random(3001) > 0.3
    strength, spread = strength_histogram(relevancy, weight, group)
    expected = np.clip(2 * relevancy - 1, 0, 1)
    np.testing.assert_array_equal(strength, expected.T.astype(np.float16))
    for prompt in range(2):
        for which in (0, 1):
            chosen, w = expected[group == which, prompt], weight[group == which]
            mass, _ = np.histogram(chosen, bins=BINS, range=(0, 1), weights=w)
            moment, _ = np.histogram(chosen, bins=BINS, range=(0, 1), weights=w * chosen)
            np.testing.assert_allclose(spread.mass[prompt, which], mass, atol=1e-4)
            np.testing.assert_allclose(spread.moment[prompt, which], moment, atol=1e-4)
