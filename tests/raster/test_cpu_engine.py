"""The CPU engine against the float64 twin, finite differences and closed forms."""

import math
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from legs4d.gaussians.gaussians import SH_C0, Gaussians
from legs4d.raster import lift_weights, render
from legs4d.raster.lift import lift_few
from legs4d.raster.reference import render_reference
from legs4d.scene.camera import Cameras

NEAR = 0.2


def ring_of_cameras(count: int, width: int, height: int, focal: float = 40.0, distance: float = 4.0) -> Cameras:
    """Cameras on a circle, all looking at the origin."""
    poses = []
    for i in range(count):
        angle = 2 * math.pi * i / count
        forward = -np.array([math.sin(angle), 0.1, math.cos(angle)])
        forward /= np.linalg.norm(forward)
        right = np.cross([0.0, 1.0, 0.0], forward)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        pose = np.eye(4)
        pose[:3, :3] = rotation
        pose[:3, 3] = rotation @ (forward * distance)
        poses.append(pose)
    intrinsics = np.array([[focal, 0, width / 2 + 0.7], [0, focal * 1.1, height / 2 - 0.4], [0, 0, 1]])
    return Cameras(
        np.asarray(poses, np.float32),
        np.repeat(intrinsics[None], count, 0).astype(np.float32),
        width,
        height,
        tuple(range(count)),
    )


def random_gaussians(count: int, seed: int, spread: float = 1.0, size: float = 0.15) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    return Gaussians(
        means=(uniform(count, 3) * 2 - 1) * spread,
        quats=torch.randn(count, 4, generator=generator),
        scales=size * (0.2 + uniform(count, 3)),
        opacities=0.05 + 0.95 * uniform(count),
        colors=(uniform(count, 3) - 0.5) / SH_C0,
        is_foreground=torch.ones(count, dtype=torch.bool),
    )


PARAMETERS = ("means", "quats", "scales", "opacities", "colors")


def with_gradients(gaussians: Gaussians, dtype: torch.dtype) -> Gaussians:
    return gaussians.replace(**{k: getattr(gaussians, k).detach().to(dtype).requires_grad_() for k in PARAMETERS})


def gradient(leaf: torch.Tensor) -> torch.Tensor:
    """What `backward()` left at a leaf."""
    assert leaf.grad is not None
    return leaf.grad


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("feature_count", [0, 1, 2, 6])
def test_agrees_with_float64_twin(feature_count: int, antialiased: bool) -> None:
    cameras = ring_of_cameras(3, 53, 37)
    torch.manual_seed(1)
    base = random_gaussians(300, seed=7)
    features = torch.rand(300, feature_count)
    background = torch.rand(3, 3 + feature_count)
    weights = torch.rand(3, 37, 53, 3 + feature_count + 1, dtype=torch.float64) - 0.3
    alpha_weights = torch.rand(3, 37, 53, dtype=torch.float64) - 0.5

    twin = with_gradients(base, torch.float64)
    twin_features = features.double().requires_grad_()
    expected, expected_alpha = render_reference(
        twin, cameras, torch.cat([twin.rgb, twin_features], 1), background.double(), NEAR, antialiased
    )
    ((expected * weights).sum() + (expected_alpha * alpha_weights).sum()).backward()

    ours = with_gradients(base, torch.float32)
    our_features = features.clone().requires_grad_()
    found = render(ours, cameras, our_features, background, near=NEAR, depth=True, antialiased=antialiased)
    assert found.features is not None and found.depth is not None
    images = torch.cat([found.color, found.features, found.depth[..., None]], dim=-1)
    ((images * weights.float()).sum() + (found.alpha * alpha_weights.float()).sum()).backward()

    assert relative_error(images.detach(), expected.detach()) < 1e-3
    assert relative_error(found.alpha.detach(), expected_alpha.detach()) < 1e-3
    for name in PARAMETERS:
        assert relative_error(gradient(getattr(ours, name)), gradient(getattr(twin, name))) < 1e-2, name
    if feature_count:
        assert relative_error(gradient(our_features), gradient(twin_features)) < 1e-2


def test_gradients_match_finite_differences() -> None:
    cameras = ring_of_cameras(2, 40, 30)
    # Large, translucent Gaussians: every pixel lies inside every one of them, far from the jump at alpha = 1/255.
    base = random_gaussians(4, seed=3, spread=0.4, size=0.5)
    base = base.replace(opacities=0.3 + 0.4 * base.opacities, scales=0.9 + base.scales)
    target = torch.rand(2, 30, 40, 3, dtype=torch.float64)

    def loss_of(gaussians: Gaussians) -> float:
        image = render(gaussians, cameras, near=NEAR).color.double()
        return float(((image - target) ** 2).sum())

    ours = with_gradients(base, torch.float32)
    (((render(ours, cameras, near=NEAR).color.double() - target) ** 2).sum()).backward()
    step = 2e-3
    for name in PARAMETERS:
        found = gradient(getattr(ours, name))
        numeric = torch.zeros_like(found)
        flat = getattr(base, name).reshape(-1)
        for i in range(flat.numel()):
            both = []
            for sign in (1, -1):
                moved = flat.clone()
                moved[i] += sign * step
                both.append(loss_of(base.replace(**{name: moved.reshape(found.shape)})))
            numeric.reshape(-1)[i] = (both[0] - both[1]) / (2 * step)
        assert relative_error(found, numeric) < 2e-2, name


def single(
    mean: tuple[float, float, float], opacity: float, rgb: tuple[float, float, float], scale: float
) -> Gaussians:
    return Gaussians(
        means=torch.tensor([mean]),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        scales=torch.full((1, 3), scale),
        opacities=torch.tensor([opacity]),
        colors=(torch.tensor([rgb]) - 0.5) / SH_C0,
        is_foreground=torch.ones(1, dtype=torch.bool),
    )


def frontal_camera(width: int = 21, height: int = 21, focal: float = 20.0) -> Cameras:
    intrinsics = np.array([[[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]], np.float32)
    return Cameras(np.eye(4, dtype=np.float32)[None], intrinsics, width, height, (0,))


def test_centre_pixel_holds_opacity_times_colour() -> None:
    image = render(single((0, 0, 2.0), 0.6, (1.0, 0.5, 0.25), 0.1), frontal_camera(), near=NEAR, depth=True)
    assert image.depth is not None
    # The middle of 21 pixels has its centre at 10.5, on the optical axis.
    torch.testing.assert_close(image.color[0, 10, 10], 0.6 * torch.tensor([1.0, 0.5, 0.25]))
    assert float(image.depth[0, 10, 10]) == pytest.approx(0.6 * 2.0, rel=1e-5)
    # One pixel aside: variance (20 · 0.1 / 2)² + 0.3 px².
    assert float(image.alpha[0, 10, 11]) == pytest.approx(0.6 * math.exp(-0.5 / 1.3), rel=1e-4)


def test_alpha_is_cut_above_and_below() -> None:
    opaque = render(single((0, 0, 2.0), 1.0, (1, 1, 1), 0.1), frontal_camera(), near=NEAR)
    assert float(opaque.alpha.max()) == pytest.approx(0.999)
    faint = render(single((0, 0, 2.0), 0.9 / 255, (1, 1, 1), 0.1), frontal_camera(), near=NEAR)
    assert float(faint.alpha.max()) == 0


def test_gaussians_before_the_near_plane_are_left_out() -> None:
    gaussians = single((0, 0, 2.0), 0.8, (1, 1, 1), 0.1)
    assert float(render(gaussians, frontal_camera(), near=2.1).alpha.max()) == 0
    assert float(render(gaussians, frontal_camera(), near=1.9).alpha.max()) == pytest.approx(0.8)


def test_background_fills_what_is_not_covered() -> None:
    background = torch.tensor([0.2, 0.4, 0.6])
    image = render(single((0, 0, 2.0), 0.75, (1, 1, 1), 0.02), frontal_camera(), background=background, near=NEAR)
    torch.testing.assert_close(image.color[0, 0, 0], background)
    torch.testing.assert_close(image.color[0, 10, 10], 0.75 + 0.25 * background)


def test_result_does_not_depend_on_threads() -> None:
    cameras = ring_of_cameras(3, 64, 48)

    def run(threads: int) -> list[torch.Tensor]:
        gaussians = with_gradients(random_gaussians(2000, seed=5), torch.float32)
        result = render(gaussians, cameras, near=NEAR, depth=True, threads=threads)
        assert result.depth is not None
        (result.color.square().sum() + result.depth.sum()).backward()
        return [result.color.detach(), *(gradient(getattr(gaussians, name)) for name in PARAMETERS)]

    for one, many in zip(run(1), run(4), strict=True):
        assert torch.equal(one, many)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forked_processes_and_threads_have_helpers_too() -> None:
    gaussians, cameras = random_gaussians(500, seed=5), ring_of_cameras(3, 64, 48)

    def color() -> torch.Tensor:
        return render(gaussians, cameras, near=NEAR, threads=4).color

    expected = color()
    with ThreadPoolExecutor(4) as workers:
        assert all(torch.equal(expected, other) for other in workers.map(lambda _: color(), range(20)))
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(expected, color()) else 1)
    deadline = time.monotonic() + 20
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended == (child, 0), "the child waited for helpers that it does not have, or rendered something else"


def test_frozen_gaussians_get_no_gradient_and_change_no_other() -> None:
    cameras = ring_of_cameras(2, 48, 32)
    base = random_gaussians(200, seed=11)
    frozen = torch.arange(200) % 2 == 0

    def gradients(mask: torch.Tensor | None) -> Gaussians:
        gaussians = with_gradients(base, torch.float32)
        render(gaussians, cameras, near=NEAR, frozen=mask).color.square().sum().backward()
        return gaussians

    full, part = gradients(None), gradients(frozen)
    for name in PARAMETERS:
        assert torch.equal(gradient(getattr(full, name))[~frozen], gradient(getattr(part, name))[~frozen])
        assert not gradient(getattr(part, name))[frozen].any()


def test_region_renders_its_tiles_as_the_whole_image_does() -> None:
    cameras = ring_of_cameras(2, 64, 48)
    gaussians = random_gaussians(300, seed=2)
    region = torch.zeros(2, 48, 64, dtype=torch.bool)
    region[0, 20, 20] = True
    whole, part = render(gaussians, cameras, near=NEAR), render(gaussians, cameras, near=NEAR, region=region)
    assert torch.equal(whole.color[0, 16:32, 16:32], part.color[0, 16:32, 16:32])
    assert float(part.alpha[1].max()) == 0


def test_screen_gradient_counts_cameras_and_matches_the_twin() -> None:
    cameras = ring_of_cameras(2, 48, 32)
    gaussians = with_gradients(random_gaussians(50, seed=4), torch.float32)
    result = render(gaussians, cameras, near=NEAR)
    result.color.square().sum().backward()
    assert int(result.screen.seen.max()) == 2
    # Moving the principal point moves every projected centre: the summed gradients must agree, camera by camera.
    one = with_gradients(random_gaussians(1, seed=4, spread=0.1), torch.float32)
    camera = cameras.take([0])
    single_render = render(one, camera, near=NEAR)
    ramp = torch.linspace(0, 1, 48)[None, None, :, None] + torch.linspace(0, 2, 32)[None, :, None, None]
    (single_render.color * ramp).sum().backward()

    def shifted(dx: float, dy: float) -> float:
        intrinsics = camera.intrinsics.copy()
        intrinsics[:, 0, 2] += dx
        intrinsics[:, 1, 2] += dy
        moved = Cameras(camera.world_to_camera, intrinsics, camera.width, camera.height, camera.ids)
        return float((render(one, moved, near=NEAR).color.detach() * ramp).double().sum())

    step = 1e-2
    numeric = math.hypot(
        (shifted(step, 0) - shifted(-step, 0)) / (2 * step), (shifted(0, step) - shifted(0, -step)) / (2 * step)
    )
    assert float(single_render.screen.norm[0]) == pytest.approx(numeric, rel=3e-2)


def test_lift_is_the_transpose_of_rendering() -> None:
    """⟨W f, B g⟩ = ⟨f, Wᵀ B g⟩ for any f, g: rendering from one side, lifting from the other."""
    cameras = ring_of_cameras(3, 53, 37)
    gaussians = random_gaussians(200, seed=9)
    rng = np.random.default_rng(0)
    rows, mixed = 12, 4
    index = rng.integers(-1, rows, (3, 37, 53, mixed)).astype(np.int32)
    weight = rng.random((3, 37, 53, mixed)).astype(np.float32)
    weight[index < 0] = 0
    f, g = rng.random(200).astype(np.float32), rng.random(rows).astype(np.float32)
    channels = torch.from_numpy(f.astype(np.float64))[:, None].expand(-1, 3)
    twin = gaussians.replace(**{k: getattr(gaussians, k).double() for k in PARAMETERS})
    image, alpha = render_reference(twin, cameras, channels, None, NEAR)
    pixels = (np.where(index >= 0, g[index], 0) * weight).sum(-1).astype(np.float64)
    lifted, mass = lift_weights(gaussians.numpy(), cameras, index, weight, rows, NEAR)
    assert f @ (lifted @ g) == pytest.approx(float((image[..., 0].numpy() * pixels).sum()), rel=1e-4)
    assert mass.sum() == pytest.approx(float(alpha.sum()), rel=1e-4)
    few, filled = lift_few(gaussians.numpy(), cameras, index, weight, rows, NEAR)
    assert f @ (few @ g) == pytest.approx(float((image[..., 0].numpy() * pixels).sum()), rel=1e-4)
    np.testing.assert_array_equal(filled, mass)


def test_lift_refuses_a_row_past_the_last() -> None:
    index = np.full((1, 21, 21, 1), 3, np.int32)
    with pytest.raises(ValueError, match="past the last"):
        lift_weights(
            single((0, 0, 2.0), 0.5, (1, 1, 1), 0.1).numpy(), frontal_camera(), index, index.astype(np.float32), 3, NEAR
        )


def test_colours_that_depend_on_the_view_are_those_of_each_camera() -> None:
    """Against the twin, one camera at a time, with colours from scipy's spherical harmonics."""
    from scipy.special import sph_harm_y

    cameras, gaussians = ring_of_cameras(3, 40, 30), random_gaussians(60, seed=4)
    generator = torch.Generator().manual_seed(5)
    sh_rest = 0.3 * torch.randn(60, 15, 3, generator=generator)
    rest = sh_rest.clone().requires_grad_()
    rendered = render(gaussians.replace(sh_rest=rest), cameras, near=NEAR)
    expected = []
    for index in range(3):
        away = gaussians.means.double().numpy() - cameras.centers[index]
        x, y, z = (away / np.linalg.norm(away, axis=1, keepdims=True)).T
        polar, around = np.arccos(z), np.arctan2(y, x)
        rgb = 0.5 + SH_C0 * gaussians.colors.double().numpy()
        for which, (degree, order) in enumerate((d, m) for d in (1, 2, 3) for m in range(-d, d + 1)):
            wave = sph_harm_y(degree, abs(order), polar, around)  # with Condon and Shortley's sign, as 3DGS has it
            real = math.sqrt(2) * (wave.imag if order < 0 else wave.real) if order else wave.real
            rgb = rgb + real[:, None] * sh_rest[:, which].double().numpy()
        expected.append(torch.as_tensor(np.maximum(rgb, 0)))
    twin = Gaussians(**{n: getattr(gaussians, n).double() for n in PARAMETERS}, is_foreground=gaussians.is_foreground)
    for index, channels in enumerate(expected):
        out, _ = render_reference(twin, cameras.take([index]), channels, None, NEAR)
        torch.testing.assert_close(rendered.color[index].double(), out[0, ..., :3], atol=1e-3, rtol=1e-3)
    rendered.color.sum().backward()
    assert rest.grad is not None and (rest.grad.abs().sum(dim=(1, 2)) > 0).any()
    assert rendered.screen.seen.max() == 3


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no such timers on Windows")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_signal_ends_a_kernel_in_its_midst(threads: int) -> None:
    """By the processor's time of this process, so that others that run do not count."""
    cameras = ring_of_cameras(8, 400, 300, focal=200)
    gaussians = with_gradients(random_gaussians(1500, seed=5, size=0.5), torch.float32)

    def both() -> float:
        began = time.process_time()
        render(gaussians, cameras, near=NEAR, threads=threads).color.sum().backward()
        return time.process_time() - began

    def ring(*_: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGPROF, ring)
    try:
        whole = both()
        for share in (0.1, 0.6):  # on the way forward, and on the way back
            began = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, share * whole)
            with pytest.raises(InterruptedError):
                both()
            assert time.process_time() - began < (share + 0.35) * whole
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    # What was interrupted leaves nothing behind.
    assert torch.equal(
        render(gaussians, cameras, near=NEAR, threads=threads).color, render(gaussians, cameras, near=NEAR).color
    )
