"""From masks to segments: what Gaussians each thing has, whoever numbered the masks, and which is a part of which."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray
from PIL import Image

from legs4d.errors import DatasetError, Legs4dError, RunError
from legs4d.gaussians.store.run import Run
from legs4d.raster import lift_weights, render
from legs4d.scene.camera import Cameras
from legs4d.segment.association import associate
from legs4d.segment.lifting import Evidence, lift_masks
from legs4d.segment.lifting_cuda import LEAST_PIXELS, pixel_rows, sparse_of
from legs4d.segment.masks.frame_masks import FrameMasks, masks_of_labels, masks_of_pictures
from legs4d.segment.neighbours import Neighbours
from legs4d.segment.segments import Segments, has_segments, read_segments
from legs4d.segment.stage import find_masks, segment_run
from legs4d.segment.tree import TreeSettings, make_segments, scale_of
from tests.segment.table import (
    BALL,
    CENTER,
    FLOOR,
    HEIGHT,
    LOWER,
    NEAR,
    RADIUS,
    UPPER,
    WIDTH,
    cameras,
    ids,
    overlapping,
    things,
    write_table,
)

GAUSSIANS, OWNER = things()
VIEWS = cameras()
LABELS = ids(VIEWS)
TEST_VIEWS = cameras(2, 8, 0.35)
AROUND = Neighbours.of(GAUSSIANS)


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def lifted(masks: FrameMasks) -> Evidence:
    return lift_masks([(GAUSSIANS, masks)], lambda _: np.arange(len(GAUSSIANS)), len(GAUSSIANS), NEAR)


def segmented(masks: FrameMasks, **settings: float) -> Segments:
    return make_segments(lifted(masks), GAUSSIANS.means, AROUND, TreeSettings(**settings))


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def seen(weights: NDArray[np.float32], views: Cameras = TEST_VIEWS) -> NDArray[np.bool_]:
    """[C, H, W] where Gaussians that belong fill most of a pixel."""
    belongs = torch.from_numpy((weights >= 0.5).astype(np.float32))[:, None]
    picture = render(GAUSSIANS.torch(), views, belongs, near=NEAR)
    assert picture.features is not None
    return np.asarray((picture.features[..., 0] >= 0.5).numpy())


def test_true_masks_find_their_gaussians_and_are_seen_again_from_elsewhere() -> None:
    segments = segmented(masks_of_labels(0, VIEWS, LABELS))
    assert sorted(segments.made["identities"]) == [LOWER, UPPER, BALL]
    truth = ids(TEST_VIEWS)
    for number, thing in enumerate(segments.made["identities"]):
        weights = segments.weights(number)
        visible = segments.mass > 1
        assert overlap(weights[visible] >= 0.5, OWNER[visible] == thing) > 0.92
        reachable = overlap(seen(np.equal(OWNER, thing).astype(np.float32)), truth == thing)
        assert overlap(seen(weights), truth == thing) > reachable - 0.02
    assert (segments.parent == -1).all()


def test_the_share_of_a_gaussian_is_that_of_what_it_shows() -> None:
    """Of one Gaussian in front of nothing: half a mask is half of it, in its own picture alone."""
    one = GAUSSIANS.take(np.array([0])).replace(
        means=np.zeros((1, 3), np.float32), scales=np.full((1, 3), 0.2, np.float32)
    )
    pose = np.eye(4, dtype=np.float32)
    pose[2, 3] = 2
    view = Cameras(np.stack([pose, pose]), np.repeat(VIEWS.intrinsics[:1], 2, 0), WIDTH, HEIGHT, (0, 1))
    half = np.zeros((1, HEIGHT, WIDTH), bool)
    half[:, :, : WIDTH // 2] = True
    quarter = half.copy()
    quarter[:, : HEIGHT // 2] = False
    masks = masks_of_pictures(0, view, [half, np.concatenate([quarter, half])])
    sure = lift_masks([(one, masks)], lambda _: np.arange(1), 1, NEAR)
    assert sure.shares().toarray() == pytest.approx(np.array([[0.5, 0.25, 0.5]]), abs=0.02)
    evidence = lift_masks([(one, replace(masks, unsure=None))], lambda _: np.arange(1), 1, NEAR)
    assert evidence.shares().toarray() == pytest.approx(np.array([[0.5, 0.25, 0.5]]), abs=1e-4)
    assert (sure.mass < 0.99 * evidence.mass).all()
    assert evidence.seen.toarray()[0] == pytest.approx([evidence.mass[0] / 2] * 2)


def test_what_goes_to_a_device_lifts_to_the_same_and_comes_back_the_same() -> None:
    """Its pixel map, lifted by the CPU's kernel, and the sparse form of the sums, against the CPU's own way."""
    masks = masks_of_labels(0, VIEWS, LABELS)
    assert masks.identity is not None and masks.unsure is not None and masks.unsure.any()
    things, row_of = np.unique(masks.identity, return_inverse=True)
    index, weight = pixel_rows(masks, row_of, len(things), "cpu")
    sums, _ = lift_weights(GAUSSIANS, VIEWS, index.numpy(), weight.numpy(), len(things) + 1, NEAR)
    dense = torch.from_numpy(sums.toarray())
    there, expected = sparse_of(dense[:, :-1]), lifted(masks)
    assert there.has_canonical_format
    assert np.abs(there.toarray() - expected.pixels.toarray()).max() <= LEAST_PIXELS
    assert dense[:, -1].numpy() == pytest.approx(expected.mass, abs=1e-2)


def entries_off(found: scipy.sparse.csr_array, expected: scipy.sparse.csr_array) -> NDArray[np.bool_]:
    """[G, R] which entries differ by more than a hundredth."""
    return ~np.isclose(found.toarray(), expected.toarray(), rtol=0.01, atol=0.02)


def agree(found: Evidence, expected: Evidence) -> bool:
    """Whether two lifts differ by rounding alone: it may put two Gaussians in another order at a pixel, so that one
    takes from the other; masks keep their pixels."""
    for name in ("pixels", "seen"):
        one, other = getattr(found, name), getattr(expected, name)
        sums = np.isclose(one.sum(axis=0), other.sum(axis=0), rtol=1e-3)
        if entries_off(one, other).mean() > 1e-3 or not sums.all():
            return False
    return True


def spread(masks: FrameMasks, scale: float = 0.0, seed: int = 0, device: str = "cpu") -> Evidence:
    """Lifted onto the scene's Gaussians, of which none lie equally deep, moved by so much at random."""
    rng = np.random.default_rng(0), np.random.default_rng(seed)
    means = GAUSSIANS.means + rng[0].normal(scale=1e-3, size=GAUSSIANS.means.shape)
    means = means.astype(np.float32) + rng[1].normal(scale=scale, size=means.shape)
    frames = [(GAUSSIANS.replace(means=means.astype(np.float32)), masks)]
    return lift_masks(frames, lambda _: np.arange(len(means)), len(means), NEAR, device=device)


@pytest.mark.parametrize("named", [True, False])
def test_rounding_swaps_gaussians_at_few_pixels_and_masks_keep_theirs(named: bool) -> None:
    """Moved by a float's last digit, a swap takes more than a hundredth from one in thousands; what is really moved,
    and masks that are others, do not agree."""
    masks = masks_of_labels(0, VIEWS, LABELS)
    masks = masks if named else replace(masks, identity=None)
    expected = spread(masks)
    moved = [spread(masks, 1e-7, seed) for seed in range(1, 4)]
    assert all(agree(one, expected) for one in moved)
    assert any(entries_off(one.seen, expected.seen).any() for one in moved)
    assert not agree(spread(masks, 1e-3), expected)
    wider = masks_of_labels(0, VIEWS, np.roll(LABELS, 1, axis=2))
    assert not agree(spread(wider if named else replace(wider, identity=None)), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("named", [True, False])
def test_a_gpu_lifts_masks_as_the_cpu_does(named: bool) -> None:
    masks = masks_of_labels(0, VIEWS, LABELS)
    masks = masks if named else replace(masks, identity=None)
    assert agree(spread(masks, device="cuda"), spread(masks))


def test_masks_without_identities_are_put_together_and_parts_lie_in_wholes(rng: np.random.Generator) -> None:
    masks = masks_of_pictures(0, VIEWS, overlapping(LABELS, rng))
    segments = segmented(masks)
    assert len(segments) == 4
    best = {}
    for thing in (LOWER, UPPER, BALL, (LOWER, UPPER)):
        true = np.isin(OWNER, thing) & (segments.mass > 1)
        shares = [overlap((segments.weights(s) >= 0.5) & (segments.mass > 1), true) for s in range(4)]
        best[thing] = int(np.argmax(shares))
        assert max(shares) > 0.92, thing
    whole = best[(LOWER, UPPER)]
    assert segments.parent[best[LOWER]] == segments.parent[best[UPPER]] == whole
    assert segments.parent[whole] == segments.parent[best[BALL]] == -1
    assert segments.chain(best[UPPER]) == [best[UPPER], whole]


def test_what_belongs_together_is_told_by_gaussians_and_never_within_a_picture(rng: np.random.Generator) -> None:
    masks = masks_of_pictures(0, VIEWS, overlapping(LABELS, rng))
    thing = associate(lifted(masks))
    for view in range(len(VIEWS)):
        assert len(set(thing[masks.view == view])) == 4
    truth = [
        {(LOWER,): 0, (UPPER,): 1, (BALL,): 2, (LOWER, UPPER): 3}[
            tuple(np.unique(LABELS[masks.view[m]][masks.mask(m)]))
        ]
        for m in range(len(masks))
    ]
    large = np.flatnonzero(masks.areas() > 200)  # of the smallest, a block hides nearly all
    for one, other in itertools.combinations(large.tolist(), 2):
        assert (thing[one] == thing[other]) == (truth[one] == truth[other])


def test_what_hardly_any_picture_shows_is_told_by_what_is_beside_it() -> None:
    """In a row of Gaussians that touch, those unseen between two of one thing are that thing's; one far off is not."""
    row = GAUSSIANS.take(np.zeros(7, np.int64)).replace(
        means=np.array([[x, 0, 0] for x in (0, 1, 2, 3, 4, 5, 90)], np.float32),
        scales=np.full((7, 3), 0.4, np.float32),
    )
    shares = scipy.sparse.csr_array(np.array([[1], [0], [0], [0], [1], [0.2], [0]], np.float32))
    mass = np.array([50, 0, 0, 0, 50, 50, 0], np.float32)
    around = Neighbours.of(row, 2)
    told = around.filled(shares, mass, 5.0).toarray()[:, 0]
    assert told[:5] == pytest.approx(1, abs=1e-3) and told[5] == pytest.approx(0.2, abs=1e-6) and told[6] == 0
    assert np.array_equal(around.filled(shares, mass, 0.0).toarray(), shares.toarray())
    doubted = around.filled(shares, np.array([50, 5, 0, 0, 50, 50, 0], np.float32), 5.0).toarray()[:, 0]
    assert 0.25 < doubted[1] < 0.5


def test_pieces_that_lie_apart_go() -> None:
    labels = LABELS.copy()
    labels[:, :, :25] = np.where(LABELS[:, :, :25] == 0, BALL, LABELS[:, :, :25])
    with_strays = segmented(masks_of_labels(0, VIEWS, labels), least_piece=0)
    cleaned = segmented(masks_of_labels(0, VIEWS, labels), least_piece=0.3)
    number = [s.made["identities"].index(BALL) for s in (with_strays, cleaned)]
    floor = (OWNER == FLOOR) & (np.linalg.norm(GAUSSIANS.means - CENTER, axis=1) > 2 * RADIUS)
    assert (with_strays.weights(number[0])[floor] >= 0.7).any()
    assert not (cleaned.weights(number[1])[floor] >= 0.7).any()


def test_sizes_are_two_standard_deviations() -> None:
    places = np.array([[0, 0, 0], [2, 0, 0], [0, 9, 0]], np.float32)
    assert scale_of(places, np.array([0, 1], np.int32), np.array([1, 1], np.float32)) == pytest.approx(2)
    assert scale_of(places, np.array([0, 1, 2], np.int32), np.array([1, 1, 0], np.float32)) == pytest.approx(2)


def test_masks_of_any_size_and_any_number_in_a_pixel() -> None:
    small = LABELS[:, ::2, ::2]
    masks = masks_of_pictures(0, VIEWS, [np.stack([one == LOWER, one > 0, one == BALL, one > 0]) for one in small])
    assert (masks.cameras.width, masks.cameras.height) == (80, 60) and masks.index.shape[3] == 3
    assert masks.cameras.intrinsics[0, 0, 0] == pytest.approx(VIEWS.intrinsics[0, 0, 0] / 2)
    assert (masks.mask(1) == (small[0] > 0)).all() and masks.areas()[1] == (small[0] > 0).sum()
    nothing = masks_of_pictures(0, VIEWS, [np.zeros((0, HEIGHT, WIDTH), bool)] * 8)
    assert len(nothing) == 0 and nothing.index.shape == (8, HEIGHT, WIDTH, 1)


@pytest.mark.parametrize(
    ("masks", "says"),
    [
        (np.zeros((3, 80, 60), bool), r"masks of 60×80, the pictures are 160×120"),
        (np.broadcast_to(np.zeros((1, 1, 1), bool), (1_000_000, 60, 80)), r"1,000,000 masks of one picture, at most"),
        (np.zeros((2, 0, 0), bool), "masks of 0×0, the pictures are 160×120"),
        (np.zeros((60, 80), bool)[None, None], r"masks of shape \(1, 1, 60, 80\)"),
    ],
)
def test_masks_that_cannot_be(masks: NDArray[np.bool_], says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        masks_of_pictures(0, VIEWS.take([0]), [masks], where="here")


def test_masks_that_say_nothing_are_counted() -> None:
    everything, dust = np.ones((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)
    dust[:2, :2] = True
    masks = masks_of_pictures(0, VIEWS.take([0]), [np.stack([everything, dust, LABELS[0] == BALL])])
    assert len(masks) == 1 and masks.left_out == 2


# -- runs and files ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_table(tmp_path_factory.mktemp("table") / "run")


def write_ids(folder: Path) -> Path:
    for camera, one in zip(VIEWS.ids, LABELS, strict=True):
        (folder / str(camera)).mkdir(parents=True)
        Image.fromarray(one).save(folder / str(camera) / "000000.png")
    return folder


def test_pictures_of_ids_become_the_segments_of_a_run(run: Run, tmp_path: Path) -> None:
    made = segment_run(run, find_masks(run, str(write_ids(tmp_path / "ids"))))
    found = read_segments(Run.open(run.path))
    assert found.made["identities"] == made.made["identities"] and found.made["pictures"] == 8
    assert np.array_equal(found.weights(1), made.weights(1)) and np.array_equal(found.parent, made.parent)
    assert np.argsort(found.quantile).tolist() == np.argsort(found.scale).tolist()
    assert (found.quantile.min(), found.quantile.max()) == (0, 1)


def test_masks_of_sam_lie_beside_pictures_by_camera_and_frame(
    run: Run, tmp_path: Path, rng: np.random.Generator
) -> None:
    folder = tmp_path / "sam_masks"
    for camera, masks in zip(VIEWS.ids, overlapping(LABELS, rng), strict=True):
        (folder / str(camera)).mkdir(parents=True)
        torch.save(torch.from_numpy(masks), folder / str(camera) / "0.pt")
    source = find_masks(run, str(tmp_path))
    assert not source.has_identities and source.frames() == [0]
    assert len(segment_run(run, source)) == 4


class _Given:
    name, has_identities = "given", True

    def __init__(self, masks: FrameMasks) -> None:
        self._masks = masks

    def frames(self) -> list[int]:
        return [0]

    def masks(self, frame: int) -> FrameMasks:
        return self._masks


class _Meanwhile(_Given):
    """Masks while which something is done."""

    def __init__(self, masks: FrameMasks, then: Callable[[], object]) -> None:
        super().__init__(masks)
        self._then = then

    def masks(self, frame: int) -> FrameMasks:
        self._then()
        return super().masks(frame)


def test_a_run_made_anew_meanwhile_gets_no_segments_of_its_old_gaussians(tmp_path: Path) -> None:
    run, other = write_table(tmp_path / "run"), write_table(tmp_path / "other")
    masks = find_masks(run, str(write_ids(tmp_path / "ids"))).masks(0)
    anew = _Meanwhile(masks, lambda: shutil.copy(other.path / "run.json", run.path / "run.json"))
    with pytest.raises(RunError, match="was made anew meanwhile"):
        segment_run(run, anew)
    assert not has_segments(Run.open(run.path))


def test_who_may_not_write_now_is_told_before_masks_are_looked_at(tmp_path: Path) -> None:
    run = write_table(tmp_path / "run")
    masks = find_masks(run, str(write_ids(tmp_path / "ids"))).masks(0)
    with Run.open(run.path).lock(), pytest.raises(RunError, match="is being written by"):
        segment_run(run, _Meanwhile(masks, lambda: pytest.fail("it looked")))


def test_a_folder_that_is_wrong_is_told_and_nothing_is_lost(run: Run, tmp_path: Path) -> None:
    segment_run(run, find_masks(run, str(write_ids(tmp_path / "ids"))))
    before = read_segments(run)
    (tmp_path / "none").mkdir()
    other = tmp_path / "other"
    other.mkdir()
    torch.save({"masks": 3}, other / "0.pt")
    strange = tmp_path / "strange"
    strange.mkdir()
    torch.save(torch.zeros(2, 60, 80), strange / "IMG_7.pt")
    everything = masks_of_labels(0, VIEWS, np.ones_like(LABELS))
    for wanted, says in (
        (str(tmp_path / "nowhere"), "is no folder with masks"),
        (str(tmp_path / "none"), "has no masks"),
        (str(strange), "has masks of no picture of this run (it has img_7"),
        ("objects", "was not made from footage"),
    ):
        with pytest.raises(Legs4dError, match=says.replace("(", r"\(")):
            find_masks(run, wanted)
    with pytest.raises(DatasetError, match=r"0\.pt: holds a dict; it must hold one tensor"):
        segment_run(run, find_masks(run, str(other)))
    with pytest.raises(DatasetError, match="has 8 masks, and none that says anything"):
        segment_run(run, _Given(everything))
    with pytest.raises(DatasetError, match="no two pictures agree on any of its masks"):
        alone = masks_of_labels(0, VIEWS, LABELS * (np.arange(8) == 3)[:, None, None].astype(np.uint8))
        segment_run(run, _NoNames(replace(alone, identity=None)))
    assert has_segments(run) and np.array_equal(read_segments(run).parent, before.parent)


class _NoNames(_Given):
    has_identities = False


def test_a_run_without_segments_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no segments yet; make them by `legs4d segments RUN --masks SOURCE`"):
        read_segments(write_table(tmp_path / "run"))


def test_outlines_say_nothing_but_of_what_is_all_outline() -> None:
    labels = np.zeros((1, 40, 60), np.uint8)
    labels[0, 10:30, 10:30] = 1
    labels[0, 5:35, 45:47] = 2  # two pixels wide
    unsure = masks_of_labels(0, VIEWS.take([0]), np.pad(labels, ((0, 0), (0, 80), (0, 100)))).unsure
    assert unsure is not None
    inside = np.zeros((40, 60), bool)
    inside[11:29, 11:29] = True
    around = np.zeros((40, 60), bool)
    around[9:31, 9:31] = True
    assert not unsure[0, :40, :60][inside].any() and unsure[0, :40, :60][around & ~inside].all()
    assert not unsure[0, 5:35, 45:47].any()
    same = masks_of_pictures(0, VIEWS.take([0]), [np.pad(labels[0] == 1, ((0, 80), (0, 100)))[None]])
    assert same.unsure is not None and (same.unsure[0, :40, :44] == unsure[0, :40, :44]).all()
