"""The scoring kernel against cosines of decoded features, in float64."""

import numpy as np
import pytest

from legs4d.language.codec.linear import fit_linear_codec
from legs4d.language.scoring import BINS, LinearQuery, mean_of_most_relevant, spread_of, strength_of

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
    found = LinearQuery.of(codec, phrases, rivals, 10.0).relevancy(codes, confidence)
    assert found.shape == (count, prompts)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_extreme_temperatures_neither_overflow_nor_divide_by_nothing():
    rows = unit_rows(20, 30)
    codec = fit_linear_codec([rows], max_dim=8)
    codes = codec.encode(rows).astype(np.float16)
    found = LinearQuery.of(codec, rows[:1], rows[1:2], 1e6).relevancy(codes, np.ones(20, np.float32))
    assert found[0, 0] == 1 and found[1, 0] < 1e-30 and np.isfinite(found).all()


def test_half_precision_is_read_exactly_subnormals_included():
    # One number a code, one direction: relevancy depends on the number's sign alone, and on its exact value below.
    rows = np.array([[1, 0], [0, 1]], np.float32)
    codec = fit_linear_codec([rows])
    values = np.array([6e-8, -6e-8, 6.1e-5, -1.5, 65504], np.float16)[:, None]
    features = codec.mean.astype(float) + values.astype(float) @ codec.basis.astype(float)
    cosine = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = LinearQuery.of(codec, rows[:1], rows[1:], 2.0).relevancy(values, np.ones(5, np.float32))
    np.testing.assert_allclose(found[:, 0], 1 / (1 + np.exp(2 * (cosine[:, 1] - cosine[:, 0]))), atol=1e-6)


def random_query(count: int, dim: int, prompts: int) -> tuple[LinearQuery, np.ndarray, np.ndarray, np.ndarray]:
    """A query, codes of which some fit and some do not, their confidence (0 of some), and who is in group 1."""
    codec = fit_linear_codec([unit_rows(300, 90)], energy=1.0, max_dim=dim)
    codes = (codec.encode(unit_rows(count, 90)) * RNG.uniform(0, 3, (count, 1))).astype(np.float16)
    query = LinearQuery.of(codec, unit_rows(prompts, 90), unit_rows(2, 90), 10.0)
    return query, codes, RNG.integers(0, 3, count).astype(np.float32), RNG.random(count) > 0.3


# Also fewer codes than are taken at once, and none at all.
@pytest.mark.parametrize(
    ("count", "dim", "prompts"), [(0, 5, 1), (1, 3, 1), (13, 64, 2), (257, 7, 3), (5003, 64, 10), (70001, 4, 1)]
)
def test_the_spread_is_that_of_the_strengths(count: int, dim: int, prompts: int) -> None:
    query, codes, confidence, group = random_query(count, dim, prompts)
    found = np.full((prompts, 2, BINS, 2), 3.0)
    query.spread(codes, confidence, group, found)
    strength = np.clip(2 * query.relevancy(codes, confidence).astype(float) - 1, 0, 1).T
    assert count < 1000 or ((strength > 0).any() and (strength == 0).any())
    for prompt, which in np.ndindex(prompts, 2):
        chosen, w = strength[prompt, group == which], confidence[group == which].astype(float)
        # Bins next to each other may share what lies between them, as relevancy is rounded.
        for column, weights in enumerate((w, w * chosen)):
            expected, _ = np.histogram(chosen, bins=BINS, range=(0, 1), weights=weights)
            got = found[prompt, which, :, column] - 3
            np.testing.assert_allclose(np.cumsum(got)[-1], expected.sum(), rtol=1e-6, atol=1e-6)
            assert np.abs(got - expected).sum() < 1e-3 * weights.sum() + 1e-9


def test_the_spread_does_not_depend_on_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    query, codes, confidence, group = random_query(9000, 16, 3)
    spreads = []
    for threads in (1, 3, 16):
        monkeypatch.setattr("legs4d.language.scoring.default_threads", lambda threads=threads: threads)
        spreads.append(np.zeros((3, 2, BINS, 2)))
        query.spread(codes, confidence, group, spreads[-1])
    assert (spreads[0] == spreads[1]).all() and (spreads[0] == spreads[2]).all()


def test_spread_of_strengths_found_in_another_way() -> None:
    query, codes, confidence, group = random_query(4000, 16, 2)
    found = np.zeros((2, 2, BINS, 2))
    query.spread(codes, confidence, group, found)
    strength = strength_of(query.relevancy(codes, confidence))
    assert strength.dtype == np.float16 and strength.shape == (2, 4000)
    other = spread_of(strength, confidence, group)
    np.testing.assert_allclose(other.sum(axis=2), found.sum(axis=2), rtol=1e-3)
    shares = (0.5, 0.01)
    np.testing.assert_allclose(mean_of_most_relevant(other, shares), mean_of_most_relevant(found, shares), atol=1e-3)
