"""Clips and training of `tiny4d`, at sizes for a CPU."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from training.synthetic.dice import Dice
from training.synthetic.pictures.render import render_plainly
from training.tiny4d.bodies import SORTS, _built, bodies
from training.tiny4d.filming import JUDGED, NOBODY, RING, Filmed, Studio, _light, cameras, scene_of
from training.tiny4d.rig import Rig
from training.tiny4d.step import BETWEEN, CHAINED, FOUR, ONE, Judge, Weights, show
from training.tiny4d.training import HELD_OUT_SEED, LOG, MEASURED, WEIGHTS, Settings, Training

from legs4d.generate.onepass.cameras import AZIMUTHS, around, lens_of
from legs4d.generate.onepass.network import TINY4D, Splats

CPU = torch.device("cpu")
SIZE, CLIPS = 32, 3
SMALL = replace(
    TINY4D,
    sizes=replace(TINY4D.sizes, down=(32, 32), down_attention=(False, True), up=(32, 32), up_attention=(True, False)),
    size=SIZE,
)
SETTINGS = Settings(steps=4, clips=2, pool=4, chunk=2, stock=2, held_out=2, judged=1, single=0.5)


@pytest.fixture(scope="module")
def clips() -> Filmed:
    return Studio(5, CPU, SIZE, SIZE // 2).clips(CLIPS)


def test_something_is_there_in_every_picture_and_nothing_reaches_its_edge(clips: Filmed) -> None:
    assert clips.pictures.shape == (CLIPS, 4, RING + JUDGED, 4, SIZE, SIZE)
    alpha = clips.pictures[:, :, :, 3]
    assert (alpha.amax((-1, -2)) > 200).all()
    edge = torch.cat([alpha[..., 0, :], alpha[..., -1, :], alpha[..., 0], alpha[..., -1]], -1)
    assert (edge > 0).float().mean() < 0.01


def projected(points: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
    """Columns and rows of points [3, n] in a picture of SIZE."""
    seen = lens_of(SIZE) @ (pose[:3, :3] @ points + pose[:3, 3:])
    return seen[0] / seen[2], seen[1] / seen[2]


def test_points_lie_on_the_surface_that_all_cameras_see(clips: Filmed) -> None:
    """A point that one camera sees is seen, or hidden, by every other: never beside the object."""
    for clip in range(CLIPS):
        for ring in range(RING):
            solid = clips.solid[clip, 1, ring]
            points = clips.points[clip, 1, ring].float()[:, solid]
            column, row = projected(points, clips.poses[clip, ring])
            at = torch.nonzero(solid).T
            assert (row - 2 * at[0] - 1).abs().max() < 0.1 and (column - 2 * at[1] - 1).abs().max() < 0.1
            for other in range(RING + JUDGED):
                column, row = (
                    values.floor().long().clamp(1, SIZE - 2) for values in projected(points, clips.poses[clip, other])
                )
                alpha = clips.pictures[clip, 1, other, 3]
                near = torch.nn.functional.max_pool2d(alpha[None].float(), 3, 1, 1)[0]
                assert (near[row, column] > 0).all()


def test_the_ring_is_l4gms(clips: Filmed) -> None:
    own = torch.from_numpy(around(SIZE).world_to_camera)
    assert torch.allclose(clips.poses[:, 0], own[:1].expand(CLIPS, -1, -1), atol=1e-5)
    back = torch.linalg.inv(clips.poses)[:, :, :3, 3]
    assert torch.allclose(back.norm(dim=-1), torch.full((CLIPS, RING + JUDGED), 1.5), atol=1e-4)
    # Opposite cameras of a ring stand at one height, whether it is level for the first camera or for the world.
    chords = (back[:, 0] - back[:, 2]).norm(dim=-1)
    assert (chords > 1.5).all()
    assert any(torch.allclose(pose[:RING], own, atol=1e-5) for pose in clips.poses)
    assert len(AZIMUTHS) == RING


def test_what_is_given_is_what_the_mode_says(clips: Filmed) -> None:
    random = torch.Generator().manual_seed(0)
    given = {mode: show(clips, False, 1, random, mode).seen for mode in (ONE, FOUR, CHAINED, BETWEEN)}
    assert given[ONE].given[0].tolist() == [[True, False, False, False]] * 4
    assert given[FOUR].given[0].tolist() == [[True] * 4] + [[True, False, False, False]] * 3
    assert given[BETWEEN].given.all()
    truth = clips.pictures[:, :, :RING, :3].float() / 255 + 1 - clips.pictures[:, :, :RING, 3:].float() / 255
    assert torch.allclose(given[FOUR].colors, truth)
    assert not torch.allclose(given[CHAINED].colors[:, 0, 1:], truth[:, 0, 1:])
    assert torch.allclose(given[CHAINED].colors[:, :, 0], truth[:, :, 0])
    third = (2 * truth[:, 0] + truth[:, 3]) / 3
    assert torch.allclose(given[BETWEEN].colors[:, 1], third, atol=1e-6)
    alone = show(clips, True, 1, random).seen
    assert alone.given.shape == (4 * CLIPS, 1, 4) and alone.given[:, 0, 0].all()


def true_splats(clips: Filmed) -> Splats:
    """What the true points would give as splats."""
    shape = (*clips.points.shape[:2], -1)
    solid = clips.solid.reshape(shape)
    side = clips.points.shape[-1]
    small = torch.nn.functional.avg_pool2d(clips.pictures[:, :, :RING].flatten(0, 2).float() / 255, SIZE // side)
    small = small.view(*clips.points.shape[:3], 4, side, side).permute(0, 1, 2, 4, 5, 3).reshape(*shape, 4)
    means = clips.points.float().permute(0, 1, 2, 4, 5, 3).reshape(*shape, 3)
    count = solid.shape[2]
    quats = torch.tensor([1.0, 0, 0, 0]).expand(*shape[:2], count, 4)
    scales = torch.full((*shape[:2], count, 3), 0.03)
    return Splats(means, 0.95 * solid, scales, quats, small[..., :3] / small[..., 3:].clamp(min=0.05))


def test_true_splats_are_better_than_an_empty_picture(clips: Filmed) -> None:
    """Cameras, points and renderer agree: the true surface looks like the object from where none of it was told."""
    judge = Judge(SIZE, CPU, Weights())
    shown = show(clips, False, JUDGED, torch.Generator().manual_seed(0), ONE)
    splats = true_splats(clips)
    white = torch.ones(3)
    parts = judge.loss(shown, splats, white, 0.0)
    empty = judge.loss(shown, replace(splats, opacities=0 * splats.opacities), white, 0.0)
    assert parts["picture"] < 0.8 * empty["picture"] and parts["alpha"] < 0.6 * empty["alpha"]
    assert parts["direct"] < 0.1
    assert "direct" not in judge.loss(shown, splats, white, 0.7)


@pytest.mark.long
def test_a_training_that_was_stopped_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    whole = Training(SETTINGS, CPU, tmp_path / "whole", variant=SMALL)
    whole.run()
    part = Training(SETTINGS, CPU, tmp_path / "parts", variant=SMALL)
    part.run(stop=lambda: part.step == 2)
    rest = Training(SETTINGS, CPU, tmp_path / "parts", variant=SMALL)
    assert (part.step, rest.step) == (2, 2)
    rest.run()
    found, expected = (load_file(tmp_path / name / WEIGHTS) for name in ("parts", "whole"))
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert expected["conv.weight"].dtype == torch.float16
    with pytest.raises(SystemExit, match="other settings"):
        Training(replace(SETTINGS, rate=1e-3), CPU, tmp_path / "parts", variant=SMALL)
    with pytest.raises(ValueError, match="held-out"):
        Training(replace(SETTINGS, seed=HELD_OUT_SEED), CPU, tmp_path / "other", variant=SMALL)
    rows = [json.loads(line) for line in (tmp_path / "whole" / LOG).read_text().splitlines()]
    assert math.isfinite(rows[-1]["loss"])
    measured = json.loads((tmp_path / "whole" / MEASURED).read_text().splitlines()[-1])
    assert {"one_input", "one_novel", "four_novel", "chained_novel", "between_novel", "white"} <= measured.keys()


@pytest.mark.long
def test_it_learns(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=30, pool=8, chunk=4, held_out=2, reuse=6.0)
    training = Training(settings, CPU, tmp_path, variant=SMALL)
    before = training.measure()
    training.run()
    after = training.measure()
    assert after["one_input"] > before["one_input"] + 2
    assert after["one_novel"] > before["one_novel"] and after["one_novel"] > after["white"] + 2


def test_codes_are_the_primitives_numbers() -> None:
    """By which points are found: what a ray meets first."""
    studio = Studio(3, CPU, SIZE, SIZE // 2)
    dice = Dice(4, CPU)
    things = bodies(dice, 2, studio._shapes)
    poses, turn = cameras(dice, 2)
    zero = torch.zeros(2, dtype=torch.int64)
    codes = render_plainly(scene_of(things, poses, turn, _light(dice, 2), torch.arange(2), zero), 16).codes
    for clip in range(2):
        there = set(codes[clip].unique().tolist()) - {NOBODY}
        assert there and all(things.kind[clip, number] > 0 for number in there)


@pytest.mark.parametrize("build", [build for build, _, _ in SORTS])
def test_what_is_built_fills_its_cube_and_no_more(build: Callable[[Dice, int], Rig]) -> None:
    things = _built(build(Dice(1, CPU), 6), 0.2)
    there = things.kind > 0
    assert there.any(1).all() and torch.isfinite(things.inverse).all()
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    turn, shift = things.inverse[..., :3], things.inverse[..., 3]
    places = (torch.linalg.inv(turn)[..., None, :, :] @ (corners - shift[..., None, :])[..., None])[..., 0]
    inside = places[there[:, None].expand(-1, things.inverse.shape[1], -1)]
    # An ellipsoid reaches less far than the corners of its box.
    assert inside.abs().max() < 0.5 * 3**0.5
    assert (inside.amax((0, 1)) - inside.amin((0, 1))).max() > 0.9


def test_most_are_seen_straight_from_the_front() -> None:
    """Whose x looks at the first camera: a quarter of the clips would by chance."""
    _, turn = cameras(Dice(2, CPU), 400)
    facing = turn[:, 2, 0]  # +z of the cameras' world is towards the first one
    assert 0.45 < (facing > 0.9).float().mean() < 0.75 and (facing < -0.9).any()
