"""Distances by depth maps, of which each has a scale and an offset of its own, and by parallax."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from legs4d.context import Context
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.video.scene.depth import affine
from legs4d.video.scene.distance import CONTACT, DEPTH, PARALLAX, SIZE, Placed, distances_of, surface_depth
from legs4d.video.scene.filming import HELD_AT, Filming, default_intrinsics, still
from legs4d.video.scene.parallax import parallax_distances
from tests.priors.depth_twin import depth_twin
from tests.video import drawn
from tests.video.test_video import few_steps, make

__all__ = ["few_steps"]

Floats = NDArray[np.float64]
FAR = [2.0, 2.2, 2.4, 2.6, 2.8]
"""Of a ball that flies away from the camera though it seems as large, frame by frame."""


def inverse_depths(frame: int) -> Floats:
    """[H, W] of the drawn video, if its camera stands over a floor, before a wall at 6, with boxes on a third of it."""
    focal = default_intrinsics(drawn.WIDTH, drawn.HEIGHT)[1, 1]
    below = (np.arange(drawn.HEIGHT) + 0.5 - drawn.HEIGHT / 2) / focal
    found = np.repeat(np.maximum(below / HELD_AT, 1 / 6)[:, None], drawn.WIDTH, axis=1)
    found[:, : drawn.WIDTH // 3] = 1 / 1.8
    found[drawn.inside(frame)] = 1 / FAR[frame]
    return found


def write_maps(folder: Path, frames: list[int]) -> Path:
    folder.mkdir()
    chance = np.random.default_rng(2)
    for frame in frames:
        scale, offset = 20_000 * chance.uniform(1, 2), 9_000 * chance.uniform(0, 1)
        values = scale * inverse_depths(frame) * chance.normal(1, 0.01, (drawn.HEIGHT, drawn.WIDTH)) + offset
        Image.fromarray(np.rint(values).astype(np.uint16)).save(folder / f"{frame + 3:05d}.png")
    return folder


def test_scale_and_offset_of_what_mostly_disagrees() -> None:
    chance = np.random.default_rng(0)
    true = chance.uniform(0.05, 0.6, 2000)
    values = (true - 0.2) / 0.03
    values[:1400] += chance.uniform(1, 9, 1400)
    found = affine(values, true)
    assert found is not None and found == pytest.approx((0.03, 0.2), rel=0.02)


def test_a_wall_tells_no_scale() -> None:
    chance = np.random.default_rng(0)
    assert affine(chance.uniform(0, 1, 500), chance.uniform(0.30, 0.31, 500)) is None
    assert affine(np.arange(9.0), np.arange(9.0)) is None


def test_depth_maps_tell_where_what_flies_is(tmp_path: Path) -> None:
    clip = drawn.write(tmp_path / "clip")
    make(clip, tmp_path / "run", fps=10.0, depth=str(write_maps(tmp_path / "maps", [0, 1, 3, 4])))
    (told,) = Run.open(tmp_path / "run").info["report"]["objects"]
    # a ball's surface is nearer than its middle, by a tenth of its distance here
    assert np.array(told["distance"]) * 0.94 == pytest.approx(FAR, rel=0.08)
    assert told["routes"] == [DEPTH, DEPTH, SIZE, DEPTH, DEPTH] and "depth map in 4 of 5" in told["why"]
    warnings = Run.open(tmp_path / "run").info["report"]["warnings"]
    assert any("were found in 4 of 5 frames; in others" in text for text in warnings)


def test_a_helper_makes_depth_maps_which_count_only_where_they_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = drawn.write(tmp_path / "clip")
    monkeypatch.setenv("LEGS4D_PRIORS", str(tmp_path / "none"))
    with pytest.raises(Legs4dError, match="no helper that makes depth maps is there"):
        make(clip, tmp_path / "run", make_depth=True)
    depth_twin(tmp_path / "priors" / "depth-anything")
    monkeypatch.setenv("LEGS4D_PRIORS", str(tmp_path / "priors"))
    looked: list[str] = []
    context = Context("cpu", progress=lambda told: looked.append(told.stage))
    found = make(clip, tmp_path / "run", context, make_depth=True, fps=10.0)
    assert "depth_maps" in looked and np.isfinite(found["objects"][0]["distance"]).all()
    # what a random network says of the floor is not what a floor is like
    assert any("Depth maps are not used" in text for text in found["warnings"])
    with pytest.raises(Legs4dError, match="depth maps are given too"):
        make(clip, tmp_path / "other", make_depth=True, depth=str(tmp_path))


def test_maps_of_other_pictures_are_told(tmp_path: Path) -> None:
    clip = drawn.write(tmp_path / "clip")
    maps = tmp_path / "maps"
    maps.mkdir()
    np.save(maps / "left.npy", np.ones((4, 4)))
    begun: list[str] = []
    context = Context("cpu", progress=lambda told: begun.append(told.stage))
    with pytest.raises(Legs4dError, match=r"holds 1 depth maps \(left.npy\) for 5 pictures, none of their names"):
        make(clip, tmp_path / "run", context, depth=str(maps))
    assert "reading_pictures" in begun and not {"finding_the_camera", "objects"} & set(begun)  # before what takes long


def walking(count: int, step: float) -> Filming:
    """A camera that goes sideways."""
    filming = still(count, 480, 320, None, "")
    poses = filming.world_to_camera.copy()
    poses[:, 0, 3] = -step * np.arange(count)
    return replace(filming, world_to_camera=poses, route="given")


def seen_from(filming: Filming, worlds: list[Floats], noise: float) -> list[Floats]:
    """Places in the cameras' axes whose middle has z 1, a little off in the picture (pixels)."""
    chance = np.random.default_rng(1)
    found = []
    for frame, world in enumerate(worlds):
        inside = (world - filming.center(frame)) @ filming.turn(frame).T
        places = inside / inside[:, 2].mean()
        focal = filming.intrinsics[frame, 0, 0]
        off = chance.normal(0, noise / focal, (len(places), 2)) * places[:, 2:]
        found.append(np.concatenate([places[:, :2] + off, places[:, 2:]], axis=1))
    return found


def cloud(middle: tuple[float, float, float]) -> Floats:
    around = np.random.default_rng(0).normal(size=(200, 3))
    return np.asarray(middle) + 0.3 * around / np.linalg.norm(around, axis=1, keepdims=True)


def test_rays_to_what_stands_still_meet() -> None:
    filming, there = walking(12, 0.05), np.ones(12, bool)
    found = parallax_distances(seen_from(filming, [cloud((0.2, 0.5, 4.0))] * 12, 0.2), there, filming)
    assert found == pytest.approx(np.full(12, 4.0), rel=0.03)


def test_what_moves_or_is_seen_from_one_place_has_no_parallax() -> None:
    there = np.ones(12, bool)
    walk = walking(12, 0.05)
    falls = [cloud((0.2, 0.01 * frame**2, 4.0)) for frame in range(12)]
    assert np.isnan(parallax_distances(seen_from(walk, falls, 0.2), there, walk)).all()
    stands = walking(12, 0.0)
    assert np.isnan(parallax_distances(seen_from(stands, falls, 0.2), there, stands)).all()
    hardly = walking(12, 0.0005)
    assert np.isnan(parallax_distances(seen_from(hardly, [cloud((0.2, 0.5, 4.0))] * 12, 0.2), there, hardly)).all()


def test_what_stands_on_a_table_is_told_by_parallax_and_goes_on_by_its_size() -> None:
    """The floor alone would have it twice as far away."""
    filming, there = walking(24, 0.05), np.ones(24, bool)
    worlds = [cloud((0.3, 0.5 - 0.01 * max(0, frame - 11) ** 2, 3.0)) for frame in range(24)]
    bent = seen_from(filming, worlds, 0.2)
    still_at = parallax_distances(bent, there, filming)
    assert np.isfinite(still_at[:12]).all() and np.isnan(still_at[16:]).all()
    masks = np.zeros((24, 8, 8), bool)
    masks[:, 2:6, 2:6] = True
    placed = Placed(bent, np.ones(24), there, there, masks, "vase", parallax=still_at)
    (told,) = distances_of([placed], filming)
    assert told.factors == pytest.approx(np.full(24, 3.0), rel=0.04)
    assert told.routes[:12] == (PARALLAX,) * 12 and set(told.routes[16:]) <= {SIZE, CONTACT}
    (alone,) = distances_of([Placed(bent, np.ones(24), there, there, masks, "vase")], filming)
    assert alone.factors[0] > 4.5


def test_the_surface_is_what_is_in_front() -> None:
    places = cloud((0.0, 0.0, 4.0))
    assert surface_depth(places) == pytest.approx(4.0 - 2 / 3 * 0.3, abs=0.08)
