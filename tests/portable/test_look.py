"""The formulas of the look: numbers worked out by hand, and the same from numpy's and torch's arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from legs4d.portable import look
from legs4d.portable.look import NUMPY, Amounts, Arrays, Combined


def test_a_layers_weight_rises_smoothly_around_its_threshold() -> None:
    relevancy = np.array([0.4, 0.45, 0.5, 0.55, 0.6], np.float32)
    found = look.weight(NUMPY, relevancy, 0.5, 0.1, 0.5)
    np.testing.assert_allclose(found, 0.5 * np.array([0, 0.15625, 0.5, 0.84375, 1]), atol=1e-6)
    np.testing.assert_allclose(look.weight(NUMPY, relevancy, 0.5, 0.0, 1.0), [0, 0, 0.5, 1, 1], atol=1e-3)


def test_layers_together_weigh_as_the_strongest_and_mix_their_colours() -> None:
    none = np.zeros(2, np.float32)
    found = Combined(none, none, np.zeros((2, 3), np.float32))
    for weights, color in (([0.75, 0.0], (1.0, 0.0, 0.0)), ([0.25, 0.0], (0.0, 0.0, 1.0))):
        found = look.combine(NUMPY, found, np.array(weights, np.float32), np.array(color, np.float32))
    assert found.strongest.tolist() == [0.75, 0.0]
    assert look.tint(NUMPY, found).tolist() == [[0.75, 0.0, 0.25], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("amounts", "named", "other"),
    [
        (Amounts(tint=1.0), [0.15 * 0.2, 0.15 * 0.2 + 0.85 * 0.55, 0.15 * 0.2], [0.2] * 3),
        (Amounts(tint=0.5), [0.575 * 0.2, 0.575 * 0.2 + 0.425 * 0.55, 0.575 * 0.2], [0.2] * 3),
        (Amounts(desaturate=1.0), [0.2] * 3, [0.11] * 3),
        (Amounts(isolate=1.0, outline=1.0), [0.2] * 3, [0.2] * 3),
    ],
)
def test_colours_under_the_layers(amounts: Amounts, named: list[float], other: list[float]) -> None:
    """A grey of 0.2 under a green layer that names the first of two."""
    grey, green = np.full((2, 3), 0.2), np.tile([0.0, 1.0, 0.0], (2, 1))
    strongest = np.array([1.0, 0.0])
    shown = look.colored(NUMPY, grey, strongest, green, amounts)
    np.testing.assert_allclose(shown, [named, other], atol=1e-9)
    assert look.changed(strongest, amounts).tolist() == [named != [0.2] * 3, other != [0.2] * 3]


def test_opacities_under_the_layers() -> None:
    captured, strongest = np.array([0.8, 0.8, 0.8]), np.array([1.0, 0.5, 0.0])
    np.testing.assert_allclose(look.opacity(NUMPY, captured, strongest, Amounts(isolate=0.5)), [0.8, 0.6, 0.4])
    np.testing.assert_allclose(look.outline_opacity(captured, strongest, Amounts(outline=0.5)), [0.4, 0.2, 0.0])


def test_a_lit_picture() -> None:
    picture = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    how = {"tint_amount": 0.5, "desaturate": 1.0, "dim": 0.5}
    found = look.lit_picture(NUMPY, picture, np.array([1.0, 0.0]), np.array([0.0, 1.0, 0.0]), **how)
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.0], [0.1495] * 3])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, [0.2, 0.4, 0.1]),
        ({"exposure": 1.0}, [0.4, 0.8, 0.2]),
        ({"hue": 2 * np.pi / 3}, [0.1, 0.2, 0.4]),
        ({"saturation": 0.0}, [0.2126 * 0.2 + 0.7152 * 0.4 + 0.0722 * 0.1] * 3),
        ({"saturation": 1.25}, [1.25 * c - 0.25 * 0.33582 for c in (0.2, 0.4, 0.1)]),
        ({"lift": (0.5, 0.0, -0.1)}, [0.6, 0.4, 0.01]),
        ({"gain": (2.0, 1.0, 0.0)}, [0.4, 0.4, 0.0]),
        ({"gamma": (2.0, 1.0, 0.5)}, [0.2**0.5, 0.4, 0.01]),
        ({"lift": (-1.0, -1.0, -1.0)}, [0.0, 0.0, 0.0]),
    ],
)
def test_a_grade_of_one_colour(values: dict[str, Any], expected: list[float]) -> None:
    captured = np.array([[0.2, 0.4, 0.1]] * 2)
    for on, colors, weight in (
        (NUMPY, captured, np.array([1.0, 0.25])),
        (Arrays(torch), torch.as_tensor(captured), torch.tensor([1.0, 0.25])),
    ):
        graded = np.asarray(look.graded(on, colors, weight, look.Grade(**values)))
        np.testing.assert_allclose(graded[0], expected, atol=1e-9)
        np.testing.assert_allclose(graded[1], 0.75 * captured[0] + 0.25 * np.array(expected), atol=1e-9)


def test_srgb_there_and_back() -> None:
    encoded = np.array([0.0, 0.04, 0.5, 1.0])
    np.testing.assert_allclose(NUMPY.linear(encoded), [0.0, 0.04 / 12.92, 0.21404114, 1.0], atol=1e-8)
    np.testing.assert_allclose(NUMPY.encoded(NUMPY.linear(encoded)), encoded, atol=1e-9)


def test_torch_has_the_same_look() -> None:
    rng = np.random.default_rng(0)
    color, tint, strongest = rng.random((9, 3)), rng.random((9, 3)), rng.random(9)
    amounts, on = Amounts(0.7, 0.6, 0.5, 0.4), Arrays(torch)
    tensors = [torch.as_tensor(values) for values in (color, strongest, tint)]
    theirs = look.colored(on, tensors[0], tensors[1], tensors[2], amounts)
    np.testing.assert_allclose(theirs.numpy(), look.colored(NUMPY, color, strongest, tint, amounts), rtol=1e-12)
    theirs = look.weight(on, torch.as_tensor(strongest), 0.5, 0.2, 0.9)
    np.testing.assert_allclose(theirs.numpy(), look.weight(NUMPY, strongest, 0.5, 0.2, 0.9), rtol=1e-12)
    theirs = on.encoded(on.linear(torch.as_tensor(color)))
    np.testing.assert_allclose(theirs.numpy(), color, atol=1e-12)


def test_every_amount_is_described_and_offered() -> None:
    assert all(look.AMOUNTS.values())
    chosen = [dict(preset.amounts) for preset in look.PRESETS.values()]
    assert all({name: 1.0} in chosen for name in look.AMOUNTS)


def test_files_find_the_preset_that_they_were_saved_with() -> None:
    """A .blend file has the number alone: one that changes gives old files another look."""
    numbers = {name: preset.number for name, preset in look.PRESETS.items()}
    saved = {"HIGHLIGHT": 0, "DESATURATE": 1, "ISOLATE": 2, "OUTLINE": 3, "NONE": 4}
    assert saved.items() <= numbers.items() and len(set(numbers.values())) == len(numbers)
