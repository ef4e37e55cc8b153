"""The network against the numbers that L4GM's own code gives, where they are there, and against plain formulas."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from legs4d.generate.onepass import unet
from legs4d.generate.onepass.cameras import AZIMUTHS, L4GM, around, place_of, rays, seen_from, to_world
from legs4d.generate.onepass.checkpoint import shapes_of
from legs4d.generate.onepass.network import LGM, RECON, TINY4D, OnePass, Seen, Splats, Variant
from legs4d.generate.onepass.passes import mixed
from legs4d.generate.onepass.unet import AttentionBlock, Order, ResBlock, Sizes
from tests.generate.onepass.small import FREE, RAYS, networks

REFERENCE = Path("/work/shared/reference")
TOLERANCE = 2e-4


@cache
def reference() -> dict[str, NDArray[np.generic]]:
    path = REFERENCE / "l4gm_small.npz"
    if not path.exists():
        pytest.skip("the reference numbers of L4GM (l4gm_small.npz) are not on this machine")
    with np.load(path) as file:
        return dict(file)


def told(name: str) -> Tensor:
    return torch.from_numpy(reference()[name].astype(np.float32))


def state(prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): told(name) for name in reference() if name.startswith(prefix)}


def flat(splats: Splats) -> Tensor:
    """[B, T, N, 14] in the reference's order."""
    return torch.cat([splats.means, splats.opacities[..., None], splats.scales, splats.quats, splats.rgb], -1)


SMALL = Variant(
    "reference",
    Sizes(9, 14, (32, 32, 64, 64), (False, False, True, True), (64, 64, 32), (True, True, False)),
    64,
    "free",
    2,
)


@cache
def seen() -> Seen:
    """The reference's pictures: two moments of four views."""
    colors = told("model/rgb_uint8") / 255
    every = rays(around(64))
    eyes = torch.from_numpy(around(64).centers)
    there = torch.ones(1, 2, 4, dtype=torch.bool)
    alpha = torch.ones(1, 2, 4, 1, 64, 64)
    return Seen(colors, alpha, every.expand(1, 2, *every.shape), eyes.expand(1, 2, *eyes.shape), there)


@torch.no_grad()
def test_a_pass_gives_l4gms_numbers() -> None:
    network = OnePass(SMALL).eval()
    network.load_state_dict(state("weight/"))
    assert (network._told(seen()).flatten(0, 2) - told("model/input")[0]).abs().max() < 1e-6
    assert (flat(network(seen()))[0] - told("model/gaussians")).abs().max() < TOLERANCE
    first = Seen(*(values[:, :1] for values in vars(seen()).values()))
    assert (flat(network(first))[0] - told("model/gaussians_num_frames_1_first_frame")).abs().max() < TOLERANCE


@torch.no_grad()
def test_without_attention_over_time_it_is_lgm() -> None:
    network = OnePass(replace(SMALL, sizes=replace(SMALL.sizes, temporal=False))).eval()
    network.load_state_dict({name: value for name, value in state("weight/").items() if "t_attns" not in name})
    assert (flat(network(seen()))[0] - told("model/gaussians_no_temporal")).abs().max() < TOLERANCE


@torch.no_grad()
def test_blocks_give_l4gms_numbers() -> None:
    for name, temporal in (("cross_view_attention", False), ("temporal_attention", True)):
        block = AttentionBlock(32, 16, temporal=temporal)
        block.load_state_dict(state(f"unit/{name}/weight/"))
        # B = 1, T = 3, V = 4, as the reference's twelve pictures lie.
        assert (block(told(f"unit/{name}/in"), Order(3, 4)) - told(f"unit/{name}/out")).abs().max() < TOLERANCE
    for name, before, after in (("resnet", 32, 64), ("resnet_same", 32, 32)):
        residual = ResBlock(before, after)
        residual.load_state_dict(state(f"unit/{name}/weight/"))
        assert (residual(told(f"unit/{name}/in")) - told(f"unit/{name}/out")).abs().max() < TOLERANCE


def test_cameras_and_rays_are_l4gms() -> None:
    places = told("camera/elevation_azimuth_degrees").numpy()
    cameras = L4GM.cameras([place_of(e) for e in places[:, 0]], places[:, 1], 16)
    assert np.abs(cameras.world_to_camera - told("camera/w2c_opencv").numpy()).max() < 1e-5
    assert (rays(cameras).permute(0, 2, 3, 1) - told("camera/plucker_16")).abs().max() < 1e-5
    assert (rays(around(64)) - told("camera/default_rays_64")).abs().max() < 1e-5
    trained = told("camera/train_elevation_azimuth").numpy()
    cameras = seen_from(L4GM.cameras([place_of(e) for e in trained[:, 0]], trained[:, 1], 16))
    gl = np.linalg.inv(cameras.world_to_camera) @ np.diag([1, -1, -1, 1])
    assert np.abs(gl - told("camera/train_c2w_normalised").numpy()).max() < 1e-5


def test_interpolation_is_told_l4gms_mixtures() -> None:
    given = told("interp/in")
    assert (mixed(given[[0, 3]]) - told("interp/out")).abs().max() < 1e-6


# -- what stands without the reference ------------------------------------------------------------------------------


def test_every_weight_of_the_published_checkpoints_has_its_shape() -> None:
    shapes = {"l4gm": shapes_of(RECON), "lgm": shapes_of(LGM)}
    told_by = {
        "l4gm": (456, 466_464_544, "1a014916e879f22b"),
        "lgm": (376, 415_042_848, "33ad229ebbb86ece"),
    }
    for name, (count, parameters, digest) in told_by.items():
        assert len(shapes[name]) == count
        assert sum(math.prod(shape) for shape in shapes[name].values()) == parameters
        assert digest_of(shapes[name]) == digest
        path = REFERENCE / f"{name}_state_dict.json"
        if path.exists():
            assert {key: tuple(value) for key, value in json.loads(path.read_text()).items()} == shapes[name]


def digest_of(shapes: dict[str, tuple[int, ...]]) -> str:
    listed = json.dumps({name: list(shape) for name, shape in sorted(shapes.items())})
    return hashlib.sha256(listed.encode()).hexdigest()[:16]


def test_tiny4d_is_small_enough_to_ship() -> None:
    parameters = sum(math.prod(shape) for shape in shapes_of(TINY4D).values())
    assert parameters <= 7.4e6
    assert 2 * parameters <= 15e6
    assert TINY4D.splat_side == 64


@pytest.mark.parametrize("temporal", [False, True])
def test_attention_mixes_what_it_should_and_nothing_else(temporal: bool) -> None:
    """Two sets of two moments with three views, token by token in float64."""
    torch.manual_seed(1)
    block = AttentionBlock(32, 16, temporal=temporal).double()
    torch.nn.init.normal_(block.norm.weight)
    x = torch.randn(12, 32, 2, 2, dtype=torch.float64)
    with torch.no_grad():
        found = block(x, Order(2, 3))
        expected = x.clone()
        for picture in range(12):
            batch, moment, view = picture // 6, picture // 3 % 2, picture % 3
            together = (
                [6 * batch + 3 * t + view for t in range(2)]
                if temporal
                else [6 * batch + 3 * moment + v for v in range(3)]
            )
            tokens = torch.cat([normed(block, x[p]).flatten(1).T for p in together])
            own = normed(block, x[picture]).flatten(1).T
            q, k, v = block.attn.qkv.weight.view(3, 32, 32)
            for place in range(4):
                heads = []
                for head in range(16):
                    rows = slice(2 * head, 2 * head + 2)
                    logits = (tokens @ k[rows].T) @ (q[rows] @ own[place]) / 2**0.5
                    heads.append(logits.softmax(0) @ (tokens @ v[rows].T))
                mixed_in = block.attn.proj.weight @ torch.cat(heads) + block.attn.proj.bias
                at = expected[picture, :, place // 2, place % 2]
                at += mixed_in
        expected /= 2**0.5
    assert (found - expected).abs().max() < 1e-12


def normed(block: AttentionBlock, picture: Tensor) -> Tensor:
    """GroupNorm of 32 channels in 32 groups."""
    mean, variance = picture.mean((1, 2), keepdim=True), picture.var((1, 2), keepdim=True, unbiased=False)
    return (picture - mean) / (variance + 1e-5).sqrt() * block.norm.weight[:, None, None] + block.norm.bias[
        :, None, None
    ]


def test_parts_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long videos go through it, and as training does."""
    torch.manual_seed(3)
    network = networks(FREE).recon
    every = rays(around(16))
    pictures = torch.rand(1, 3, 4, 3, 16, 16)
    there = torch.ones(1, 3, 4, dtype=torch.bool)
    given = Seen(pictures, pictures[:, :, :, :1], every.expand(1, 3, *every.shape), every[None, :, :3, 0, 0], there)
    whole = flat(network(given))
    monkeypatch.setattr(unet, "PICTURES", 5)
    monkeypatch.setattr(unet, "QUERIES", 100)
    with torch.no_grad():
        assert (flat(network(given)) - whole).abs().max() < 1e-5


def test_the_first_camera_and_its_rays() -> None:
    cameras = around(512)
    assert np.allclose(cameras.centers, [[0, 0, 1.5], [1.5, 0, 0], [0, 0, -1.5], [-1.5, 0, 0]], atol=1e-6)
    assert abs(cameras.intrinsics[0, 0, 0] - 560.444) < 1e-3
    small = around(15)  # whose middle pixel looks at the middle of the world
    middle = rays(small)[:, :, 7, 7]
    assert torch.allclose(middle[:, :3], torch.zeros(4, 3), atol=1e-6)
    assert torch.allclose(middle[:, 3:], -torch.from_numpy(cameras.centers) / 1.5, atol=1e-6)
    raised = L4GM.cameras(20, AZIMUTHS, 15)
    assert np.allclose(seen_from(raised).centers[0], [0, 0, 1.5], atol=1e-6)
    back = to_world(raised) @ np.array([0, 0, 1.5, 1])
    assert np.allclose(back[:3], raised.centers[0], atol=1e-6) and back[1] > 0  # from above


@torch.no_grad()
def test_untrained_tiny4d_puts_the_picture_up_where_its_rays_pass() -> None:
    network = networks(RAYS).recon
    network.conv.weight.zero_()
    torch.manual_seed(2)
    colors = torch.rand(1, 1, 2, 3, 16, 16)
    every = rays(around(16).take([0, 1]))
    eyes = torch.from_numpy(around(16).centers[:2])
    given = torch.tensor([[[True, False]]])
    splats = network(Seen(colors, torch.ones(1, 1, 2, 1, 16, 16), every[None, None], eyes[None, None], given))
    side = RAYS.splat_side
    means = splats.means[0, 0].view(2, side, side, 3)
    assert torch.allclose(means.norm(dim=-1)[0, side // 2, side // 2], torch.tensor(0.0), atol=0.15)
    assert means[0, 0, 0, 1] > 0 > means[0, 0, 0, 0]  # up and to the left, as the first camera sees its first pixel
    rgb = splats.rgb[0, 0].view(2, side, side, 3)
    block = colors[0, 0, 0, :, :2, :2].mean((1, 2))
    assert torch.allclose(rgb[0, 0, 0], block, atol=1e-5)
    assert (splats.opacities[0, 0, side**2 :] < 0.1).all() and (splats.opacities[0, 0, : side**2] > 0.9).all()
