"""Objects told apart while they are followed: one that leaps is found again, and what touches is not held together."""

from __future__ import annotations

import numpy as np
import torch

from legs4d.config import MotionRates, NodeSettings, TrackingSettings
from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster import render
from legs4d.reconstruct.nodes import carry, place_nodes
from legs4d.reconstruct.objects.centers import triangulated
from legs4d.reconstruct.objects.motion import TrackedObjects
from legs4d.reconstruct.observation import CameraColors, Observation
from legs4d.reconstruct.tracker import Tracker
from legs4d.reconstruct.tracking import Motion, find_neighbours, find_structure
from legs4d.scene.stage import Stage
from tests.reconstruct.test_stages import SCENE, ball

STAGE = Stage(np.array([0, -0.4, 0], np.float32), 3.3, np.array([0, 1, 0], np.float32), near=1.0)
SETTINGS = TrackingSettings(steps=20, cameras_per_step=8, rates=MotionRates(means=4e-3, quats=4e-3, colors=0))
ONE = TrackedObjects(np.array([7]), np.zeros(150, np.int64))


def seen(truth: Gaussians) -> Observation:
    """What the cameras see of a ball, with its masks."""
    cameras = SCENE.cameras("train")
    with torch.no_grad():
        shown = render(truth, cameras, torch.ones(len(truth), 1), near=STAGE.near)
    assert shown.features is not None
    alpha = shown.features[..., 0]
    return Observation(cameras, shown.color, alpha, np.where(alpha.numpy() > 0.5, 7, 0).astype(np.uint8))


def follow(first: Gaussians, observed: Observation, objects: TrackedObjects | None) -> Gaussians:
    nothing = first.take(torch.zeros(len(first), dtype=torch.bool))
    colors = CameraColors(torch.zeros(8, 3), torch.zeros(8, 3))
    structure = find_structure(first.means, SETTINGS, objects)
    motion = Motion(first, (first.means, first.quats))
    return Tracker(colors, structure, STAGE, 1.0, SETTINGS).track(motion, nothing, observed, 1)[0]


def test_a_ball_that_leaps_farther_than_it_is_wide_is_found_by_its_masks() -> None:
    first = ball()
    truth = first.replace(means=first.means + torch.tensor([1.3, -0.2, 0.4]))
    observed = seen(truth)

    def off(objects: TrackedObjects | None) -> float:
        return float((follow(first, observed, objects).means - truth.means).norm(dim=1).mean())

    assert off(None) > 0.4, "found without its masks: the leap is no test"
    assert off(ONE) < 0.05


def test_what_goes_on_as_before_is_begun_as_before() -> None:
    first = ball()
    step = torch.tensor([0.3, 0.0, 0.0])
    predicted = first.means + step, first.quats
    observed = seen(first.replace(means=first.means + step))
    assert observed.labels is not None
    begun = ONE.begin((first.means, first.quats), predicted, observed.labels, observed.cameras, STAGE.near)
    assert begun[0] is predicted[0]
    # and what is in no picture goes on too, wherever that is
    nowhere = np.zeros_like(observed.labels)
    assert ONE.begin((first.means, first.quats), predicted, nowhere, observed.cameras, STAGE.near)[0] is predicted[0]


def test_what_stops_at_once_is_begun_where_it_is() -> None:
    first = ball()
    predicted = first.means + torch.tensor([1.5, 0.0, 0.0]), first.quats
    observed = seen(first)
    assert observed.labels is not None
    begun = ONE.begin((first.means, first.quats), predicted, observed.labels, observed.cameras, STAGE.near)
    torch.testing.assert_close(begun[0].mean(dim=0), first.means.mean(dim=0), atol=0.05, rtol=0)


def test_rays_through_hidden_parts_do_not_draw_the_middle() -> None:
    truth = ball()
    observed = seen(truth)
    assert observed.labels is not None
    masks = observed.labels == 7
    middle = truth.means.mean(dim=0).numpy()
    whole = triangulated(masks, observed.cameras, smallest=4)
    masks[0, :, : masks[0].any(axis=0).nonzero()[0][-1]] = False  # one column of it is left in one view
    assert whole is not None and np.linalg.norm(whole - middle) < 0.05
    drawn, held = (triangulated(masks, observed.cameras, smallest=1, rounds=rounds) for rounds in (0, 4))
    assert drawn is not None and held is not None
    assert np.linalg.norm(held - middle) < 0.5 * np.linalg.norm(drawn - middle)
    assert triangulated(np.zeros_like(masks), observed.cameras) is None


def test_touching_objects_have_nodes_and_neighbours_of_their_own() -> None:
    generator = torch.Generator().manual_seed(1)
    means = torch.rand(60, 3, generator=generator)
    rows = np.repeat([0, 1, -1], [50, 9, 1])  # a large one, a small one in its middle, and something that is nobody's
    nodes = place_nodes(means, NodeSettings(count=6, bindings=3), torch.as_tensor(rows))
    held = torch.as_tensor(rows)[nodes.gaussian][nodes.index]
    assert (held[nodes.weight > 0] == torch.as_tensor(rows)[:, None].expand_as(held)[nodes.weight > 0]).all()
    torch.testing.assert_close(nodes.weight.sum(dim=1), torch.ones(60))
    shifts = torch.zeros(len(nodes.gaussian), 3)
    shifts[torch.as_tensor(rows)[nodes.gaussian] == 1, 0] = 1.0
    turns = torch.tensor([1.0, 0, 0, 0]).repeat(len(shifts), 1)
    moved, _ = carry(nodes, means, torch.tensor([1.0, 0, 0, 0]).repeat(60, 1), shifts, turns)
    expected = torch.zeros(60, 3)
    expected[50:59, 0] = 1.0
    torch.testing.assert_close(moved - means, expected, atol=1e-5, rtol=0)
    near = find_neighbours(means, TrackingSettings(neighbours=20), rows)
    apart = torch.as_tensor(rows)[near.index] != torch.as_tensor(rows)[:, None]
    assert not apart.any()
    assert (near.weight[50:59, :8] > 0).all() and (near.weight[50:59, 8:] == 0).all() and (near.weight[59] == 0).all()
