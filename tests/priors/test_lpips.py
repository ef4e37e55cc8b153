"""LPIPS gives the numbers of the `lpips` package, and says what is wrong with a file of weights."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.errors import Legs4dError
from legs4d.priors.perceptual.layers import NETWORKS, convolution_key, head_key
from legs4d.priors.perceptual.lpips import Lpips, open_lpips

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


def test_the_other_network_gives_the_numbers_of_the_lpips_package_too(tmp_path: Path) -> None:
    generator, network = np.random.default_rng(0), NETWORKS["vgg"]
    state = {}
    for layer in network.layers:
        for part, size, fan in (
            ("weight", layer.shape, float(np.prod(layer.shape[1:]))),
            ("bias", layer.shape[:1], 100.0),
        ):
            values = generator.standard_normal(size) * np.sqrt(2 / fan)
            state[convolution_key(layer, part)] = torch.from_numpy(values.astype(np.float32))
    for number, tap in enumerate(network.taps):
        head = generator.random((1, network.layers[tap].shape[0], 1, 1))
        state[head_key(number)] = torch.from_numpy(head.astype(np.float32))
    torch.save(state, tmp_path / "lpips.pth")
    first, second = generator.random((2, 2, 48, 64, 3)).astype(np.float32)
    second[1] = first[1] * 0.8 + 0.1
    distance = Lpips(tmp_path / "lpips.pth", CPU)(torch.from_numpy(first), torch.from_numpy(second))
    # lpips 0.1.4, LPIPS(net="vgg") with these weights, forward(first, second, normalize=True).
    np.testing.assert_allclose(distance.numpy(), [0.71361876, 0.00546694], rtol=1e-4)


def test_gradients_pass_even_where_nothing_is_lit(tmp_path: Path) -> None:
    torch.save(weights(np.random.default_rng(0)), tmp_path / "lpips.pth")
    black = torch.zeros(1, 40, 40, 3, requires_grad=True)
    Lpips(tmp_path / "lpips.pth", CPU)(black, torch.ones(1, 40, 40, 3)).sum().backward()
    assert black.grad is not None and torch.isfinite(black.grad).all() and black.grad.abs().max() > 0


def test_a_name_stands_for_the_weights_among_the_priors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGS4D_PRIORS", str(tmp_path))
    with pytest.raises(Legs4dError, match="the weights of lpips-vgg are not there; fetch them by `legs4d priors get"):
        open_lpips("vgg", CPU)


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
