"""Codes kept on a GPU answer as those read from the run do. Needs a CUDA device and csrc/cuda."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench.server.query import RandomPhrases, make_run

from legs4d.gaussians.store.run import Run
from legs4d.language.codec.linear import fit_linear_codec
from legs4d.language.field import LanguageField
from legs4d.raster import cuda_lift

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not cuda_lift.is_built(), reason="needs csrc/cuda"),
]


@pytest.mark.parametrize(("dim", "prompts"), [(64, 1), (13, 12)])
def test_sweeps_agree(tmp_path: Path, dim: int, prompts: int) -> None:
    from legs4d.language.resident import ResidentField

    run: Run = make_run(tmp_path / "run", frames=3, gaussians=5000, code_dim=dim, distinct=3)
    encoder, random = RandomPhrases(), np.random.default_rng(1)
    phrases = encoder.encode_text([str(i) for i in range(prompts)])
    codec = fit_linear_codec([phrases], max_dim=dim)  # phrases that the codes can tell apart
    assert codec.feature_dim == encoder.dim
    codes, confidence = run.moving_codes(1)
    confidence[:100] = 0
    run.write_codes(1, 20 * codes.astype(np.float32), confidence)
    front = random.random(5000) > 0.4
    nobody = np.zeros(0, bool)
    found, expected = (
        field(run, encoder=encoder, canonical=("object", "stuff")).sweep(
            phrases, nobody, lambda frame: front, (0.5, 0.01)
        )
        for field in (ResidentField, LanguageField)
    )
    assert all((of_prompt[1] > 0).any() for of_prompt in expected.moving)
    for ours, theirs in zip(found.moving, expected.moving, strict=True):
        for frame in range(3):
            np.testing.assert_allclose(ours[frame].astype(float), theirs[frame].astype(float), atol=2e-3)
    assert (expected.curves > 0).any()
    np.testing.assert_allclose(found.curves, expected.curves, atol=2e-3)


def test_frames_without_identity_agree(tmp_path: Path) -> None:
    from legs4d.gaussians.gaussians import Gaussians
    from legs4d.language.resident import ResidentField

    random, counts = np.random.default_rng(2), (900, 400, 0, 1200)

    def of(count: int) -> Gaussians:
        shape = {"means": 3, "quats": 4, "scales": 3, "colors": 3}
        arrays = {name: np.ones((count, width), np.float32) for name, width in shape.items()}
        return Gaussians(**arrays, opacities=np.ones(count, np.float32), is_foreground=random.random(count) > 0.4)

    encoder = RandomPhrases()
    phrases = encoder.encode_text(["one", "two", "three"])
    codec = fit_linear_codec([phrases], max_dim=13)
    run = Run.create(tmp_path / "run")
    run.write_geometry(of(300), of(0), len(counts), max_loose=max(counts))
    arrays, attributes = codec.to_arrays()
    run.write_codec(attributes.pop("name"), arrays, attributes)
    width = codec.code_dim
    run.write_static_codes(random.normal(size=(300, width)), np.ones(300))
    for frame, count in enumerate(counts):
        run.write_loose(frame, of(count))
        run.write_codes(frame, random.normal(size=(count, width)), random.random(count))

    def front(frame: int) -> np.ndarray:
        return run.loose(frame).is_foreground

    found, expected = (
        field(run, encoder=encoder, canonical=("object", "stuff")).sweep(
            phrases, run.static().is_foreground, front, (0.5, 0.01)
        )
        for field in (ResidentField, LanguageField)
    )
    np.testing.assert_allclose(found.curves, expected.curves, atol=2e-3)
    assert (expected.curves > 0).any()
    for ours, theirs in zip(found.moving, expected.moving, strict=True):
        for frame, count in enumerate(counts):
            assert ours[frame].shape == (count,)
            np.testing.assert_allclose(ours[frame].astype(float), theirs[frame].astype(float), atol=2e-3)
