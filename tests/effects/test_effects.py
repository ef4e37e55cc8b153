"""Effects on a known scene: where the cameras go, what time does, and what is shown."""

import json
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import opentimelineio as otio
import pytest
import torch

from legs4d.context import Context
from legs4d.effects.bullet_time import angles_of, bullet_time, turned
from legs4d.effects.cuts import Cut, describe_cuts, find_cuts, write_otio
from legs4d.effects.effect import EffectSettings, Kind, write_effect
from legs4d.effects.film import lit, lit_views, moment
from legs4d.effects.run_video import choose_cameras
from legs4d.effects.zoom import zoom
from legs4d.errors import Legs4dError, PromptError
from legs4d.gaussians.store.run import Run
from legs4d.grounding import Grounding, query
from legs4d.progress import Stopped
from legs4d.scene.camera import Cameras
from tests.effects.test_video import read_mp4
from tests.synthetic import BALL, BALL_RADIUS, NEAR, Scene, write_dataset, write_run

SCENE = Scene(num_frames=12, width=64, height=48, num_train=4, num_test=2)
FIRST, LAST = SCENE.flight or (0, 0)
FPS = 10
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = write_run(tmp_path_factory.mktemp("effects") / "run", SCENE)
    run.set_info(fps=FPS)
    return run


@pytest.fixture(scope="module")
def flying(run: Run) -> Grounding:
    return query(run, ["the ball is flying"])[0]


@pytest.fixture(scope="module")
def nothing(run: Run) -> Grounding:
    return query(run, ["a surgeon washing his hands"])[0]


def seen_at(cameras: Cameras, point: np.ndarray) -> np.ndarray:
    """[C, 3]: pixel and depth of a point."""
    local = np.einsum("cij,j->ci", cameras.world_to_camera, [*point, 1])[:, :3]
    projected = np.einsum("cij,cj->ci", cameras.intrinsics, local)
    return np.column_stack([projected[:, :2] / projected[:, 2:], local[:, 2]])


# -- bullet time -------------------------------------------------------------------------------------------------------


def test_time_stops_at_the_moment_and_goes_on(run: Run, flying: Grounding):
    film = bullet_time(run, choose_cameras(run, "test").shots, flying, seconds=2)
    frames, stop = [picture.frame for picture in film], moment(flying)
    assert FIRST <= stop <= LAST
    circling = 2 * FPS + 1
    assert frames == [*range(stop), *[stop] * circling, *range(stop + 1, SCENE.num_frames)]
    assert all(picture.amount == 1 for picture in film if picture.frame == stop)


def test_cameras_circle_once_around_what_takes_part(run: Run, flying: Grounding):
    shots = choose_cameras(run, "test").shots
    film = [p for p in bullet_time(run, shots, flying, seconds=4) if p.frame == moment(flying)]
    ball = SCENE.ball_center(moment(flying))
    start = seen_at(shots[0].cameras, ball)
    around = []
    for picture in film:
        # The ball stays where it was in the picture, at the same distance, and the horizon level.
        np.testing.assert_allclose(seen_at(picture.cameras, ball), start, rtol=0.06)
        np.testing.assert_allclose(
            picture.cameras.world_to_camera[:, :3, 1], shots[0].cameras.world_to_camera[:, :3, 1]
        )
        away = picture.cameras.centers[0] - ball
        around.append(np.arctan2(away[2], away[0]))
    angles = np.unwrap(around)
    assert abs(angles[-1] - angles[0]) == pytest.approx(2 * np.pi, abs=0.01)
    steps = np.abs(np.diff(angles))
    assert steps[0] < 0.2 * steps.max() and steps[-1] < 0.2 * steps.max()  # it starts and ends gently


def test_a_quarter_turn_is_a_quarter_turn():
    camera = Cameras(np.eye(4, dtype=np.float32)[None], np.eye(3, dtype=np.float32)[None], 8, 8, (0,))
    moved = turned(camera, np.array([0.0, 0.0, 5.0]), np.array([0.0, -1.0, 0.0]), np.pi / 2)
    np.testing.assert_allclose(np.abs(moved.centers[0]), [5, 0, 5], atol=1e-5)


def test_less_than_a_circle_is_swung_through_and_back():
    angles = np.degrees(angles_of(1000, 90))
    assert (angles.max(), angles.min()) == (pytest.approx(45, abs=0.1), pytest.approx(-45, abs=0.1))
    assert angles[-1] == pytest.approx(0, abs=1e-9) and np.abs(np.diff(angles)).max() < 1
    assert np.degrees(angles_of(7, 360))[-1] == pytest.approx(360)


# -- zoom --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("near", [NEAR, 2.5])  # 2.5: so near is not allowed, the rest is done by the focal length
def test_the_action_fills_the_middle_while_it_happens(run: Run, flying: Grounding, near: float):
    shots, fill = choose_cameras(run, "test").shots, 0.5
    film = zoom(run, shots, flying, near=near, fill=fill)
    assert [picture.frame for picture in film] == list(range(SCENE.num_frames))
    middle = [f for f in range(FIRST, LAST + 1) if f - FIRST >= 1 and LAST - f >= 1]
    for frame in middle:
        cameras = film[frame].cameras
        x, y, depth = seen_at(cameras, SCENE.ball_center(frame)).T
        np.testing.assert_allclose([x, y], [[32, 32], [24, 24]], atol=5)
        assert (depth >= near).all()
        across = 2 * BALL_RADIUS * cameras.intrinsics[:, 1, 1] / depth
        np.testing.assert_allclose(across / SCENE.height, fill / np.sqrt(3), rtol=0.35)  # the box's diagonal is longer
    for frame in (0, SCENE.num_frames - 1):
        np.testing.assert_allclose(film[frame].cameras.world_to_camera, shots[frame].cameras.world_to_camera, atol=1e-5)


def test_cameras_move_without_a_jump(run: Run, flying: Grounding):
    film = zoom(run, choose_cameras(run, "test").shots, flying, near=NEAR)
    steps = np.linalg.norm(np.diff([picture.cameras.centers for picture in film], axis=0), axis=-1)
    distance = np.linalg.norm(film[0].cameras.centers - SCENE.ball_center(FIRST), axis=-1)
    assert (steps < 0.5 * distance).all()


# -- scenes ------------------------------------------------------------------------------------------------------------


def test_cuts_are_in_order_of_time_with_their_handles(run: Run, flying: Grounding):
    lying = query(run, ["the ball lies on the floor"])[0]
    cuts = find_cuts([flying, lying])
    spans = [(0, FIRST - 1), (FIRST, LAST), (LAST + 1, SCENE.num_frames - 1)]
    assert [(cut.start, cut.end) for cut in cuts] == spans
    assert [cut.prompt for cut in cuts] == [lying.prompt, flying.prompt, lying.prompt]
    assert [(c.start, c.end) for c in find_cuts([flying], handles=2)] == [(FIRST - 2, LAST + 2)]
    whole = (0, SCENE.num_frames - 1)
    assert [(c.start, c.end) for c in find_cuts([lying], handles=SCENE.num_frames)] == [whole]  # they grow together


def test_a_cut_list_says_when_in_all_ways_of_counting(run: Run):
    run.set_info(frame_numbers=[100 + frame for frame in range(SCENE.num_frames)])
    said = describe_cuts(run, [Cut("a", 2, 5, 3, 0.9), Cut("b", 8, 9, 8, 0.5)])
    run.set_info(frame_numbers=list(range(SCENE.num_frames)))
    assert json.loads(json.dumps(said)) == said
    assert (said["fps"], said["seconds"]) == (FPS, 0.6)
    first, second = said["cuts"]
    assert (first["start"], first["end"], first["peak"], first["first"], first["last"]) == (2, 5, 3, 102, 105)
    assert (first["begin"], first["length"], second["begin"], second["length"]) == (0, 0.4, 0.4, 0.2)


def test_editors_read_the_timeline(run: Run, tmp_path: Path):
    dataset = write_dataset(tmp_path / "dataset", Scene(num_frames=12, width=16, height=12, num_train=3, num_test=1))
    cuts = [Cut("a", 2, 5, 3, 0.9), Cut("b", 8, 9, 8, 0.5)]
    run.set_info(dataset=str(dataset))
    write_otio(tmp_path / "footage.otio", run, cuts, "film.mp4", camera=0)
    write_otio(tmp_path / "film.otio", run, cuts, "film.mp4", camera=None)
    (track,) = otio.adapters.read_from_file(str(tmp_path / "footage.otio")).tracks
    assert [clip.name for clip in track] == ["a", "b"]
    assert [int(clip.source_range.start_time.value) for clip in track] == [2, 8]
    assert [int(clip.duration().value) for clip in track] == [4, 2] and track[0].duration().rate == FPS
    assert int(track[0].markers[0].marked_range.start_time.value) == 3
    pictures = track[0].media_reference
    assert Path(pictures.target_url_for_image_number(2).removeprefix("file://")) == dataset / "ims/0/000002.jpg"
    assert (dataset / "ims/0/000002.jpg").exists()
    (track,) = otio.adapters.read_from_file(str(tmp_path / "film.otio")).tracks
    assert [clip.media_reference.target_url for clip in track] == ["film.mp4"] * 2
    assert [int(clip.source_range.start_time.value) for clip in track] == [0, 4]
    assert track.duration().to_frames() == 6


@pytest.fixture
def told_run(run: Run) -> Iterator[Run]:
    """One whose facts may be changed."""
    before = {name: run.info[name] for name in ("dataset", "fps", "frame_numbers") if name in run.info}
    yield run
    run.set_info(**before)


@pytest.mark.parametrize("footage", [False, True])
@pytest.mark.parametrize("told", ["24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60"])
def test_timelines_become_edls_and_final_cut_xml(told_run: Run, tmp_path: Path, told: str, footage: bool):
    rate = Fraction(told)
    dataset = write_dataset(tmp_path / "dataset", Scene(num_frames=12, width=16, height=12, num_train=3, num_test=1))
    start = 17_990 if footage else 0  # beyond ten minutes at 29.97, where drop-frame timecode has skipped 18 numbers
    for fps in (float(rate), round(float(rate), 3), round(float(rate), 2)):
        told_run.set_info(
            dataset=str(dataset), fps=fps, frame_numbers=[start + frame for frame in range(SCENE.num_frames)]
        )
        (dataset / f"ims/0/{start:06d}.jpg").touch()
        write_otio(tmp_path / "x.otio", told_run, CUTS, "film.mp4", camera=0 if footage else None)
        timeline = otio.adapters.read_from_file(str(tmp_path / "x.otio"))
        assert timeline.tracks[0][0].source_range.start_time.rate == float(rate)
        edl = otio.adapters.write_to_string(timeline, "cmx_3600")
        assert (";" in edl) == (rate.denominator == 1001 and rate > 24), "drop-frame timecode, where it is the custom"
        assert spans(otio.adapters.read_from_string(edl, "cmx_3600", rate=float(rate))) == spans(timeline)
        if not footage:  # the adapter cannot write numbered pictures, see docs/data.md
            xml = otio.adapters.write_to_string(timeline, "fcp_xml")
            assert f"<timebase>{round(rate)}</timebase>" in xml
            assert ("<ntsc>TRUE</ntsc>" in xml) == (rate.denominator == 1001)
            assert spans(otio.adapters.read_from_string(xml, "fcp_xml")) == spans(timeline)


CUTS = [Cut("the ball: flies?", 2, 5, 3, 0.9), Cut("b", 8, 9, 8, 0.5)]


def spans(timeline: Any) -> list[tuple[str, float, float, float]]:
    """Name, start, length and rate of each clip."""
    ranges = [(clip.name, clip.source_range) for clip in timeline.find_clips()]
    return [(name, r.start_time.value, r.duration.value, r.start_time.rate) for name, r in ranges]


# -- videos ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        (Kind.highlight, 12),
        (Kind.desaturate, 12),
        (Kind.bullet_time, 12 + 10),
        (Kind.zoom, 12),
        (Kind.scenes, LAST - FIRST + 1),
    ],
)
def test_every_effect_is_a_video(run: Run, flying: Grounding, tmp_path: Path, kind: Kind, count: int):
    out = tmp_path / "x.mp4"
    written = write_effect(run, kind, [flying], out, CPU, settings=EffectSettings(circle_seconds=1.0))
    frames = read_mp4(out)[1]
    assert frames.shape == (count, 48, 128, 3)  # two test cameras side by side
    assert written == [out, *([tmp_path / "x.json", tmp_path / "x.otio"] if kind is Kind.scenes else [])]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in written)


def test_only_what_is_meant_keeps_its_colour(run: Run, flying: Grounding, tmp_path: Path):
    write_effect(run, Kind.desaturate, [flying], tmp_path / "frames", CPU, cameras="train")
    from PIL import Image

    def colourful(frame: int) -> float:
        picture = np.asarray(Image.open(tmp_path / f"frames/{frame:06d}.png")).astype(float)
        return float((np.ptp(picture, axis=-1) > 40).mean())

    ball = np.mean([ids == 2 for ids in SCENE.photograph(SCENE.cameras("train"), FIRST)[1]])
    assert 0.5 * ball < colourful(FIRST) < 2 * ball
    assert colourful(0) > 2 * ball  # nothing holds there: the picture is as it is


def test_what_fades_beside_an_interval_is_what_it_is_about(run: Run, flying: Grounding):
    cameras = SCENE.cameras("train")
    for frame in (FIRST - 1, LAST + 1):
        matte = lit_views(run, flying, frame, cameras, NEAR, CPU).matte
        ball = SCENE.photograph(cameras, frame)[1] == BALL
        # It lies on the floor there, whose big round Gaussians hide half of it.
        assert (matte >= 0.5)[ball].mean() > 0.3 and ball[matte >= 0.5].mean() > 0.5
    assert [flying.nearest_held(frame) for frame in (0, FIRST, LAST, 11)] == [FIRST, FIRST, LAST, LAST]


def test_effects_of_what_is_not_there_say_so(run: Run, nothing: Grounding, flying: Grounding, tmp_path: Path):
    for kind in Kind:
        with pytest.raises(PromptError, match="was not found in this run"):
            write_effect(run, kind, [nothing], tmp_path / "x.mp4", CPU)
    path = tmp_path / "path.json"
    path.write_text(json.dumps({"keyframes": [{"at": 0, "position": [0, -1, -4], "target": [0, 0, 0]}]}))
    with pytest.raises(Legs4dError, match="never shows frame"):
        write_effect(run, Kind.bullet_time, [flying], tmp_path / "x.mp4", CPU, cameras=str(path))
    with pytest.raises(Legs4dError, match="shows nothing of it"):
        write_effect(run, Kind.scenes, [flying], tmp_path / "x.mp4", CPU, cameras=str(path))
    with pytest.raises(ValueError, match="of one prompt, not 2"):
        write_effect(run, Kind.zoom, [flying, flying], tmp_path / "x.mp4", CPU)
    assert not (tmp_path / "x.mp4").exists()


def test_a_run_without_cameras_is_shown_from_a_path(tmp_path: Path):
    bare = write_run(tmp_path / "bare", SCENE)
    shutil.rmtree(bare.path / "run.zarr/cameras")
    bare = Run.open(bare.path)
    for name in ("near", "down", "center"):
        bare.info.pop(name)
    found = query(bare, ["the ball is flying"])[0]
    keys = [{"at": at, "position": [0, -1, -4], "target": [0, 0, 0]} for at in (0, SCENE.num_frames - 1)]
    path = tmp_path / "path.json"
    path.write_text(json.dumps({"w": 32, "h": 24, "fov": 50, "near": 0.1, "keyframes": keys}))
    for kind in Kind:
        out = tmp_path / f"{kind}.mp4"
        write_effect(bare, kind, [found], out, CPU, cameras=str(path), settings=EffectSettings(circle_seconds=0.2))
        assert out.exists()


def test_an_effect_that_is_stopped_leaves_no_video(run: Run, flying: Grounding, tmp_path: Path):
    class Now:
        def is_set(self) -> bool:
            return True

    with pytest.raises(Stopped):
        write_effect(run, Kind.zoom, [flying], tmp_path / "x.mp4", CPU, Context(stop=Now()))
    assert list(tmp_path.iterdir()) == []


def test_a_camera_path_may_show_frames_in_any_order(run: Run, flying: Grounding, tmp_path: Path):
    keys = [
        {"at": 0, "frame": 11, "position": [0, -1, -4], "target": [0, 0, 0]},
        {"at": 11, "frame": 0, "position": [1, -1, -4], "target": [0, 0, 0]},
    ]
    path = tmp_path / "back.json"
    path.write_text(json.dumps({"w": 32, "h": 24, "fov": 50, "keyframes": keys}))
    film = lit(choose_cameras(run, str(path)).shots, flying)
    assert [picture.frame for picture in film] == list(range(11, -1, -1))
    assert [picture.amount == 1 for picture in film] == [FIRST <= picture.frame <= LAST for picture in film]
