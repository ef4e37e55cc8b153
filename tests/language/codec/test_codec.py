"""The linear codec keeps cosines, and scores prompts without decoding."""

import numpy as np
import pytest

from legs4d.errors import RunError
from legs4d.language.codec.linear import LinearCodec, fit_linear_codec

RNG = np.random.default_rng(3)


def unit_rows(count: int, dim: int) -> np.ndarray:
    rows = RNG.normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_rows_in_a_plane_need_two_numbers_and_come_back_exactly():
    u, v, away = np.linalg.qr(RNG.normal(size=(20, 3)))[0].T
    rows = np.array([0.3 * away + a * u + b * v for a, b in RNG.normal(size=(50, 2))], np.float32)
    codec = fit_linear_codec([rows[:10], rows[10:]], energy=1.0)
    assert codec.basis.shape == (2, 20)
    assert codec.energy == pytest.approx(1)
    np.testing.assert_allclose(codec.basis @ codec.basis.T, np.eye(2), atol=1e-6)
    np.testing.assert_allclose(codec.decode(codec.encode(rows)), rows, atol=1e-5)


def test_dimension_is_the_least_that_explains_the_energy_asked_for():
    # Independent directions with variances 8, 4, 2, 1, 1 of 16: cumulated 0.5, 0.75, 0.875, 0.9375, 1.
    signs = np.array(np.meshgrid(*[[-1, 1]] * 5)).reshape(5, -1).T
    rows = (signs * np.sqrt([8, 4, 2, 1, 1])).astype(np.float32)
    for energy, dim in [(0.5, 1), (0.51, 2), (0.75, 2), (0.8, 3), (0.9, 4), (1.0, 5)]:
        codec = fit_linear_codec([rows], energy=energy)
        assert len(codec.basis) == dim
    assert len(fit_linear_codec([rows], energy=1.0, max_dim=3).basis) == 3
    assert fit_linear_codec([rows], energy=1.0, max_dim=3).energy == pytest.approx(14 / 16)


def test_scores_are_the_cosines_of_the_decoded_features():
    rows, phrases = unit_rows(40, 32), unit_rows(5, 32)
    codec = fit_linear_codec([rows], max_dim=6)
    codes = codec.encode(0.5 * (rows + rows[::-1])).astype(np.float16)
    features = codec.mean.astype(np.float64) + codes.astype(np.float64) @ codec.basis.astype(np.float64)
    expected = features @ phrases.T / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(codec.cosines(codes, phrases), expected, atol=2e-5)


def test_scores_do_not_depend_on_how_many_are_asked_at_once(monkeypatch):
    rows, phrases = unit_rows(100, 16), unit_rows(2, 16)
    codec = fit_linear_codec([rows], max_dim=8)
    whole = codec.cosines(codec.encode(rows), phrases)
    monkeypatch.setattr("legs4d.language.codec.linear._CHUNK", 7)
    np.testing.assert_allclose(codec.cosines(codec.encode(rows), phrases), whole, atol=1e-6)


def test_default_energy_moves_cosines_by_less_than_it_promises():
    captions = unit_rows(200, 384)
    codec = fit_linear_codec([captions], max_dim=384)
    assert np.abs(codec.cosines(codec.encode(captions), captions) - captions @ captions.T).max() < 0.05


def test_a_sequence_that_says_one_thing_only_is_legal():
    row = unit_rows(1, 8)
    codec = fit_linear_codec([row, row, row])
    assert codec.basis.shape == (1, 8) and codec.energy == 1
    np.testing.assert_allclose(codec.cosines(codec.encode(row), row), [[1]], atol=1e-6)


def test_opposite_features_that_cancel_score_zero_not_nan():
    codec = LinearCodec(np.zeros(3, np.float32), np.eye(3, dtype=np.float32)[:2], 1.0)
    assert codec.cosines(np.zeros((1, 2), np.float16), unit_rows(1, 3))[0, 0] == 0


def test_round_trip_through_a_run_and_refusal_of_another_codec():
    codec = fit_linear_codec([unit_rows(9, 4)])
    again = LinearCodec.from_arrays(*codec.to_arrays())
    np.testing.assert_array_equal(again.basis, codec.basis)
    np.testing.assert_array_equal(again.mean, codec.mean)
    with pytest.raises(RunError, match="autoencoder"):
        LinearCodec.from_arrays({}, {"name": "autoencoder"})
