"""Pictures: over the wire the same as the library's rasteriser gives, and what clients do to Gaussians before them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from backend.compute.look import Layer, show
from backend.compute.placement import Part, between, moved_by, place, quaternions, rotations
from backend.compute.rendering import _limited, _of_degree, _within
from backend.service.requests import RenderLimits, RenderLook
from legs4d.gaussians.gaussians import SH_C0, Gaussians, concatenate
from legs4d.gaussians.store.run import Run
from legs4d.grounding import query
from legs4d.portable.look import AMOUNTS, Amounts
from legs4d.raster import render
from legs4d.scene.camera import Cameras
from tests.backend.conftest import ServerProcess, random_gaussians, serving
from tests.backend.plain_client import PlainClient, RefusedError
from tests.synthetic import CAPTION_FLYING, Scene, write_run

FRAME = 2


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    home = tmp_path_factory.mktemp("pictures")
    write_run(home / "root" / "ball", Scene())
    with serving(home) as server:
        yield server


@pytest.fixture(scope="module")
def run(shared_server: ServerProcess) -> Run:
    return Run.open(shared_server.roots[0] / "ball")


def sample(cameras: Cameras, frame: float = FRAME, **changes: Any) -> dict[str, Any]:
    """The first camera, both clouds as captured."""
    k, rows = cameras.intrinsics[0], cameras.world_to_camera[0].tolist()
    lens = {"fx": float(k[0, 0]), "fy": float(k[1, 1]), "cx": float(k[0, 2]), "cy": float(k[1, 2])}
    return {"frame": float(frame), **lens, "static": rows, "dynamic": rows, **changes}


def body(cameras: Cameras, *samples: dict[str, Any], **changes: Any) -> dict[str, Any]:
    size = {"width": cameras.width, "height": cameras.height}
    return {"run": "ball", **size, "samples": list(samples) or [sample(cameras)], "passes": ["combined"], **changes}


def picture(client: PlainClient, asked: dict[str, Any]) -> dict[str, np.ndarray]:
    return client.reply(client.send("render", **asked)).arrays


def srgb(values: np.ndarray) -> np.ndarray:
    """Encoded values of linear ones (IEC 61966-2-1)."""
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 1e-9) ** (1 / 2.4) - 0.055)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((one - other) ** 2)))


def test_a_request_can_name_every_way_to_stand_out() -> None:
    assert list(RenderLook.model_fields) == list(AMOUNTS)


def test_the_picture_is_the_rasterisers_in_linear_light(client: PlainClient, run: Run) -> None:
    cameras = run.cameras("test")
    expected = render(run.frame(FRAME).torch(), cameras.take([0]), near=run.info["near"], depth=True)
    assert expected.depth is not None
    passes = ["combined", "alpha", "depth"]
    found = picture(client, body(cameras, background=[0.0, 0.0, 0.0], passes=passes))
    assert psnr(srgb(found["combined"][..., :3]), expected.color[0].clamp(0, 1).numpy()) > 90
    assert np.all(found["combined"][..., 3] == 1)
    np.testing.assert_allclose(found["alpha"], expected.alpha[0], atol=1e-5)
    seen = found["alpha"] > 0.5
    np.testing.assert_allclose(found["depth"][seen], (expected.depth / expected.alpha)[0].numpy()[seen], rtol=1e-4)


def test_without_a_background_color_is_premultiplied(client: PlainClient, run: Run) -> None:
    cameras = run.cameras("test")
    moving_only = sample(cameras, static=None)
    found = picture(client, body(cameras, moving_only, passes=["combined", "alpha", "depth"]))
    color, alpha = found["combined"][..., :3], found["combined"][..., 3]
    np.testing.assert_array_equal(alpha, found["alpha"])
    assert 0 < (alpha > 0.5).mean() < 0.2
    assert np.all(found["depth"][alpha < 1e-4] == 1e10)
    alone = render(run.dynamic(FRAME).torch(), cameras.take([0]), near=run.info["near"])
    middle = alpha > 0.9
    straight = (alone.color[0] / alone.alpha[0][..., None]).numpy()[middle]
    np.testing.assert_allclose(srgb(color[middle] / alpha[middle][:, None]), straight.clip(0), atol=1e-3)


def test_masks_are_relevancy_and_the_highlight_is_what_shows(client: PlainClient, run: Run) -> None:
    cameras = run.cameras("test")
    (grounding,) = query(run, [CAPTION_FLYING])
    layer = {
        "name": "a",
        "prompt": CAPTION_FLYING,
        "threshold": 0.5,
        "softness": 0.1,
        "strength": 0.5,
        "color": [0.0, 0.0, 1.0],
    }
    asked = body(cameras, layers=[layer], passes=["combined", "highlight", "masks"])
    found = picture(client, asked)
    relevancy = torch.as_tensor(np.rint(grounding.frame(FRAME) * 255) / 255, dtype=torch.float32)[:, None]
    expected = render(run.frame(FRAME).torch(), cameras.take([0]), relevancy, near=run.info["near"])
    assert expected.features is not None
    np.testing.assert_allclose(found["mask:a"], expected.features[0, ..., 0], atol=1e-5)
    on_ball = found["mask:a"] > 0.9
    assert 0 < on_ball.mean() < 0.2
    np.testing.assert_allclose(found["highlight"][on_ball], 0.5, atol=0.05)
    plain = picture(client, body(cameras))["combined"]
    assert np.mean(found["combined"][on_ball][:, 2] - plain[on_ball][:, 2]) > 0.05
    far = found["highlight"] < 1e-4
    np.testing.assert_allclose(found["combined"][far], plain[far], atol=1e-4)


def test_samples_are_averaged_in_light(client: PlainClient, run: Run) -> None:
    cameras = run.cameras("test")
    pictures = [picture(client, body(cameras, sample(cameras, frame)))["combined"] for frame in (2.0, 2.5, 3.0)]
    mean = picture(client, body(cameras, *(sample(cameras, frame) for frame in (2.0, 2.5, 3.0))))
    np.testing.assert_allclose(mean["combined"], np.mean(pictures, axis=0), atol=1e-5)


def test_a_newer_picture_of_a_view_takes_the_place_of_the_older(client: PlainClient, run: Run) -> None:
    cameras = run.cameras("test")
    many = [sample(cameras)] * 64
    older = client.send("render", **body(cameras, *many, view="a"))
    newer = client.send("render", **body(cameras, view="a"))
    assert client.reply(newer).kind == "ok"
    with pytest.raises(RefusedError, match="newer"):
        client.reply(older)


def test_another_revision_is_refused(client: PlainClient, run: Run) -> None:
    with pytest.raises(RefusedError, match="trained anew"):
        client.ask("render", **body(run.cameras("test"), revision="of yesterday"))


def covariances(gaussians: Gaussians) -> np.ndarray:
    root = rotations(gaussians.quats) * gaussians.scales[:, None, :]
    return (root @ root.transpose(1, 2)).numpy()


@pytest.mark.parametrize(
    "linear",
    [
        [[0.0, -2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 2.0]],
        [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[1.0, 0.7, 0.0], [0.0, 3.0, 0.2], [0.1, 0.0, 0.5]],
    ],
    ids=["turned and doubled", "mirrored", "sheared"],
)
def test_affine_maps_move_means_and_covariances(linear: list[list[float]]) -> None:
    cloud = random_gaussians(np.random.default_rng(1), 50).torch()
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3], matrix[:3, 3] = torch.tensor(linear), torch.tensor([1.0, 2.0, 3.0])
    moved = moved_by(cloud, matrix)
    a = np.array(linear)
    np.testing.assert_allclose(moved.means, cloud.means.numpy() @ a.T + [1, 2, 3], atol=1e-5)
    np.testing.assert_allclose(covariances(moved), a @ covariances(cloud) @ a.T, atol=2e-5)
    np.testing.assert_allclose(moved.quats.norm(dim=1), 1, atol=1e-5)
    assert bool((moved.scales >= 0).all())


def test_quaternions_of_half_turns_are_found() -> None:
    quats = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0.5, 0.5, -0.5, 0.5]])
    np.testing.assert_allclose((quaternions(rotations(quats)) * quats).sum(1).abs(), 1, atol=1e-6)


def test_parts_that_stand_apart_are_seen_where_they_stand(run: Run) -> None:
    """Moving one cloud by hand is the same picture as its matrix."""
    cameras, still = run.cameras("test"), run.static().torch()
    world = torch.as_tensor(cameras.world_to_camera[0], dtype=torch.float64)
    shifted = torch.eye(4, dtype=torch.float64)
    shifted[0, 3] = 0.4
    moving = run.dynamic(FRAME).torch()
    none = torch.empty((0, 0))
    placed = place([Part(still, none, world), Part(moving, none, world @ shifted)])
    camera = Cameras(placed.world_to_camera.numpy()[None], cameras.intrinsics[:1], cameras.width, cameras.height, (0,))
    found = render(placed.gaussians, camera, near=run.info["near"]).color
    by_hand = run.frame(FRAME).torch()
    by_hand.means[len(still) :] += torch.tensor([0.4, 0.0, 0.0])
    expected = render(by_hand, cameras.take([0]), near=run.info["near"]).color
    assert psnr(found.numpy(), expected.numpy()) > 60


def test_limits_cut_long_axes() -> None:
    cloud = random_gaussians(np.random.default_rng(5), 2).torch().replace(scales=torch.tensor([[9.0, 1, 2], [3, 3, 3]]))
    cut = _limited(cloud, RenderLimits(largest=4.0)).scales
    assert cut.tolist() == [[4, 1, 2], [3, 3, 3]]
    assert _limited(cloud, RenderLimits(slenderness=1.5)).scales.tolist() == [[3, 1, 2], [3, 3, 3]]
    assert _limited(cloud, None) is cloud


def test_distance_and_degree_are_the_cameras_and_the_clients(run: Run) -> None:
    cloud = run.static().torch()
    to_camera = torch.diag(
        torch.tensor([2.0, 2.0, 2.0, 1.0], dtype=torch.float64)
    )  # two of its units a unit of the run
    distance = 2 * cloud.means.norm(dim=1)
    middle = float(distance.median())
    limits = RenderLimits(nearest=middle / 2, farthest=middle)
    expected = (distance >= middle / 2) & (distance <= middle)
    assert 0 < int(expected.sum()) < len(cloud)
    assert torch.equal(_within(cloud, to_camera, limits), expected)
    seen = cloud.replace(sh_rest=torch.rand(len(cloud), 15, 3))
    assert seen.sh_rest is not None
    assert [_of_degree(seen, degree).sh_rest is None for degree in (0, 3)] == [True, False]
    second = _of_degree(seen, 2).sh_rest
    assert second is not None and torch.equal(second, seen.sh_rest[:, :8])


def test_a_picture_can_be_of_the_mean_of_frames(client: PlainClient, run: Run) -> None:
    cameras = run.cameras("test")
    means = np.mean([run.dynamic(FRAME + step).means for step in (-1, 0, 1)], axis=0)
    moving = run.dynamic(FRAME)
    assert all(((run.born <= FRAME - 1) & (run.died >= FRAME + 1)).tolist())
    turned = [run.dynamic(FRAME + step).quats for step in (-1, 0, 1)]
    quats = np.sum([quat * np.sign((quat * turned[1]).sum(1, keepdims=True)) for quat in turned], axis=0)
    colors = np.mean([run.dynamic(FRAME + step).colors for step in (-1, 0, 1)], axis=0)
    mean = moving.replace(means=means, quats=quats / np.linalg.norm(quats, axis=1, keepdims=True), colors=colors)
    expected = render(
        concatenate(run.static(), mean).torch(), cameras.take([0]), near=run.info["near"], background=torch.zeros(3)
    )
    found = picture(client, body(cameras, average=1, background=[0.0, 0.0, 0.0]))["combined"]
    assert psnr(srgb(found[..., :3]), expected.color[0].clamp(min=0).numpy()) > 60
    assert psnr(found, picture(client, body(cameras, background=[0.0, 0.0, 0.0]))["combined"]) < 60


def test_rotations_turn_at_constant_speed() -> None:
    one = random_gaussians(np.random.default_rng(2), 1).torch()
    angle = 1.2
    start = one.replace(quats=torch.tensor([[1.0, 0, 0, 0]]))
    end = one.replace(quats=-torch.tensor([[np.cos(angle / 2), 0, 0, np.sin(angle / 2)]], dtype=torch.float32))
    quarter = between(start, end, 0.25).quats[0]
    np.testing.assert_allclose(quarter.numpy(), [np.cos(angle / 8), 0, 0, np.sin(angle / 8)], atol=1e-5)


def test_the_look_of_layers() -> None:
    """Two greys, 0.5 linear; the layer means the first."""
    encoded = 1.055 * 0.5 ** (1 / 2.4) - 0.055
    cloud = random_gaussians(np.random.default_rng(3), 2).torch()
    cloud = cloud.replace(colors=torch.full((2, 3), (encoded - 0.5) / SH_C0), opacities=torch.ones(2))
    relevancy, eye = torch.tensor([[1.0], [0.0]]), torch.tensor([0.0, 0.0, -5.0])
    layers = [Layer(1.0, 0.5, 0.1, (1.0, 0.0, 0.0))]

    def shown(**amounts: float) -> Gaussians:
        return show(cloud, relevancy, layers, Amounts(**amounts), eye).gaussians

    lit = srgb(np.array([0.5 + 0.85 * (0.85 - 0.5), 0.5 - 0.85 * 0.5, 0.5 - 0.85 * 0.5]))
    np.testing.assert_allclose(shown(tint=1.0).rgb[0], lit, atol=1e-4)
    np.testing.assert_allclose(shown(tint=1.0).rgb[1], np.full(3, encoded), atol=1e-6)
    assert shown(isolate=1.0).opacities.tolist() == [1.0, 0.0]
    assert shown(isolate=0.5).opacities.tolist() == [1.0, 0.5]
    dimmed = shown(desaturate=1.0).rgb
    np.testing.assert_allclose(dimmed[0], np.full(3, encoded), atol=1e-5)
    np.testing.assert_allclose(dimmed[1], srgb(np.full(3, 0.55 * 0.5)), atol=1e-5)
    outlined = shown(outline=1.0)
    assert len(outlined) == 3
    np.testing.assert_allclose(outlined.rgb[2], [1.0, 0.0, 0.0], atol=1e-3)
    away = cloud.means[0] - eye
    np.testing.assert_allclose(outlined.means[2], eye + 1.01 * away, atol=1e-5)
    np.testing.assert_allclose(outlined.scales[2], cloud.scales[0] + 0.004 * away.norm(), atol=1e-6)
