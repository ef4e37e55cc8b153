"""What a clip reveals and what disappears, in scenes of Gaussians of which everything is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from legs4d.cli.making import tell_made
from legs4d.config import BirthSettings, TrackingSettings
from legs4d.context import QUIET
from legs4d.gaussians.export import export_files
from legs4d.gaussians.formats.splat_files import find_splats
from legs4d.gaussians.gaussians import Gaussians, concatenate, dc_from_rgb
from legs4d.gaussians.store.run import Run
from legs4d.raster import render
from legs4d.raster.lift import lift_weights
from legs4d.reconstruct.births.births import Revealed, reveal
from legs4d.reconstruct.births.carrying import carry_along
from legs4d.reconstruct.births.clip import Clip
from legs4d.reconstruct.births.spans import spans, straying
from legs4d.reconstruct.births.tints import in_between
from legs4d.reconstruct.evaluation.evaluate import psnr
from legs4d.reconstruct.observation import CameraColors, Observation
from legs4d.scene.camera import Cameras
from legs4d.scene.stage import Stage

FRAMES = 6
STAGE = Stage(np.zeros(3, np.float32), 3.0, np.array([0, 1, 0], np.float32), near=0.3)
SETTINGS = BirthSettings(frames=FRAMES)
WALL, SIDE = 1.2, 41


def lens(angles: list[float]) -> Cameras:
    """Cameras on an arc in front of a wall at z = 0, looking at its middle."""
    poses = []
    for angle in angles:
        place = 3 * np.array([np.sin(angle), -0.15, -np.cos(angle)])
        forward = -place / np.linalg.norm(place)
        right = np.cross([0, 1, 0], forward)
        right /= np.linalg.norm(right)
        turn = np.stack([right, np.cross(forward, right), forward])
        poses.append(np.block([[turn, -(turn @ place)[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]]))
    intrinsics = np.array([[60, 0, 32], [0, 60, 24], [0, 0, 1]], np.float32)
    count = len(angles)
    return Cameras(np.array(poses, np.float32), np.repeat(intrinsics[None], count, 0), 64, 48, tuple(range(count)))


TRAIN, TEST = lens([-0.5, -0.3, -0.1, 0.1, 0.3, 0.5]), lens([-0.2, 0.2])


def sheet(width: float, height: float, z: float, rgb: NDArray[np.floating], foreground: bool, step: float) -> Gaussians:
    """Flat Gaussians side by side about (0, 0, z)."""
    across, down = (np.arange(-side, side + step / 2, step) for side in (width, height))
    x, y = (part.ravel() for part in np.meshgrid(across, down))
    count = len(x)
    quats = np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1))
    return Gaussians(
        means=np.stack([x, y, np.full(count, z)], axis=1).astype(np.float32),
        quats=quats,
        scales=np.tile(np.array([0.6, 0.6, 0.1], np.float32) * step, (count, 1)),
        opacities=np.full(count, 0.95, np.float32),
        colors=dc_from_rgb(np.tile(np.asarray(rgb, np.float32), (count, 1))),
        is_foreground=np.full(count, foreground),
    )


@dataclass
class Filmed:
    """What is true, and what tracking is taken to have found of it: static Gaussians, and moving ones by frame.

    The device is the one that births are found on.
    """

    true: list[Gaussians]
    static: Gaussians
    dynamic: list[Gaussians]
    device: str = "cpu"

    def observe(self, frame: int) -> Observation:
        truth = self.true[frame].torch()
        with torch.no_grad():
            shown = render(truth, TRAIN, truth.is_foreground[:, None].float(), near=STAGE.near)
        assert shown.features is not None
        masks = shown.features[..., 0]
        return Observation(TRAIN, shown.color.clamp(0, 1), masks, (masks > 0.5).numpy().astype(np.uint8))

    def clip(self, objects: NDArray[np.int64]) -> Clip:
        """As cameras that stand still film it, with the object of each moving Gaussian [M], -1 for none."""
        plain = torch.zeros(len(TRAIN), 3, device=self.device)
        colors = CameraColors(plain, plain)
        return Clip(
            self.static,
            lambda frame: self.dynamic[frame],
            FRAMES,
            objects,
            np.array([1]),
            self.observe,
            colors,
            STAGE,
            floor=2.0,
            still=True,
            tracking=TrackingSettings(),
        )

    def reveal(self, settings: BirthSettings = SETTINGS) -> Revealed:
        clip = self.clip(np.zeros(len(self.dynamic[0]), np.int64))
        return reveal(clip, settings.suited(len(TRAIN) * TRAIN.width * TRAIN.height), QUIET)

    def score(self, gaussians: Gaussians, frame: int) -> float:
        """dB on cameras that nothing was fitted to."""
        with torch.no_grad():
            made, truth = (render(g.torch(), TEST, near=STAGE.near).color for g in (gaussians, self.true[frame]))
        return float(psnr(made.clamp(0, 1), truth.clamp(0, 1)).mean())

    def before(self, frame: int) -> float:
        return self.score(concatenate(self.static, self.dynamic[frame]), frame)

    def after(self, found: Revealed, frame: int) -> float:
        return self.score(alive(found, frame), frame)


def alive(found: Revealed, frame: int) -> Gaussians:
    """All Gaussians in a frame, as a run gives them."""
    moving = found.dynamic(frame)
    living = (found.born <= frame) & (frame <= found.died)
    return concatenate(found.static, moving.replace(opacities=moving.opacities * living))


def shifted(gaussians: Gaussians, x: float) -> Gaussians:
    return gaussians.replace(means=gaussians.means + np.array([x, 0, 0], np.float32))


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(scope="module", params=DEVICES)
def door(request: pytest.FixtureRequest) -> tuple[Filmed, Revealed]:
    """A board slides off a dark hole in a wall, of which the first frame shows nothing: grey lies there."""
    wall = sheet(WALL, WALL, 0, np.array([0.7, 0.6, 0.5]), False, 0.06)
    hole = (np.abs(wall.means[:, 0]) < 0.3) & (np.abs(wall.means[:, 1]) < 0.4)
    true_wall, wrong = wall.colors.copy(), wall.colors.copy()
    true_wall[hole], wrong[hole] = (
        dc_from_rgb(np.array([0.05, 0.1, 0.3], np.float32)),
        dc_from_rgb(np.array([0.6, 0.6, 0.6], np.float32)),
    )
    wrong_wall = wall.replace(colors=wrong)
    board = sheet(0.36, 0.46, -0.1, np.array([0.2, 0.5, 0.2]), True, 0.06)
    boards = [shifted(board, 0.16 * frame) for frame in range(FRAMES)]
    true = [concatenate(wall.replace(colors=true_wall), one) for one in boards]
    filmed = Filmed(true, wrong_wall, boards, request.param)
    return filmed, filmed.reveal()


def test_the_background_behind_what_moves_is_learnt_and_does_not_show_before(door: tuple[Filmed, Revealed]) -> None:
    filmed, found = door
    assert filmed.after(found, FRAMES - 1) > filmed.before(FRAMES - 1) + 6
    assert filmed.after(found, 0) > 40, "what is hidden shows"


def test_what_is_born_is_bounded(door: tuple[Filmed, Revealed]) -> None:
    filmed, found = door
    first = len(filmed.static) + len(filmed.dynamic[0])
    assert (
        len(filmed.static)
        < len(found.static) + len(found.born) - len(filmed.dynamic[0])
        <= 0.5 * first + len(filmed.static)
    )
    few = filmed.reveal(BirthSettings(frames=FRAMES, most=0.01))
    assert len(few.static) + len(few.born) <= 1.01 * first + 1


def test_nothing_that_is_fitted_grows_beyond_the_bound(door: tuple[Filmed, Revealed]) -> None:
    """Gaussians of the wall and the board begin with twice that standard deviation."""
    settings = BirthSettings(frames=FRAMES, fit=SETTINGS.fit.model_copy(update={"steps": 3, "max_scale": 0.006}))
    found = reveal(door[0].clip(np.zeros(len(door[0].dynamic[0]), np.int64)), settings, QUIET)
    assert max(one.scales.max() for one in (found.static, found.dynamic(0))) <= 0.006 * STAGE.radius * (1 + 1e-5)


def test_ids_of_what_was_tracked_keep_their_meaning(door: tuple[Filmed, Revealed]) -> None:
    filmed, found = door
    for frame in range(FRAMES):
        was, now = filmed.dynamic[frame], found.dynamic(frame)
        np.testing.assert_array_equal(now.means[: len(was)], was.means)
        assert len(now) == len(found.born) == len(found.died)


def test_a_side_that_turns_into_view_goes_with_its_thing_in_all_frames() -> None:
    """A strip on a board is seen from the fourth frame on: a flap of the same board hid it."""
    wall = sheet(WALL, WALL, 0, np.array([0.7, 0.6, 0.5]), False, 0.06)
    board = sheet(0.4, 0.4, -0.3, np.array([0.2, 0.5, 0.2]), True, 0.05)
    strip = np.abs(board.means[:, 0]) < 0.16
    red = board.colors.copy()
    red[strip] = dc_from_rgb(np.array([0.9, 0.1, 0.1], np.float32))
    flap = sheet(0.17, 0.42, -0.34, np.array([0.2, 0.5, 0.2]), True, 0.05)
    true, tracked = [], []
    for frame in range(FRAMES):
        at = 0.05 * frame
        parts = [shifted(board.replace(colors=red), at)] + ([shifted(flap, at)] if frame < 3 else [])
        true.append(concatenate(wall, *parts))
        tracked.append(shifted(board, at))
    filmed = Filmed(true, wall, tracked)
    found = filmed.reveal()
    count = len(board)
    new = (found.dynamic(0).is_foreground)[count:]
    assert new.sum() > 20
    for frame in range(FRAMES):
        went = found.dynamic(frame).means[count:][new] - found.dynamic(0).means[count:][new]
        np.testing.assert_allclose(went, np.tile([0.05 * frame, 0, 0], (len(went), 1)), atol=0.01)
    assert filmed.after(found, FRAMES - 1) > filmed.before(FRAMES - 1) + 5
    assert filmed.after(found, 0) > 28
    assert (found.died[:count] == 2).sum() > 0.8 * strip.sum(), "what it takes the place of ends"


@pytest.mark.parametrize("device", DEVICES)
def test_a_thing_that_comes_into_the_picture_is_found_and_followed(device: str) -> None:
    """A red ball comes from the left, and is in no picture before the third frame; a green board stands there."""
    wall = sheet(WALL, WALL, 0, np.array([0.7, 0.6, 0.5]), False, 0.06)
    board = shifted(sheet(0.2, 0.3, -0.3, np.array([0.2, 0.5, 0.2]), True, 0.05), 0.7)
    turns = np.random.default_rng(0).normal(size=(300, 3))
    radial = (turns / np.linalg.norm(turns, axis=1, keepdims=True)).astype(np.float32)
    stripes = np.where(np.abs(radial[:, 1:2]) < 0.4, [[0.9, 0.1, 0.1]], [[0.9, 0.8, 0.1]]).astype(np.float32)
    ball = board.take(np.zeros(300, np.int64)).replace(
        means=0.25 * radial + np.array([0, 0, -0.6], np.float32),
        scales=np.full((300, 3), 0.03, np.float32),
        colors=dc_from_rgb(stripes),
    )
    places = [-8, -6, -0.6, -0.5, -0.4, -0.3]
    true = [concatenate(wall, board, shifted(ball, place)) for place in places]
    filmed = Filmed(true, wall, [board] * FRAMES, device)
    assert torch.equal(filmed.observe(1).masks, filmed.observe(0).masks), "it shows too early"
    found = filmed.reveal()
    entered = slice(len(board), len(board) + int((found.born[len(board) :] > 0).sum()))
    assert entered.stop - entered.start > 50
    assert (found.born[entered] == 2).all() and (found.died[entered] == FRAMES - 1).mean() > 0.9
    for frame in range(2, FRAMES):
        middle = np.median(found.dynamic(frame).means[entered], axis=0)
        np.testing.assert_allclose(middle[:2], [places[frame], 0], atol=0.08)
        assert filmed.after(found, frame) > filmed.before(frame) + 9
    assert min(filmed.after(found, frame) for frame in (0, 1)) > 35, "it shows before it comes"
    for frame in range(FRAMES):
        np.testing.assert_array_equal(found.dynamic(frame).means[: len(board)], board.means)
    alone = filmed.reveal(BirthSettings(frames=FRAMES, most=1.1 / (len(wall) + len(board))))
    assert len(alone.static) + len(alone.born) <= len(wall) + len(board) + 1


def test_what_disappears_for_good_dies_and_what_stays_lives() -> None:
    wall = sheet(WALL, WALL, 0, np.array([0.7, 0.6, 0.5]), False, 0.06)
    stays = shifted(sheet(0.2, 0.3, -0.3, np.array([0.2, 0.5, 0.2]), True, 0.05), -0.5)
    goes = shifted(sheet(0.2, 0.3, -0.3, np.array([0.8, 0.2, 0.2]), True, 0.05), 0.5)
    true = [concatenate(wall, stays, *([goes] if frame < 3 else [])) for frame in range(FRAMES)]
    filmed = Filmed(true, wall, [concatenate(stays, goes)] * FRAMES)
    found = filmed.reveal()
    assert (found.died[: len(stays)] == FRAMES - 1).mean() > 0.95
    assert (found.died[len(stays) : len(stays) + len(goes)] == 2).mean() > 0.9
    assert filmed.after(found, FRAMES - 1) > filmed.before(FRAMES - 1) + 6
    # frames between those that are looked at are looked at where something ends
    few = filmed.reveal(BirthSettings(frames=4))  # 0, 2, 3, 5
    assert (few.died[len(stays) : len(stays) + len(goes)] == 2).mean() > 0.9


def test_shadows_pass_over_what_stands_still() -> None:
    wall = sheet(WALL, WALL, 0, np.array([0.7, 0.6, 0.5]), False, 0.06)
    board = shifted(sheet(0.2, 0.3, -0.3, np.array([0.2, 0.5, 0.2]), True, 0.05), -0.8)
    shade = (wall.means[:, 0] > 0.2) & (wall.means[:, 0] < 0.7) & (np.abs(wall.means[:, 1]) < 0.3)
    dark = wall.colors - shade[:, None] * np.float32(0.5)
    true = [concatenate(wall.replace(colors=dark) if frame > 2 else wall, board) for frame in range(FRAMES)]
    filmed = Filmed(true, wall, [board] * FRAMES)
    found = filmed.reveal()
    for frame in (0, FRAMES - 1):
        assert filmed.after(found, frame) > 30
    changing = len(wall) - len(found.static)
    assert 0.5 * shade.sum() < changing < 3 * shade.sum(), "only what lies in shadow changes"
    rows = found.dynamic(0).means[-changing:]
    np.testing.assert_array_equal(found.dynamic(FRAMES - 1).means[-changing:], rows)


def test_nothing_is_found_where_nothing_lacks() -> None:
    wall = sheet(WALL, WALL, 0, np.array([0.7, 0.6, 0.5]), False, 0.06)
    board = sheet(0.2, 0.3, -0.3, np.array([0.2, 0.5, 0.2]), True, 0.05)
    boards = [shifted(board, 0.05 * frame) for frame in range(FRAMES)]
    filmed = Filmed([concatenate(wall, one) for one in boards], wall, boards)
    found = filmed.reveal(BirthSettings(frames=FRAMES, fit=SETTINGS.fit.model_copy(update={"steps": 10})))
    assert len(found.static) == len(wall) and len(found.born) == len(board)
    assert (found.born == 0).all() and (found.died == FRAMES - 1).all()


def test_places_are_carried_by_those_of_their_object_that_stay_together() -> None:
    generator = np.random.default_rng(0)
    first = generator.uniform(-0.5, 0.5, (80, 3)).astype(np.float32)
    angle = 0.6
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]], np.float32)
    second = first @ turn.T + np.array([0.3, 0, 0], np.float32)
    second[:12] = first[:12]  # these stayed behind
    other = first + np.array([0.1, 0, 0], np.float32)  # another object, in the same place, goes elsewhere
    means = np.stack([np.concatenate([first, other]), np.concatenate([second, other - 1])])
    points = np.array([[0.1, 0.2, 0.6], [0, 0, 0]], np.float32)
    way = carry_along(points, np.zeros(2, np.int64), means[0], means, np.repeat([0, 1], 80))
    np.testing.assert_allclose(way.place(torch.from_numpy(points), 0), points, atol=1e-5)
    there = way.place(torch.from_numpy(points), 1)
    np.testing.assert_allclose(there, points @ turn.T + np.array([0.3, 0, 0], np.float32), atol=0.01)
    np.testing.assert_allclose(way.turn[1], [[np.cos(angle / 2), 0, np.sin(angle / 2), 0]] * 2, atol=0.01)


def test_a_life_ends_where_frames_contradict_it_to_the_end() -> None:
    known = [0, 3, 6, 9, 12]
    says = {  # + borne out, - contradicted, . not seen
        "+++--": (0, 8),
        "+++.-": (0, 12),  # one frame alone
        "+-+.+": (0, 12),  # it comes back
        "--+++": (4, 12),
        ".....": (0, 12),
        "+....": (0, 12),
        "++-.-": (0, 5),
    }
    table = np.array([list(row) for row in says]).T
    born, died = spans(table == "+", table == "-", known, 13)
    assert list(zip(born.tolist(), died.tolist(), strict=True)) == list(says.values())
    born, died = spans(np.zeros((5, 1), np.bool_), np.ones((5, 1), np.bool_), known, 13)
    assert born[0] > died[0]


@pytest.mark.parametrize("light", [0.0, 1.0])
def test_a_black_frame_and_a_flash_say_nothing_of_other_frames(light: float) -> None:
    wall = sheet(WALL, WALL, 0, np.array([0.7, 0.6, 0.5]), False, 0.06)
    board = sheet(0.36, 0.46, -0.1, np.array([0.2, 0.5, 0.2]), True, 0.06)
    boards = [shifted(board, 0.1 * frame) for frame in range(FRAMES)]

    class Flashed(Filmed):
        def observe(self, frame: int) -> Observation:
            seen = super().observe(frame)
            return replace(seen, images=torch.full_like(seen.images, light)) if frame == 3 else seen

    filmed = Flashed([concatenate(wall, one) for one in boards], wall, boards)
    found = filmed.reveal()
    assert len(found.static) == len(wall) and len(found.born) == len(board)
    assert min(filmed.after(found, frame) for frame in range(FRAMES)) > 40


def test_frames_stray_between_others_that_do_not() -> None:
    says = {  # share of pixels that nothing explains, in tenths → which stray
        "0190000000": [2],
        "0199000000": [2, 3],
        "0199900000": [],  # the light was off
        "9000000009": [],  # nothing says that it does not go on
        "0000009999": [],
        "0900000090": [1, 8],
        "09": [],
        "090": [1],
    }
    for shares, strays in says.items():
        found = straying([int(one) / 10 for one in shares])
        assert [position for position, one in enumerate(found) if one] == strays, shares


def test_colours_change_linearly_between_known_frames() -> None:
    found = np.array([[[0.0]], [[1.0]], [[3.0]]], np.float32)
    at = [float(in_between(found, [0, 4, 8], frame)[0, 0]) for frame in range(10)]
    assert at == [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3]


@pytest.fixture(scope="module")
def stored(door: tuple[Filmed, Revealed], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The door as tracking stores it; what is born last of all lives in the last frame alone, as a side may."""
    filmed, found = door
    run = Run.create(tmp_path_factory.mktemp("run") / "run")
    run.set_info(fps=10.0, near=STAGE.near, frame_numbers=list(range(FRAMES)), down=[0.0, 1.0, 0.0])
    with run.lock():
        run.begin_stage("first_frame", "known")
        run.write_geometry(filmed.static, filmed.dynamic[0], FRAMES)
        run.write_cameras(TRAIN, TEST, np.zeros((len(TRAIN), 3)), np.zeros((len(TRAIN), 3)))
        run.finish_stage("first_frame")
        run.begin_stage("tracking", "known")
        for frame in range(1, FRAMES):
            was = filmed.dynamic[frame]
            run.write_frame(frame, was.means, was.quats, was.colors)
            run.frame_done("tracking", frame, 0.0)
        run.finish_stage("tracking")
        run.begin_stage("births", "known")
        born = found.born.copy()
        born[-3:] = FRAMES - 1
        run.lay_out_again(
            found.static,
            found.dynamic(0),
            lambda frame: {name: getattr(found.dynamic(frame), name) for name in ("means", "quats", "colors")},
            born=born,
            died=found.died,
            seen=found.seen,
            finishes="births",
        )
    return Run.open(run.path)


def test_what_no_camera_saw_is_marked() -> None:
    """A board that no frame looks behind: Gaussians in the wall's hidden part, and outside of all pictures, are
    invented."""
    wall = sheet(WALL, WALL, 0, np.array([0.7, 0.6, 0.5]), False, 0.06)
    away = shifted(sheet(0.1, 0.1, 0, np.array([0.7, 0.6, 0.5]), False, 0.06), 9.0)
    inside = sheet(0.1, 0.1, -0.06, np.array([0.7, 0.6, 0.5]), False, 0.06)
    board, back = (sheet(0.4, 0.4, z, np.array([0.2, 0.5, 0.2]), True, 0.04) for z in (-0.15, -0.03))
    filmed = Filmed(
        [concatenate(wall, board)] * FRAMES, concatenate(wall, away, inside), [concatenate(board, back)] * FRAMES
    )
    # A longer fit pulls some of the wall's Gaussians, which are seen, as deep as those that it hides.
    found = filmed.reveal(BirthSettings(frames=FRAMES, fit=SETTINGS.fit.model_copy(update={"steps": 80})))
    still, moving = found.seen
    assert (len(still), len(moving)) == (len(found.static), len(found.born))
    assert (still[found.static.means[:, 0] > 5] == 0).all() and (still[found.static.means[:, 2] < -0.05] == 0).all()
    beside = (np.abs(found.static.means[:, 0]) > 0.7) & (found.static.means[:, 0] < 5)
    assert (still[beside] > 0.5).mean() > 0.9
    assert (moving[: len(board)] > 0.9).mean() > 0.9


def test_files_of_a_frame_show_nothing_that_is_not_alive_in_it(stored: Run, tmp_path: Path) -> None:
    for kind in ("ply", "spz", "gltf"):
        first, *_, last = export_files(stored, tmp_path / kind, range(FRAMES), kind)
        early, late = (find_splats([path]).read(0).opacities[-3:] for path in (first, last))
        assert (early < 0.005).all() and (late > 0.1).all(), kind


def test_language_is_lifted_onto_what_is_alive(stored: Run) -> None:
    def filled(frame: int) -> NDArray[np.float32]:
        index = np.zeros((len(TRAIN), TRAIN.height, TRAIN.width, 1), np.int32)
        return lift_weights(stored.frame(frame), TRAIN, index, np.ones(index.shape, np.float32), 1, STAGE.near)[1]

    assert (filled(0)[-3:] == 0).all() and filled(FRAMES - 1)[-3:].any()


def test_people_are_told_what_moves_and_what_only_changes_its_colour(
    stored: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    count = stored.num_dynamic
    for changing, told in ((0, f"{count} of which move\n"), (5, f"{count - 5} of which move, and 5 stand still and")):
        with stored.lock():
            stored.set_info(births={"changing": changing})
        tell_made(stored, as_json=False)
        assert told in capsys.readouterr().err
