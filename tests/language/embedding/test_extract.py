"""Crops, grids and the extract stage: the original's numbers, what is left out, and what a stop leaves behind."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from legs4d.config import ExtractSettings
from legs4d.context import Context, EncoderFiles
from legs4d.errors import RunError
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import RunDiffers
from legs4d.language.embedding.changes import StillCrops, block_means
from legs4d.language.embedding.extract import describe, extract
from legs4d.language.embedding.grids import GridFeatures, GridStore, forget_grids, neighbours
from legs4d.language.embedding.pyramid import pyramid, window
from legs4d.progress import Stopped
from legs4d.scene.camera import Cameras

from .crop_encoders import MeanColorEncoder, _SeesFrames

REFERENCE = Path(__file__).resolve().parents[4] / "shared" / "reference" / "pyramid.npz"
HEIGHT, WIDTH, CAMERAS, FRAMES = 24, 32, 2, 12
RNG = np.random.default_rng(5)
PICTURE = RNG.random((CAMERAS, HEIGHT, WIDTH, 3)).astype(np.float32)
CPU = torch.device("cpu")
ALL = ExtractSettings(background="always", change=0, smallest=1)
"""As the original: every crop at every timestep."""


class Footage:
    """A still picture over which a white square moves from left to right; the square is the foreground."""

    root = Path("footage")
    num_frames = FRAMES
    captions = None

    def __init__(self, *, masks: bool = True, moves: bool = True, noise: float = 0.0) -> None:
        self.decoded: list[int] = []
        self._masks, self._moves, self._noise = masks, moves, noise

    def cameras(self, split: str, frame: int) -> Cameras:
        poses = np.tile(np.eye(4, dtype=np.float32), (CAMERAS, 1, 1))
        return Cameras(poses, np.tile(np.eye(3, dtype=np.float32), (CAMERAS, 1, 1)), WIDTH, HEIGHT, (0, 1))

    def images(self, split: str, frame: int, cameras: Any = None) -> NDArray[np.float32]:
        self.decoded.append(frame)
        noise = np.random.default_rng(frame).uniform(-self._noise, self._noise, PICTURE.shape)
        return np.where(self._square(frame)[..., None], 1, np.clip(PICTURE + noise, 0, 1)).astype(np.float32)

    def masks(self, split: str, frame: int, cameras: Any = None) -> NDArray[np.float32] | None:
        return self._square(frame).astype(np.float32) if self._masks else None

    def fingerprint(self, *, language: bool = False) -> str:
        return f"square {self._moves} {self._noise} {self._masks}"

    def _square(self, frame: int) -> NDArray[np.bool_]:
        out = np.zeros((CAMERAS, HEIGHT, WIDTH), bool)
        left = 3 + (2 * frame if self._moves else 0)
        out[:, 13:17, left : left + 4] = True
        return out


FOOTAGE: Any = Footage()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that share small tensors wait for each other by spinning: ten times slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run")


def extract_all(
    run: Run, settings: ExtractSettings = ALL, footage: Any = None, encoder: Any = None, **more: Any
) -> Any:
    """The encoder that was used, whose model counts what it saw."""
    encoder = encoder or MeanColorEncoder()
    extract(run, footage or FOOTAGE, encoder, settings, CPU, **more)
    return encoder


def grids(run: Run, encoder: str = "mean_color") -> GridStore:
    return GridStore.open(run.path, encoder)


def features(run: Run, frame: int) -> NDArray[np.float32]:
    """F [C, H, W, 3], written out; NaN where nothing is said."""
    said = GridFeatures(run.path, "mean_color").feature_map(FOOTAGE, frame)
    total = said.weight.sum(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.einsum("chwk,chwkd->chwd", said.weight, said.rows[said.index]) / total


def test_small_crops_are_never_embedded_and_say_nothing(run: Run):
    extract_all(run, ExtractSettings(block=6, change=1e-6, smallest=10))
    store = grids(run)
    shape = pyramid(HEIGHT, WIDTH)
    small = shape.boxes[:, 2] < 10
    assert small.any() and not small.all()
    for timestep in (0, 1, 7):
        grid = store.read(timestep)
        assert not grid.valid[:, small].any() and grid.valid[:, ~small].all()
        rows = {source: len(store.read(source).rows) for source in np.unique(grid.source[grid.valid]).tolist()}
        assert all(
            slot < rows[source] for source, slot in zip(grid.source[grid.valid], grid.slot[grid.valid], strict=True)
        )
    assert len(store.read(0).rows) == CAMERAS * (~small).sum()


# -- the stage --------------------------------------------------------------------------------------------------------


def test_everything_is_embedded_when_nothing_is_left_out(run: Run):
    told: list[Any] = []
    encoder = extract_all(run, context=Context(progress=told.append))
    crops = CAMERAS * pyramid(HEIGHT, WIDTH).num_crops
    assert encoder.model.count == FRAMES * crops
    assert run.stages["extract"].finished and run.stages["extract"].done_frames == list(range(FRAMES))
    assert (told[-1].stage, told[-1].done, told[-1].total) == ("extract", FRAMES, FRAMES)
    assert extract_all(run).model.count == 0


def test_embeddings_are_those_of_the_window_of_the_timestep(run: Run):
    extract_all(run)
    shape, footage = pyramid(HEIGHT, WIDTH), Footage()
    top, left, size = shape.boxes[shape.levels[0].first + 50]
    assert top >= 0 and left >= 0 and size == 3
    clip = np.stack([footage.images("train", frame) for frame in window(2, FRAMES)])
    crops = torch.from_numpy(clip[:, 1, top : top + size, left : left + size]).permute(0, 3, 1, 2)
    seen = torch.nn.functional.interpolate(crops, size=(8, 8), mode="bilinear").mean(dim=(0, 2, 3))
    grid = grids(run).read(2)
    found = grid.rows[grid.slot[1, shape.levels[0].first + 50]]
    np.testing.assert_allclose(found, torch.nn.functional.normalize(seen, dim=0), atol=2e-3)


def test_an_encoder_of_frames_sees_each_crop_of_a_frame_once_and_says_the_same(run: Run, tmp_path: Path):
    extract_all(run)
    other = Run.create(tmp_path / "other")
    model = extract_all(other, encoder=MeanColorEncoder(_SeesFrames())).model
    assert model.count == FRAMES * CAMERAS * pyramid(HEIGHT, WIDTH).num_crops
    for frame in (0, 5, FRAMES - 1):
        np.testing.assert_allclose(
            grids(run).read(frame).rows, grids(other, "mean_color:frames").read(frame).rows, atol=1e-3
        )


def test_crops_that_look_as_in_an_earlier_frame_are_not_seen_again(run: Run, tmp_path: Path):
    everything = CAMERAS * pyramid(HEIGHT, WIDTH).num_crops
    settings = ExtractSettings(background="always", change=0.05, smallest=1)
    still = extract_all(run, settings, Footage(moves=False), MeanColorEncoder(_SeesFrames()))
    assert still.model.count == everything
    other = Run.create(tmp_path / "other")
    moving = extract_all(other, settings, encoder=MeanColorEncoder(_SeesFrames()))
    assert everything < moving.model.count < FRAMES * everything / 2
    # What is said is what would be said of the frames as they are, nearly.
    exact = Run.create(tmp_path / "exact")
    extract_all(
        exact, ExtractSettings(background="always", change=0, smallest=1), encoder=MeanColorEncoder(_SeesFrames())
    )
    last = [GridFeatures(r.path, "mean_color:frames").feature_map(FOOTAGE, 9).rows for r in (other, exact)]
    np.testing.assert_allclose(last[0], last[1], atol=0.06)


def test_in_which_frame_a_crop_is_seen_depends_on_the_footage_alone():
    shape, footage = pyramid(HEIGHT, WIDTH), Footage()

    def means(frame: int) -> NDArray[np.float32]:
        return block_means(footage.images("train", frame))

    in_order, at_once = (StillCrops(shape, CAMERAS, means, 0.02) for _ in range(2))
    seen = [in_order.seen_in(frame) for frame in range(FRAMES)]
    np.testing.assert_array_equal(at_once.seen_in(11), seen[11])
    np.testing.assert_array_equal(seen[8], 8)  # not for longer than STILL_FRAMES
    changed = seen[1] == 1
    assert changed.any() and not changed.all()
    assert (seen[7][~changed] <= 7).all() and at_once.earliest(11) == 8


def test_frames_are_decoded_once_each(run: Run):
    footage = Footage()
    extract_all(run, footage=footage)
    assert sorted(footage.decoded) == list(range(FRAMES))


def test_crops_that_the_foreground_does_not_read_are_left_out(run: Run):
    encoder = extract_all(run, ExtractSettings(background="never", change=0, smallest=1))
    footage: Any = Footage()
    shape = pyramid(HEIGHT, WIDTH)
    masks = [footage.masks("train", frame) for frame in range(FRAMES)]
    assert encoder.model.count == sum(shape.read_by(mask > 0).sum() for mask in masks if mask is not None)
    assert encoder.model.count < 0.8 * FRAMES * CAMERAS * shape.num_crops
    said = GridFeatures(run.path, "mean_color").feature_map(footage, 4)
    inside = masks[4] > 0
    np.testing.assert_allclose(said.weight[inside].sum(-1), 1, atol=1e-6)
    assert (said.weight.sum(-1) == 0).any() and (said.index[said.weight > 0] >= 0).all()


def test_the_foregrounds_features_are_those_of_everything(run: Run, tmp_path: Path):
    extract_all(run)
    few = Run.create(tmp_path / "few")
    settings = ExtractSettings(change=1e-6, block=5, smallest=1)
    assert extract_all(few, settings).model.count < 0.8 * extract_all(Run.create(tmp_path / "a")).model.count
    for frame in range(FRAMES):
        inside = Footage().masks("train", frame)
        assert inside is not None
        np.testing.assert_allclose(features(few, frame)[inside > 0], features(run, frame)[inside > 0], atol=1e-3)


def test_a_still_picture_is_embedded_once_a_block(run: Run):
    still = Footage(moves=False, noise=0.01)
    encoder = extract_all(run, ExtractSettings(block=6, smallest=1), footage=still)
    crops = CAMERAS * pyramid(HEIGHT, WIDTH).num_crops
    assert encoder.model.count == 2 * crops
    assert (grids(run).read(11).source == 6).all()
    assert not np.isnan(features(run, 3)).any()


def test_background_that_has_changed_says_what_it_said_at_the_blocks_first(run: Run):
    extract_all(run, ExtractSettings(block=6, change=1e-6, smallest=1))
    first = grids(run).read(6)
    for frame in range(6, FRAMES):
        grid = grids(run).read(frame)
        mask = FOOTAGE.masks("train", frame)
        read = pyramid(HEIGHT, WIDTH).read_by(mask > 0)
        assert grid.valid.all() and (grid.source[~read] >= 6).all()
        assert frame == 6 or not (grid.source[~read] == frame).any()
        held = grid.source == 6
        np.testing.assert_array_equal(grid.slot[held], first.slot[held])


def test_the_map_is_the_same_object_while_the_same_crops_speak(run: Run):
    extract_all(run, ExtractSettings(block=6, change=1e-6, smallest=1))
    said = GridFeatures(run.path, "mean_color")
    one, other = said.feature_map(FOOTAGE, 3), said.feature_map(FOOTAGE, 4)
    assert one.index is other.index and one.weight is other.weight and not np.array_equal(one.rows, other.rows)


def test_without_masks_everything_is_read(run: Run):
    encoder = extract_all(run, ExtractSettings(change=0, smallest=1), footage=Footage(masks=False))
    assert encoder.model.count == FRAMES * CAMERAS * pyramid(HEIGHT, WIDTH).num_crops


def test_timesteps_left_out_are_interpolated(run: Run, tmp_path: Path):
    extract_all(run)
    sparse = Run.create(tmp_path / "sparse")
    encoder = extract_all(sparse, ALL.model_copy(update={"every": 4}))
    assert grids(sparse).description.timesteps == (0, 4, 8, 11)
    assert encoder.model.count == 4 * CAMERAS * pyramid(HEIGHT, WIDTH).num_crops
    np.testing.assert_allclose(features(sparse, 4), features(run, 4), atol=1e-6)
    between = 0.75 * features(run, 4) + 0.25 * features(run, 8)
    np.testing.assert_allclose(features(sparse, 5), between, atol=1e-3)
    assert neighbours((0, 4, 8, 11), 10) == (8, 11, pytest.approx(2 / 3))


@pytest.mark.parametrize(
    ("sees", "stop_after"), [("clips", 1), ("clips", 1300), ("clips", 2500), ("frames", 1), ("frames", 3000)]
)
def test_stopped_anywhere_and_resumed_it_gives_the_same_bits(run: Run, tmp_path: Path, sees: str, stop_after: int):
    def make() -> MeanColorEncoder:
        return MeanColorEncoder.open(sees, EncoderFiles())

    settings = ExtractSettings(block=4, smallest=1)
    whole = Run.create(tmp_path / "whole")
    extract_all(whole, settings, encoder=make())
    stop, encoder = Event(), make()
    model: Any = encoder.model
    name = f"embed_{sees}"
    embed = getattr(model, name)

    def counted(pictures: Any) -> Any:
        if model.count >= stop_after:
            stop.set()
        return embed(pictures)

    setattr(model, name, counted)
    with pytest.raises(Stopped):
        extract_all(run, settings, encoder=encoder, context=Context(stop=stop))
    resumed = Run.open(run.path)
    extract_all(resumed, settings, encoder=make())
    assert resumed.stages["extract"].done_frames == list(range(FRAMES))
    for frame in range(FRAMES):
        ours, theirs = (grids(r, encoder.name).read(frame) for r in (resumed, whole))
        for name in ("rows", "source", "slot", "valid"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize(
    "other", [{"settings": ExtractSettings(every=2)}, {"footage": Footage(noise=0.2)}, {"encoder": "newer"}]
)
def test_other_settings_footage_or_weights_leave_what_is_there(run: Run, other: dict[str, Any]):
    extract_all(run)
    if other.get("encoder") == "newer":
        other = {"encoder": MeanColorEncoder()}
        other["encoder"].weights_id = "other"
    before = grids(run).read(7).rows
    with pytest.raises(RunDiffers):
        extract_all(run, **other)
    np.testing.assert_array_equal(grids(run).read(7).rows, before)
    forget_grids(run.path, "mean_color")
    assert extract_all(run, **other).model.count > 0


def test_codes_stay_when_features_are_made_anew_and_when_another_encoder_looks(run: Run):
    extract_all(run)
    run.begin_stage("lift", "a")
    run.finish_stage("lift")
    extract_all(run, encoder=MeanColorEncoder(_SeesFrames()))
    assert extract_all(run).model.count == 0
    assert run.stages["lift"].finished and run.stages["extract"].finished


def test_a_new_reconstruction_keeps_the_features(run: Run):
    extract_all(run)
    run.begin_stage("first_frame", "anew")
    assert extract_all(run).model.count == 0


def test_what_was_deleted_is_made_again(run: Run):
    extract_all(run, ALL)
    before = grids(run).read(7)
    (grids(run).path / "000007.npz").unlink()
    assert extract_all(run, ALL).model.count == CAMERAS * pyramid(HEIGHT, WIDTH).num_crops
    np.testing.assert_array_equal(grids(run).read(7).rows, before.rows)


# -- damage -----------------------------------------------------------------------------------------------------------


def test_missing_and_damaged_grids_are_named(run: Run):
    with pytest.raises(RunError, match=r"has no features of the encoder 'mean_color'; run the same"):
        GridFeatures(run.path, "mean_color")
    extract_all(run)
    file = grids(run).path / "000003.npz"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(RunError, match=r"000003\.npz: is damaged"):
        features(run, 3)
    (grids(run).path / "grids.json").write_text("{")
    with pytest.raises(RunError, match=r"grids\.json: cannot be read"):
        grids(run)


def test_what_it_depends_on_is_told_without_a_run():
    footage: Any = Footage()
    one, other = (describe(footage, MeanColorEncoder(), ExtractSettings(every=k)) for k in (1, 5))
    assert other.timesteps == (0, 5, 10, 11) and one.fingerprint != other.fingerprint
    assert pickle.loads(pickle.dumps(one)) == one
