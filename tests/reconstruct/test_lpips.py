"""LPIPS gives the numbers of the `lpips` package, and says what is wrong with a file of weights."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.errors import Legs4dError
from legs4d.reconstruct.evaluation.lpips import Lpips

CPU = torch.device("cpu")
LAYERS = {
    "net.slice1.0": (64, 3, 11, 11),
    "net.slice2.3": (192, 64, 5, 5),
    "net.slice3.6": (384, 192, 3, 3),
    "net.slice4.8": (256, 384, 3, 3),
    "net.slice5.10": (256, 256, 3, 3),
}


def weights(generator: np.random.Generator) -> dict[str, torch.Tensor]:
    """Weights as random as the numbers below were made with."""
    state = {}
    for name, shape in LAYERS.items():
        for part, size, fan in (("weight", shape, float(np.prod(shape[1:]))), ("bias", shape[:1], 100.0)):
            values = generator.standard_normal(size) * np.sqrt(2 / fan)
            state[f"{name}.{part}"] = torch.from_numpy(values.astype(np.float32))
    for number, shape in enumerate(LAYERS.values()):
        values = generator.random((1, shape[0], 1, 1)).astype(np.float32)
        state[f"lin{number}.model.1.weight"] = torch.from_numpy(values)
    return state


def test_distances_are_those_of_the_lpips_package(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    torch.save(weights(generator), tmp_path / "lpips.pth")
    first, second = generator.random((2, 2, 48, 64, 3)).astype(np.float32)
    second[1] = first[1] * 0.8 + 0.1
    distance = Lpips(tmp_path / "lpips.pth", CPU)(torch.from_numpy(first), torch.from_numpy(second))
    # lpips 0.1.4, LPIPS(net="alex") with these weights, forward(first, second, normalize=True).
    np.testing.assert_allclose(distance.numpy(), [0.9046374, 0.00397288], rtol=1e-4)


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(Legs4dError, match="there are no LPIPS weights"):
        Lpips(tmp_path / "none.pth", CPU)
    (tmp_path / "x.pth").write_bytes(b"not a file of weights")
    with pytest.raises(Legs4dError, match="cannot be read as weights"):
        Lpips(tmp_path / "x.pth", CPU)
    state = weights(np.random.default_rng(0))
    for key, value, says in (
        ("lin3.model.1.weight", None, "lin3.model.1.weight is not there"),
        ("net.slice1.0.bias", torch.zeros(3), r"net.slice1.0.bias is (3,), but must be (64,)"),
    ):
        broken = {name: tensor for name, tensor in state.items() if name != key}
        if value is not None:
            broken[key] = value
        torch.save(broken, tmp_path / "broken.pth")
        with pytest.raises(Legs4dError, match=re.escape(says)):
            Lpips(tmp_path / "broken.pth", CPU)


def test_pictures_that_are_too_small(tmp_path: Path) -> None:
    torch.save(weights(np.random.default_rng(0)), tmp_path / "lpips.pth")
    tiny = torch.zeros(1, 20, 64, 3)
    with pytest.raises(Legs4dError, match="64×20 are too small"):
        Lpips(tmp_path / "lpips.pth", CPU)(tiny, tiny)


def test_a_file_of_something_else_is_refused_without_advice_to_run_it(tmp_path: Path) -> None:
    (tmp_path / "lpips.pth").write_text("no weights")
    with pytest.raises(Legs4dError, match=r"cannot be read as weights \(damaged\)") as error:
        Lpips(tmp_path / "lpips.pth", CPU)
    assert "weights_only" not in str(error.value)
