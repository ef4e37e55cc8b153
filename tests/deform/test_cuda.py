"""What a GPU does otherwise: the blend by kernels of its own, and a fit that replays a captured step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from legs4d import pipeline
from legs4d.context import Context
from legs4d.deform.fields.binding import Binding
from legs4d.deform.fields.blend import blend
from legs4d.reconstruct.fitting.adam_group import BETA1, BETA2, EPSILON, Moments, step_group
from tests.deform.conftest import asked
from tests.deform.film import write_film
from tests.deform.test_stage import score

pytestmark = pytest.mark.gpu


def test_blending_is_that_of_the_processor() -> None:
    index = torch.stack([torch.randperm(50, generator=torch.Generator().manual_seed(i))[:4] for i in range(900)])
    weight = torch.softmax(torch.randn(900, 4), dim=1)
    values, pull, found = torch.randn(3, 50, 17), torch.randn(3, 900, 17), []
    learned = torch.softmax(torch.randn(1000, 4), dim=1)
    for device in ("cpu", "cuda"):
        binding = Binding.empty(1000, 4, 50, torch.device(device))
        binding.set(index.to(device), weight.to(device))
        leaf, other = (values.clone().to(device).requires_grad_() for _ in range(2))
        given = learned[:900].to(device).requires_grad_()
        out, leant = blend(leaf, binding, 900), blend(other, binding, 900, given)
        (out + leant).backward(pull.to(device))
        assert leaf.grad is not None and other.grad is not None and given.grad is not None
        found.append([part.detach().cpu() for part in (out, leaf.grad, leant, other.grad, given.grad)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_large_step_of_adam_is_that_of_the_processor() -> None:
    start, found = torch.randn(40_000, 3), []
    for device in ("cpu", "cuda"):
        value = start.clone().to(device).requires_grad_()
        moments = Moments.of(value.detach())
        for step in range(3):
            value.grad = (value.detach() - step).clone()
            step_group([value], [moments], 0.01 if device == "cpu" else torch.tensor(0.01, device=device))
        found.append(value.detach().cpu())
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)
    assert (BETA1, BETA2, EPSILON) == (0.9, 0.999, 1e-15)


def test_a_film_is_fitted_as_on_the_processor(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film")
    made = [
        score(pipeline.reconstruct(film, tmp_path / engine, asked(), Context(engine=engine)), film)
        for engine in ("cpu", "cuda")
    ]
    assert abs(made[0] - made[1]) < 1.5 and made[1] > 24
