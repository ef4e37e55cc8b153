"""CLIP's scores of moving objects are the reference's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from legs4d.language.metrics import clip_score, clip_t, distance

REFERENCE = Path(__file__).resolve().parents[3] / "shared/reference/4dgen.npz"


@pytest.mark.skipif(not REFERENCE.exists(), reason="needs shared/reference/4dgen.npz beside the checkout")
def test_scores_are_those_of_the_reference() -> None:
    with np.load(REFERENCE, allow_pickle=False) as file:
        known = {name: file[name] for name in file.files if name.startswith("clip")}
    rendered, reference = known["clip_rendered_features"], known["clip_reference_features"]
    np.testing.assert_allclose(distance(rendered, reference[:, None]), known["clip_distance_each"], atol=1e-5)
    assert clip_score(rendered, reference) == pytest.approx(float(known["clip_score"]), abs=1e-5)
    assert clip_t(known["clipt_features"]) == pytest.approx(float(known["clipt_score"]), abs=1e-5)


def test_distances_are_half_the_squared_angle() -> None:
    x, y = np.array([2.0, 0, 0]), np.array([0, 3.0, 0])
    assert distance(x, y) == pytest.approx((np.pi / 2) ** 2 / 2) and distance(x, 5 * x) == 0
    assert clip_t(np.stack([x])) == 0
