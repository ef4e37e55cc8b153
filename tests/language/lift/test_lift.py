"""Lifting: every Gaussian says the mean of what the pixels say that it fills."""

from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from legs4d.config import AutoencoderSettings, CodecSettings, LiftSettings, TrainedLiftSettings
from legs4d.context import Context
from legs4d.errors import EncoderError, RunError
from legs4d.executor import Threads
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import RunDiffers
from legs4d.language.codec.linear import LinearCodec
from legs4d.language.embedding.features import FeatureMap
from legs4d.language.lift.stage import STATIC_FRAMES, lift
from legs4d.progress import Stopped
from legs4d.scene.camera import Cameras

WIDTH, HEIGHT, FOCAL, NEAR, FRAMES, DIM, ROWS = 14, 10, 12.0, 0.2, 12, 5, 4
RNG = np.random.default_rng(11)
STILL_COUNT, MOVING_COUNT = 3, 4
BEHIND = 1
"""The static Gaussian that no camera sees."""


def random_gaussians(count: int) -> Gaussians:
    quats = RNG.normal(size=(count, 4))
    return Gaussians(
        means=RNG.uniform([-1, -0.7, 2], [1, 0.7, 4], (count, 3)).astype(np.float32),
        quats=(quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype(np.float32),
        scales=RNG.uniform(0.1, 0.4, (count, 3)).astype(np.float32),
        opacities=RNG.uniform(0.3, 0.9, count).astype(np.float32),
        colors=np.zeros((count, 3), np.float32),
        is_foreground=np.ones(count, bool),
    )


STILL = random_gaussians(STILL_COUNT)
STILL.means[BEHIND] = [0, 0, -50]
MOVING = random_gaussians(MOVING_COUNT)
ROWS_OF = [r / np.linalg.norm(r, axis=1, keepdims=True) for r in RNG.normal(size=(FRAMES, ROWS, DIM))]
INDEX = RNG.integers(-1, ROWS, (FRAMES, 2, HEIGHT, WIDTH, 2)).astype(np.int32)
WEIGHT = np.where(INDEX >= 0, RNG.uniform(0.1, 1, INDEX.shape), 0).astype(np.float32)


def moving(frame: int) -> Gaussians:
    return MOVING.replace(means=MOVING.means + np.float32(0.03 * frame) * np.array([1, 0, 0], np.float32))


def cameras() -> Cameras:
    poses = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    poses[1, :3, 3] = [0.3, -0.1, 0.2]
    intrinsics = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]], np.float32)
    return Cameras(poses, np.tile(intrinsics, (2, 1, 1)), WIDTH, HEIGHT, (0, 1))


class Footage:
    root = Path("footage")
    num_frames = FRAMES

    def cameras(self, split: str, frame: int) -> Cameras:
        return cameras()

    def fingerprint(self, *, language: bool = False) -> str:
        return "footage with language" if language else "footage"


class RandomEncoder:
    """Says what INDEX, WEIGHT and ROWS_OF say, and counts how often it is asked."""

    name = "random"
    version = 1

    def __init__(self, silent_frames: tuple[int, ...] = ()) -> None:
        self.asked: list[int] = []
        self._silent = silent_frames

    def feature_map(self, sequence: Any, frame: int) -> FeatureMap:
        self.asked.append(frame)
        if frame in self._silent:
            nothing = np.full_like(INDEX[frame], -1)
            return FeatureMap(np.zeros((0, DIM), np.float32), nothing, np.zeros_like(WEIGHT[frame]))
        return FeatureMap(ROWS_OF[frame].astype(np.float32), INDEX[frame], WEIGHT[frame])

    def sample_rows(self, sequence: Any) -> Any:
        return [rows.astype(np.float32) for rows in ROWS_OF]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.create(tmp_path / "run")
    made.begin_stage("first_frame", "a")
    made.write_geometry(STILL, moving(0), FRAMES)
    made.finish_stage("first_frame")
    made.begin_stage("tracking", "b")
    for frame in range(FRAMES):
        now = moving(frame)
        made.write_frame(frame, now.means, now.quats, now.colors)
    made.finish_stage("tracking")
    return made


def lift_all(run: Run, encoder: Any = None, footage: Any = None, **more: Any) -> Any:
    encoder = encoder or RandomEncoder()
    sequence: Any = footage or Footage()
    lift(run, sequence, encoder, LiftSettings(), near=NEAR, **more)
    return encoder


def codes_of(run: Run) -> list[np.ndarray]:
    return [*run.static_codes(), *[a for frame in range(FRAMES) for a in run.moving_codes(frame)]]


# -- an independent rasteriser: one Gaussian and pixel at a time, in float64 --------------------------------------


def compositing_weights(gaussians: Gaussians, views: Cameras) -> np.ndarray:
    """W, [C, H, W, N]: Kerbl et al. 2023, equations 1 to 5, with the constants of docs/conventions.md."""
    out = np.zeros((len(views), HEIGHT, WIDTH, len(gaussians)))
    for c in range(len(views)):
        rotation, shift = views.world_to_camera[c, :3, :3].astype(float), views.world_to_camera[c, :3, 3].astype(float)
        points = gaussians.means.astype(float) @ rotation.T + shift
        order = [n for n in np.argsort(points[:, 2]) if points[n, 2] > NEAR]
        splats = {n: project(gaussians, n, points[n], rotation) for n in order}
        for y in range(HEIGHT):
            for x in range(WIDTH):
                left = 1.0
                for n in order:
                    center, inverse = splats[n]
                    offset = np.array([x + 0.5, y + 0.5]) - center
                    alpha = min(0.999, float(gaussians.opacities[n]) * np.exp(-0.5 * offset @ inverse @ offset))
                    if alpha < 1 / 255:
                        continue
                    if left * (1 - alpha) < 1e-4:
                        break
                    out[c, y, x, n] = left * alpha
                    left *= 1 - alpha
    return out


def project(gaussians: Gaussians, n: int, point: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    w, x, y, z = gaussians.quats[n].astype(float)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    axes = rotation @ turn @ np.diag(gaussians.scales[n].astype(float))
    px, py, pz = point
    jacobian = FOCAL * np.array([[1 / pz, 0, -px / pz**2], [0, 1 / pz, -py / pz**2]])
    covariance = jacobian @ axes @ axes.T @ jacobian.T + 0.3 * np.eye(2)
    center = FOCAL * np.array([px, py]) / pz + np.array([WIDTH / 2, HEIGHT / 2])
    return center, np.linalg.inv(covariance)


def dense_sums(frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Wᵀ F [N+M, D] and Wᵀ B 1 [N+M], with the per-pixel features F written out."""
    weights = compositing_weights(concatenate(STILL, moving(frame)), cameras())
    features = np.einsum("chwk,chwkd->chwd", WEIGHT[frame], ROWS_OF[frame][INDEX[frame]])
    spoken = WEIGHT[frame].sum(-1).astype(float)
    return np.einsum("chwn,chwd->nd", weights, features), np.einsum("chwn,chw->n", weights, spoken)


# -- what is held -------------------------------------------------------------------------------------------------


def test_moving_gaussians_get_the_mean_of_the_pixels_they_fill(run: Run):
    lift_all(run)
    codec = LinearCodec.from_arrays(*run.codec())
    for frame in (0, 5):
        sums, weight = dense_sums(frame)
        codes, confidence = run.moving_codes(frame)
        np.testing.assert_allclose(confidence, weight[STILL_COUNT:], rtol=1e-3)
        expected = sums[STILL_COUNT:] / weight[STILL_COUNT:, None]
        np.testing.assert_allclose(codec.decode(codes), expected, atol=3e-3)


def test_static_gaussians_get_the_mean_over_frames_spread_in_time(run: Run):
    lift_all(run)
    codec = LinearCodec.from_arrays(*run.codec())
    frames = [0, 2, 3, 5, 6, 8, 9, 11]
    assert len(frames) == STATIC_FRAMES
    sums, weight = (np.sum(parts, axis=0)[:STILL_COUNT] for parts in zip(*map(dense_sums, frames), strict=True))
    codes, confidence = run.static_codes()
    np.testing.assert_allclose(confidence, weight / STATIC_FRAMES, rtol=1e-3)
    seen = [n for n in range(STILL_COUNT) if n != BEHIND]
    np.testing.assert_allclose(codec.decode(codes)[seen], sums[seen] / weight[seen, None], atol=3e-3)


def test_what_no_camera_sees_has_no_confidence_and_no_code(run: Run):
    lift_all(run)
    codes, confidence = run.static_codes()
    assert confidence[BEHIND] == 0 and not codes[BEHIND].any()
    assert (np.delete(confidence, BEHIND) > 0).all()


def test_frames_in_which_nothing_is_said_have_no_confidence(run: Run):
    lift_all(run, RandomEncoder(silent_frames=(1, 2)))
    for frame in (1, 2):
        codes, confidence = run.moving_codes(frame)
        assert not codes.any() and not confidence.any()
    assert run.moving_codes(3)[1].all()


def test_all_frames_are_lifted_once_and_reported(run: Run):
    told: list[Any] = []
    encoder = lift_all(run, context=Context(progress=told.append))
    assert sorted(encoder.asked) == list(range(FRAMES))
    assert (told[-1].stage, told[-1].done, told[-1].total) == ("lift", FRAMES, FRAMES)
    assert run.stages["lift"].finished and run.info["encoder"] == "random"
    assert lift_all(run).asked == []


@pytest.mark.parametrize("asked_before_stop", [1, 5, STATIC_FRAMES, STATIC_FRAMES + 1, FRAMES - 1])
def test_stopped_anywhere_and_resumed_it_gives_the_same_bits(run: Run, asked_before_stop: int):
    stop = Event()

    class StoppingEncoder(RandomEncoder):
        def feature_map(self, sequence: Any, frame: int) -> FeatureMap:
            if len(self.asked) + 1 == asked_before_stop:
                stop.set()
            return super().feature_map(sequence, frame)

    with pytest.raises(Stopped):
        lift_all(run, StoppingEncoder(), context=Context(stop=stop))
    assert not run.stages["lift"].finished
    resumed = Run.open(run.path)
    again = lift_all(resumed)
    # Stopped in its nth frame, it finishes that one; frames before the static codes are complete count for nothing.
    kept = asked_before_stop if asked_before_stop >= STATIC_FRAMES else 0
    assert len(again.asked) == FRAMES - kept
    stopped = codes_of(resumed)
    resumed.forget_stage("lift")
    lift_all(resumed)
    for a, b in zip(stopped, codes_of(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_frames_lifted_side_by_side_get_the_same_codes(run: Run):
    lift_all(run)
    expected = codes_of(run)
    again = Run.open(run.path)
    again.forget_stage("lift")
    lift_all(again, context=Context(executor=Threads(4)))
    for one, other in zip(expected, codes_of(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_captions_leave_what_is_lifted(run: Run):
    lift_all(run)

    class Other(Footage):
        def fingerprint(self, *, language: bool = False) -> str:
            return "other captions" if language else "footage"

    with pytest.raises(RunDiffers, match="language: another one than lift was made from"):
        lift_all(run, footage=Other())
    assert run.stages["lift"].finished
    run.forget_stage("lift")
    assert len(lift_all(run, footage=Other()).asked) == FRAMES


def test_another_version_of_the_encoder_leaves_what_is_lifted(run: Run):
    lift_all(run)

    class Newer(RandomEncoder):
        version = 2

    assert lift_all(run, Newer()).asked == []


def test_a_run_without_static_gaussians_is_lifted(tmp_path: Path):
    made = Run.create(tmp_path / "moving")
    made.begin_stage("first_frame", "a")
    made.write_geometry(STILL.take(np.zeros(STILL_COUNT, bool)), moving(0), 1)
    made.begin_stage("tracking", "b")
    made.finish_stage("tracking")
    lift_all(made)
    assert made.static_codes()[0].shape[0] == 0
    assert made.moving_codes(0)[1].all()


def test_a_half_tracked_run_is_refused(run: Run):
    run.forget_stage("tracking")
    run.begin_stage("tracking", "another")
    with pytest.raises(RunError, match="not reconstructed yet"):
        lift_all(run)


@pytest.mark.parametrize(
    "settings",
    [
        LiftSettings(refine=2),
        LiftSettings(method="trained", trained=TrainedLiftSettings(steps=3, neighbours=2)),
        LiftSettings(codec=CodecSettings(dim=2)),
        LiftSettings(
            codec=CodecSettings(
                name="autoencoder", dim=3, autoencoder=AutoencoderSettings(hidden=(8,), epochs=1, min_steps=20)
            )
        ),
    ],
)
def test_every_route_and_codec_lifts_all_frames_and_resumes_to_the_same_bits(run: Run, settings: LiftSettings):
    stop = Event()

    class StoppingEncoder(RandomEncoder):
        def feature_map(self, sequence: Any, frame: int) -> FeatureMap:
            if len(self.asked) == STATIC_FRAMES + 1:
                stop.set()
            return super().feature_map(sequence, frame)

    sequence: Any = Footage()
    with pytest.raises(Stopped):
        lift(run, sequence, StoppingEncoder(), settings, Context(stop=stop), near=NEAR)
    resumed = Run.open(run.path)
    lift(resumed, sequence, RandomEncoder(), settings, near=NEAR)
    assert codes_of(resumed)[1][BEHIND] == 0 and all(resumed.moving_codes(f)[1].all() for f in range(FRAMES))
    assert resumed.moving_codes(0)[0].shape[1] == (settings.codec.dim or DIM)
    stopped = codes_of(resumed)
    resumed.forget_stage("lift")
    lift(resumed, sequence, RandomEncoder(), settings, near=NEAR)
    for a, b in zip(stopped, codes_of(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_features_of_another_width_than_the_codec_are_refused_and_nothing_is_lost(run: Run):
    class Narrow(RandomEncoder):
        def feature_map(self, sequence: Any, frame: int) -> FeatureMap:
            found = super().feature_map(sequence, frame)
            return found if frame != 4 else FeatureMap(found.rows[:, :3], found.index, found.weight)

    with pytest.raises(EncoderError, match=r"random, frame 4: says 3 numbers a feature, but the codec takes 5"):
        lift_all(run, Narrow())
    assert set(run.stages["lift"].done_frames) >= {0, 11} and not run.stages["lift"].finished
    assert 4 in lift_all(run).asked and run.stages["lift"].finished


def test_a_missing_checkpoint_is_said_before_anything_is_touched(run: Run):
    lift_all(run)
    missing = LiftSettings(codec=CodecSettings(name="autoencoder", weights="nowhere.pth"))
    sequence: Any = Footage()
    with pytest.raises(EncoderError, match=r"nowhere\.pth: cannot be read"):
        lift(run, sequence, RandomEncoder(), missing, near=NEAR)
    assert Run.open(run.path).stages["lift"].finished
