"""Cameras around an object, and shapes made of one silhouette or found to turn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.errors import Legs4dError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.generate.lenses import FOURDGEN, SYNCDREAMER, Lens
from legs4d.generate.motion.rigid import Graph
from legs4d.generate.placing import Placed, place
from legs4d.generate.shapes.agreement import agreement
from legs4d.generate.shapes.inflate import inflate
from legs4d.generate.shapes.revolve import revolve, roundness
from legs4d.generate.shapes.turntable import find_turn
from legs4d.progress import StageReporter, Stopped
from legs4d.raster.rasterise import render
from legs4d.scene.camera import Cameras

REFERENCE = Path(__file__).resolve().parents[3] / "shared/reference/4dgen.npz"
SIDE = 64


def disc(radius: float = 20) -> np.ndarray:
    """[SIDE, SIDE, 4] a grey disc, with a red left half."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2
    found = np.zeros((SIDE, SIDE, 4), np.uint8)
    found[np.hypot(x, y) < radius] = (128, 128, 128, 255)
    found[(np.hypot(x, y) < radius) & (x < 0)] = (255, 0, 0, 255)
    return found


def seen_from(shape: Gaussians, cameras: Cameras, near: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    drawn = render(shape.torch(), cameras, background=torch.ones(3), near=near)
    return drawn.color.numpy(), drawn.alpha.numpy()


@pytest.mark.skipif(not REFERENCE.exists(), reason="needs shared/reference/4dgen.npz beside the checkout")
def test_cameras_are_those_of_4dgen() -> None:
    with np.load(REFERENCE, allow_pickle=False) as file:
        reference = {name: file[name] for name in file.files if name.startswith("cam_")}
    cameras = Cameras.together([FOURDGEN.cameras(0, 0, 512), FOURDGEN.pseudo(512)])
    assert cameras.ids == tuple(range(17))
    np.testing.assert_allclose(cameras.world_to_camera, reference["cam_w2c_opencv"], atol=1e-6)
    np.testing.assert_allclose(cameras.intrinsics[3], reference["cam_K_opencv_512"], rtol=1e-6)
    points = np.concatenate([reference["cam_points"], np.ones((10, 1))], axis=1)
    inside = np.einsum("cij,nj->cni", cameras.world_to_camera, points)[..., :3]
    pixels = np.einsum("ij,cnj->cni", cameras.intrinsics[0], inside)
    # There a pixel's middle is a whole number.
    np.testing.assert_allclose(pixels[..., :2] / pixels[..., 2:] - 0.5, reference["cam_points_pixels_512"], atol=1e-2)


def test_a_disc_is_blown_up_to_a_lens_that_looks_as_it_did_from_the_front() -> None:
    shape = inflate(disc(), FOURDGEN, 4000)
    color, alpha = seen_from(shape.gaussians, FOURDGEN.cameras([0, 0, 0], [0, 90, 180], SIDE))
    truth = disc()[..., 3] > 0
    assert ((alpha[0] > 0.5) & truth).sum() / ((alpha[0] > 0.5) | truth).sum() > 0.87
    wide = [(a > 0.5).any(axis=0).sum() for a in alpha]
    assert 0.85 < wide[1] / wide[0] < 1.15  # a ball
    np.testing.assert_allclose(color[0][SIDE // 2, SIDE // 2 - 10], (1, 0, 0), atol=0.05)
    # From behind left is right: the mirrored side shows the front's colours where they are.
    np.testing.assert_allclose(color[2][SIDE // 2, SIDE // 2 + 10], (1, 0, 0), atol=0.05)
    assert shape.seen.mean() == 0.5 and (shape.gaussians.means[shape.seen == 1, 2] > 0).all()


def test_a_disc_is_turned_to_a_ball() -> None:
    assert roundness(disc()) > 0.97
    lame = disc()
    lame[:, :24] = 0
    lame[30:34, 10:50] = (9, 9, 9, 255)
    assert roundness(lame) < 0.8
    shape = revolve(disc(), FOURDGEN, 4000)
    away = np.linalg.norm(shape.gaussians.means, axis=1)
    assert np.quantile(away, 0.95) / np.quantile(away, 0.05) < 1.1
    assert away.mean() == pytest.approx(20 / SIDE * 2 * FOURDGEN.reach, rel=0.05)
    assert 0.4 < shape.seen.mean() < 0.6


def box() -> Gaussians:
    """A block with a wing, which looks different from all sides."""
    rng = np.random.default_rng(0)
    body = rng.uniform((-0.15, -0.5, -0.35), (0.15, 0.5, 0.35), (2500, 3))
    wing = rng.uniform((0.15, 0.1, -0.05), (0.6, 0.3, 0.05), (800, 3))
    means = np.concatenate([body, wing]).astype(np.float32)
    count = len(means)
    return Gaussians(
        means,
        np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        np.full((count, 3), 0.03, np.float32),
        np.full(count, 0.95, np.float32),
        (means - means.mean(axis=0)) * 2,
        np.ones(count, np.bool_),
    )


def test_silhouettes_agree_with_their_own_cameras_alone() -> None:
    azimuths = 45.0 * np.arange(8)
    cameras = SYNCDREAMER.cameras(30, azimuths, SIDE)
    alphas = seen_from(box(), cameras, 0.3)[1].astype(np.float32)
    assert agreement(alphas, cameras, SYNCDREAMER.reach) > 0.95
    assert agreement(alphas, SYNCDREAMER.cameras(30, -azimuths, SIDE), SYNCDREAMER.reach) < 0.9


@pytest.mark.long
def test_a_turntable_is_found_and_a_thing_that_stands_still_is_none() -> None:
    cameras = FOURDGEN.cameras(20, -30.0 * np.arange(12), SIDE)
    turn = find_turn(seen_from(box(), cameras)[1].astype(np.float32), FOURDGEN)
    assert (turn.elevation, turn.degrees, turn.is_sure) == (20, -30, True)
    still = FOURDGEN.cameras(20, np.zeros(12), SIDE)
    assert not find_turn(seen_from(box(), still)[1].astype(np.float32), FOURDGEN).is_sure


def test_nodes_are_carried_along_by_those_that_are_seen() -> None:
    rng = np.random.default_rng(0)
    rest = rng.uniform((-1, -0.2, -0.2), (1, 0.2, 0.2), (60, 3))
    turn = np.array([[np.cos(0.6), -np.sin(0.6), 0], [np.sin(0.6), np.cos(0.6), 0], [0, 0, 1]])
    truth = rest @ turn.T + (0.3, 0, 0)
    trust = np.zeros((60, 3))
    trust[::2, :2] = 4
    now, quats = Graph.of(rest).moved(rest, truth, trust)
    for _ in range(5):
        now, quats = Graph.of(rest).moved(now, truth, trust)
    assert np.abs(now - truth).max() < 0.02
    np.testing.assert_allclose(np.abs(quats[:, [0, 3]]), [[np.cos(0.3), np.sin(0.3)]] * 60, atol=0.03)


def test_the_camera_of_a_known_thing_is_found_to_a_fraction_of_a_pixel() -> None:
    """Of another lens than is usual, in a picture that was cut out aside of the lens's middle."""
    camera = Lens(31.0, 3.1).cameras(16.7, 131.3, 2 * SIDE)
    camera = replace(camera, intrinsics=camera.intrinsics + np.array([[0, 0, 7], [0, 0, -5], [0, 0, 0]], np.float32))
    color, alpha = seen_from(box(), camera)
    picture = np.concatenate([color[0] - 1 + alpha[0][..., None], alpha[0][..., None]], axis=-1)
    shown = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    found = place(box(), np.array([0.0, 1, 0]), shown, "film", StageReporter("looking"))
    off = np.linalg.norm(pixels(found.camera, box().means) - pixels(camera, box().means), axis=1)
    assert found.overlap > 0.98 and found.difference < 0.02 and np.sqrt(np.square(off).mean()) < 0.4
    assert found.elevation == pytest.approx(16.7, abs=2.5) and found.azimuth == pytest.approx(131.3, abs=2.5)


def test_where_a_camera_was_found_is_told_in_whole_degrees() -> None:
    camera = FOURDGEN.cameras(0, 0, SIDE)
    told = [Placed(camera, 1, 0, *place).told() for place in ((-1.6, 359.6), (16.7, 131.3), (-0.4, 0))]
    assert told == ["2° below, 0° about", "17° above, 131° about", "0° above, 0° about"]


def pixels(camera: Cameras, points: np.ndarray) -> np.ndarray:
    """[N, 2] where one camera sees points [N, 3]."""
    pose = camera.world_to_camera[0].astype(np.float64)
    seen = (points @ pose[:3, :3].T + pose[:3, 3]) @ camera.intrinsics[0].T
    return seen[:, :2] / seen[:, 2:]


def placed(shape: Gaussians, camera: Cameras, reporter: StageReporter | None = None) -> Placed:
    """Where `place` takes what a camera sees of a shape to be seen from."""
    color, alpha = seen_from(shape, camera)
    picture = np.concatenate([color[0] - 1 + alpha[0][..., None], alpha[0][..., None]], axis=-1)
    shown = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    return place(shape, np.array([0.0, 1, 0]), shown, "film", reporter or StageReporter("looking"))


def test_what_is_small_and_aside_in_a_picture_is_looked_at_near_by() -> None:
    camera = Lens(31.0, 30.0).cameras(16.7, 131.3, 4 * SIDE)
    camera = replace(camera, intrinsics=camera.intrinsics + np.array([[0, 0, 80], [0, 0, -70], [0, 0, 0]], np.float32))
    found = placed(box(), camera)
    off = np.linalg.norm(pixels(found.camera, box().means) - pixels(camera, box().means), axis=1)
    assert found.camera.width == 4 * SIDE and found.overlap > 0.95 and np.sqrt(np.square(off).mean()) < 0.6
    # From where it is seen, not where the camera's axis points: that passes the thing by ten degrees.
    assert found.elevation == pytest.approx(16.7, abs=2.5) and found.azimuth == pytest.approx(131.3, abs=2.5)


def test_the_camera_of_few_gaussians_in_one_place_is_found() -> None:
    some = box().take(slice(4))
    some = some.replace(means=np.zeros((4, 3), np.float32), scales=np.full((4, 3), 0.2, np.float32))
    assert placed(some, FOURDGEN.cameras(0, 0, SIDE)).overlap > 0.95


@pytest.mark.parametrize("seen", [0, 3])
def test_a_known_thing_of_which_hardly_anything_is_seen_is_told(seen: int) -> None:
    faint = box().replace(opacities=np.where(np.arange(len(box())) < seen, 0.9, 0.04).astype(np.float32))
    with pytest.raises(Legs4dError, match=rf"film: {seen} Gaussians can be seen of the known .*seen at its frame 0"):
        placed(faint, FOURDGEN.cameras(0, 0, SIDE))


@pytest.mark.parametrize("looks", [5, 160])
def test_looking_for_a_camera_stops_when_told(looks: int) -> None:
    """Early, while all around is looked at, and late, within the solver."""

    class Later:
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > looks

    stop = Later()
    with pytest.raises(Stopped):
        placed(box(), FOURDGEN.cameras(10, 40, 2 * SIDE), StageReporter("looking", stop=stop))
    assert stop.asked == looks + 1
