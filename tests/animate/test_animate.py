"""A selection made to move as a video shows: a drawn motion filmed and found again, and what cannot be followed."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from legs4d.animate.footage import clip
from legs4d.animate.footage.depths import DepthMaps
from legs4d.animate.footage.video import MotionVideo
from legs4d.animate.tracking.pulls import by_depth
from legs4d.animate.tracking.stage import Stage
from legs4d.animate.trajectory import Trajectory, read_trajectory, write_trajectory
from legs4d.animate.work import animate_run
from legs4d.commands import Animate
from legs4d.context import Context
from legs4d.errors import Legs4dError
from legs4d.gaussians.nodes import frame_between, read_nodes
from legs4d.gaussians.objects import read_objects
from legs4d.gaussians.selections import read_selection
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import RunDiffers
from legs4d.priors.registry import find_prior
from legs4d.progress import Stopped
from legs4d.settings import SettingsError, checked
from tests.animate.scene import CENTER, NEAR, camera, film, leaning, motion_at, thing, wall, write_scene

FRAMES = 5
MOTIONS = [motion_at(frame / (FRAMES - 1)) for frame in range(FRAMES)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With run/, video/ of the drawn motion, and moved/, what came of both."""
    folder = tmp_path_factory.mktemp("animate")
    write_scene(folder / "run")
    film(folder / "video", MOTIONS)
    animate(folder, out="moved")
    return folder


def animate(place: Path, context: Context | None = None, **asked: Any) -> dict[str, Any]:
    """The command on the CPU."""
    given: dict[str, Any] = {"selection": "box", "motion": "video", "camera": "7", "out": "out", **asked}
    for name in ("motion", "out", "camera_file", "depth"):
        if given.get(name):
            given[name] = str(place / given[name])
    return animate_run(Animate(run=str(place / "run"), **given), context or Context("cpu"))


def off(motion: NDArray[np.float64], true: NDArray[np.float64]) -> tuple[float, float]:
    """(degrees, scene units) between two motions, at the box's middle."""
    turn = Rotation.from_matrix(motion[:3, :3] @ true[:3, :3].T).magnitude()
    middle = [m[:3, :3] @ CENTER + m[:3, 3] for m in (motion, true)]
    return float(np.degrees(turn)), float(np.linalg.norm(middle[0] - middle[1]))


def test_a_drawn_motion_is_found_again_in_its_video(place: Path) -> None:
    moved = Run.open(place / "moved")
    assert moved.info["kind"] == "animated" and moved.num_frames == FRAMES
    found = read_trajectory(moved.path / "motion.json")
    for motion, true in zip(found.motions, MOTIONS, strict=True):
        degrees, away = off(motion, true)
        assert degrees < 1.5 and away < 0.03  # of a distance of 3
    assert moved.info["report"]["error"]["along"] < 2


@pytest.mark.parametrize("kind", ["captured", "generated"])
def test_runs_that_were_captured_or_generated_are_animated_as_static_ones_are(tmp_path: Path, kind: str) -> None:
    """One that moves itself, in a moment of it; and an object before nothing but white."""
    write_scene(tmp_path / "run", kind)
    film(tmp_path / "video", MOTIONS[:3], alone=kind == "generated")
    frame = 1 if kind == "captured" else 0
    animate(tmp_path, frame=frame)
    moved, source = Run.open(tmp_path / "out"), Run.open(tmp_path / "run")
    for motion, true in zip(read_trajectory(moved.path / "motion.json").motions, MOTIONS[:3], strict=True):
        degrees, away = off(motion, true)
        assert degrees < 1.5 and away < 0.03
    assert moved.info["kind"] == "animated" and moved.info.get("background") == source.info.get("background")
    there = source.dynamic(frame).means @ MOTIONS[2][:3, :3].T + MOTIONS[2][:3, 3]
    assert np.abs(moved.dynamic(2).means - there).max() < 0.04 and moved.num_static == source.num_static


@pytest.mark.parametrize(
    ("after", "what"),
    [
        (2, "keep"),
        (4, "write_frame"),
        *(pytest.param(*moment, marks=pytest.mark.long) for moment in ((1, "keep"), (4, "keep"), (1, "write_frame"))),
    ],
)
def test_killed_at_any_moment_the_same_command_makes_the_same_to_the_bit(place: Path, after: int, what: str) -> None:
    """SIGKILL after so many fits were kept, or frames written."""
    out = place / f"killed_{what}_{after}"
    owner = {"keep": "legs4d.animate.work", "write_frame": "legs4d.gaussians.store.run.Run"}[what]
    killed = subprocess.run([sys.executable, "-c", _KILLED, owner, what, str(after), str(place), str(out)])
    assert killed.returncode == -signal.SIGKILL
    seen: list[int] = []
    animate(place, Context("cpu", progress=lambda now: seen.append(now.done)), out=out.name)
    assert min(seen) >= (after if what == "keep" else FRAMES)  # no frame is fitted twice
    one, other = Run.open(out), Run.open(place / "moved")
    assert (out / "motion.json").read_bytes() == (place / "moved" / "motion.json").read_bytes()
    for frame in range(FRAMES):
        for name in ("means", "quats", "colors", "scales", "opacities"):
            assert np.array_equal(getattr(one.frame(frame), name), getattr(other.frame(frame), name)), (frame, name)
    here, there = read_objects(one), read_objects(other)
    assert here is not None and there is not None and np.array_equal(here.pose, there.pose)
    assert one.info["report"] == other.info["report"]


_KILLED = """
import os, pydoc, signal, sys
from legs4d.animate.tracking import whole_clip
from legs4d.animate.work import animate_run
from legs4d.commands import Animate
from legs4d.context import Context

owner, name, after, place, out = sys.argv[1:]
owner, left = pydoc.locate(owner), int(after)
done = getattr(owner, name)

def counted(*given, **named):
    global left
    found = done(*given, **named)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return found

setattr(owner, name, counted)
whole_clip.KEEP_EVERY = 0  # after each frame
asked = Animate(run=f"{place}/run", selection="box", motion=f"{place}/video", camera="7", out=out)
animate_run(asked, Context("cpu"))
"""
"""Ends itself as `kill -9` would."""


def test_the_rest_stays_and_what_was_known_goes_with_it(place: Path) -> None:
    source, moved = Run.open(place / "run"), Run.open(place / "moved")
    still = len(wall())
    assert (moved.num_static, moved.num_gaussians) == (still, source.num_gaussians)
    np.testing.assert_array_equal(moved.static().means, source.static().means[:still])
    true = MOTIONS[-1]
    there = source.static().means[still:] @ true[:3, :3].T + true[:3, 3]
    assert np.abs(moved.dynamic(FRAMES - 1).means - there).max() < 0.04
    assert read_selection(moved, "box").weights.sum() == source.num_gaussians - still
    objects = read_objects(moved)
    assert objects is not None and objects.names == ("box",)
    first, last = objects.pose[0, 0], objects.pose[-1, 0]
    assert np.abs(last[:3] - first[:3] - (true[:3, :3] @ first[:3] + true[:3, 3] - first[:3])).max() < 0.04
    between = frame_between(moved, 0.5).means[still:]
    assert np.abs(between - (moved.dynamic(0).means + moved.dynamic(1).means) / 2).max() < 0.01


def test_what_no_rigid_motion_explains_bends_unless_that_is_not_wanted(place: Path) -> None:
    shapes = [leaning(share) for share in (0.0, 0.45)]
    film(place / "leaning", shapes)
    apart = {}
    for out, rigid in (("bent", False), ("unbent", True)):
        animate(place, motion="leaning", out=out, rigid=rigid)
        moved = Run.open(place / out)
        apart[out] = [
            float(np.linalg.norm(moved.dynamic(frame).means - shape.means, axis=1).mean())
            for frame, shape in enumerate(shapes)
        ]
    assert apart["bent"][1] < 0.75 * apart["unbent"][1] > 0.05
    nodes = read_nodes(Run.open(place / "bent"))
    assert nodes is not None and len(nodes.rest) >= 20
    # The nodes carry the Gaussians as they are in the frames; of those between, too.
    between = frame_between(Run.open(place / "bent"), 0.5).means[len(wall()) :]
    ends = [Run.open(place / "bent").dynamic(frame).means for frame in (0, 1)]
    assert np.abs(between - (ends[0] + ends[1]) / 2).max() < 0.02
    # The motion's file bends it again, and what does not bend is a file that older versions read.
    told, rigid = (json.loads((place / out / "motion.json").read_text()) for out in ("bent", "unbent"))
    assert (told["version"], len(told["nodes"]), len(told["frames"][1]["bend"])) == (2, *[len(nodes.rest)] * 2)
    assert rigid["version"] == 1 and "nodes" not in rigid
    animate(place, motion="bent/motion.json", out="bent_again", camera=None)
    again = Run.open(place / "bent_again")
    for frame in (0, 1):
        np.testing.assert_allclose(again.dynamic(frame).means, ends[frame], atol=2e-5)
    np.testing.assert_allclose(
        frame_between(again, 0.5).means, frame_between(Run.open(place / "bent"), 0.5).means, atol=1e-4
    )


def test_a_motion_file_does_what_it_says(place: Path) -> None:
    write_trajectory(place / "drawn.json", Trajectory(np.stack(MOTIONS), 12.0, "box", CENTER))
    told = animate(place, motion="drawn.json", out="by_file", camera=None)
    moved, source = Run.open(place / "by_file"), Run.open(place / "run")
    assert told["frames"] == FRAMES and moved.info["fps"] == 12
    expected = source.static().means[len(wall()) :] @ MOTIONS[3][:3, :3].T + MOTIONS[3][:3, 3]
    np.testing.assert_allclose(moved.dynamic(3).means, expected, atol=1e-5)
    (place / "broken.json").write_text('{"kind": "legs4d motion"}')
    with pytest.raises(Legs4dError, match="is no motion"):
        animate(place, motion="broken.json", out="broken", camera=None)
    assert not (place / "broken").exists()
    for options, says in (
        ({"rigid": True}, "--rigid: is of a video"),
        ({"seed": 3}, "--seed: is of a video made of words"),
    ):
        with pytest.raises(Legs4dError, match=says):
            animate(place, motion="drawn.json", out="idle", camera=None, **options)
    assert not (place / "idle").exists()


def test_it_goes_on_where_it_was_stopped_and_replaces_nothing_unasked(place: Path) -> None:
    class After:
        """Asks to stop once two frames are done."""

        def __init__(self) -> None:
            self.left = 3

        def is_set(self) -> bool:
            self.left -= 1
            return self.left < 0

    with pytest.raises(Stopped):
        animate(place, Context("cpu", stop=After()), out="stopped")
    seen: list[int] = []
    animate(place, Context("cpu", progress=lambda now: seen.append(now.done)), out="stopped")
    assert min(seen) >= 2
    for name in ("stopped", "moved"):
        assert read_trajectory(place / name / "motion.json").motions.shape == (FRAMES, 4, 4)
    one, other = (read_trajectory(place / name / "motion.json").motions for name in ("stopped", "moved"))
    np.testing.assert_allclose(one, other, atol=1e-6)
    with pytest.raises(RunDiffers):
        animate(place, out="stopped", frames=[0, 2])
    assert Run.open(place / "stopped").num_frames == FRAMES


def test_a_camera_is_read_from_a_file(place: Path) -> None:
    view = camera()
    shot = {"w2c": view.world_to_camera[0].tolist(), "k": view.intrinsics[0].tolist()}
    (place / "view.json").write_text(json.dumps({"w": view.width, "h": view.height, "cameras": [shot]}))
    told = animate(place, camera=None, camera_file="view.json", out="by_view", frames=[0, 1])
    assert told["frames"] == 2 and told["hidden"] == []


def test_a_plane_that_is_touched_may_be_told_from_either_side(place: Path) -> None:
    """The box slides on its floor, y = 0.45."""
    motions = [np.eye(4) for _ in range(3)]
    for frame, motion in enumerate(motions):
        motion[0, 3], motion[2, 3] = 0.1 * frame, -0.1 * frame
    film(place / "slid", motions)
    for out, plane in (("above", [0.0, -1.0, 0.0, -0.45]), ("below", [0.0, 2.0, 0.0, 0.9])):
        animate(place, motion="slid", contact=plane, out=out)
        found = read_trajectory(place / out / "motion.json").motions
        assert max(off(m, t)[1] for m, t in zip(found, motions, strict=True)) < 0.03


def test_camera_and_start_are_found_and_given(place: Path) -> None:
    moved = np.eye(4)
    moved[:3, 3] = [0.3, 0.0, 0.1]
    film(place / "elsewhere", [moved @ motion for motion in MOTIONS[:3]])
    animate(place, motion="elsewhere", camera="found", start=[0.3, 0.0, 0.1], out="found")
    found = read_trajectory(place / "found" / "motion.json").motions
    assert len(found) == 3
    for motion, true in zip(found, MOTIONS[:3], strict=True):
        turn, away = off(motion, moved @ true)
        assert turn < 1.5 and away < 0.03


def test_depth_maps_of_any_scale_tell_how_far_away_it_is(place: Path) -> None:
    """They have the box a tenth farther away than it is, in the second frame, and all else where it is."""
    view, away = camera(), np.eye(4)
    stage = Stage(Run.open(place / "run").frame(0), thing(), view, NEAR, torch.device("cpu"))
    made = stage.predict([np.eye(4)])
    depth, share = made.depth[0].numpy(), made.share[0].numpy()
    (place / "maps").mkdir()
    for frame in range(FRAMES):
        np.save(place / "maps" / f"{frame}.npy", 7 * depth * (1 + 0.1 * (frame == 1) * (share > 0.5)))
    maps = DepthMaps(place / "maps", MotionVideo(place / "video"), view)
    away[:3, 3] = 0.1 * (CENTER - view.centers[0])
    for frame, there, elsewhere in ((0, np.eye(4), away), (1, away, np.eye(4))):
        disparity = maps.read(frame)
        assert disparity is not None
        pull = by_depth(stage, np.eye(4), disparity)
        assert pull is not None
        assert abs(pull(there)[0]) < 0.2 < 2 < abs(pull(elsewhere)[0])
    animate(place, depth="maps", frames=[0, 1], out="by_maps")  # and the command reads them
    assert Run.open(place / "by_maps").info["made_from"]["motion"].endswith("video")


def test_where_it_ends_is_the_last_picture_of_a_video_of_words(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filmed = [np.asarray(Image.open(path), np.float32) / 255 for path in sorted((place / "video").iterdir())]
    asked: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []

    class Between:
        def video_between(
            self, first: NDArray[np.float32], last: NDArray[np.float32], text: str, num_frames: int, seed: int
        ) -> NDArray[np.float32]:
            asked.append((first, last))
            return np.stack([filmed[0], filmed[1]])

    monkeypatch.setattr("legs4d.animate.work.takes_an_end", lambda: True)
    monkeypatch.setattr(clip, "open_prior", lambda name, device: Between())
    true = MOTIONS[1]
    shift = true[:3, :3] @ CENTER + true[:3, 3] - CENTER
    turn = np.degrees(Rotation.from_matrix(true[:3, :3]).as_rotvec())
    animate(place, motion=None, prompt="tumbles", end=[*shift, *turn], out="ended")
    (first, last), *more = asked
    assert not more and np.abs(first - filmed[0]).max() < 0.01 and np.abs(last - filmed[1]).max() < 0.1
    found = read_trajectory(place / "ended" / "motion.json").motions[-1]
    degrees, away = off(found, true)
    assert degrees < 0.1 and away < 0.01  # as was said, not only as was found


@pytest.mark.parametrize(
    ("option", "said", "sentence"),
    [
        ("contact", "1,2", "what is touched is `below`, or a plane NX,NY,NZ,HEIGHT"),
        ("start", "1,2,3,4", "a shift is three numbers, with a turn they are six; these are 4"),
        ("end", "nan,0,0", "'nan,0,0' is no list of numbers; write for example 0.5,-1,2"),
        ("frames", "abc", "'abc' is no FIRST:LAST; write for example 8:15"),
    ],
)
def test_numbers_that_are_none_are_told(option: str, said: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        checked(
            Animate, {"run": "run", "out": "out", "selection": "box", "motion": "x", "camera": "7", option: said}, "it"
        )


def paint(folder: Path, to: Path, change: Any) -> Path:
    """A video changed picture by picture: change(number, [H, W, 3])."""
    to.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        picture = change(number, np.asarray(Image.open(path)).copy())
        Image.fromarray(picture.astype(np.uint8)).save(to / path.name)
    return to


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("moving", "camera moves"),
        ("cut", "there is a cut"),
        ("other", "does not show this scene"),
        ("leaving", "leaves the picture"),
        ("narrow", "has pictures of"),
    ],
)
def test_what_cannot_be_followed_is_said_in_a_sentence(place: Path, tmp_path: Path, what: str, sentence: str) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    video, rng = place / "video", np.random.default_rng(0)
    noise = rng.integers(0, 255, (9, 12, 3)).repeat(8, 0).repeat(8, 1)
    if what == "moving":
        paint(video, tmp_path / "video", lambda n, p: np.roll(p, 3 * n, axis=1))
    elif what == "cut":
        paint(video, tmp_path / "video", lambda n, p: noise if n >= 2 else p)
    elif what == "other":
        paint(video, tmp_path / "video", lambda n, p: noise)
    elif what == "narrow":
        paint(video, tmp_path / "video", lambda n, p: p[:, :60])
    else:
        away = [np.eye(4) for _ in range(7)]
        for number, motion in enumerate(away):
            motion[0, 3] = 0.36 * number
        film(tmp_path / "video", away)
    with pytest.raises(Legs4dError, match=sentence) as refused:
        animate(tmp_path, out="new")
    assert str(refused.value).count("\n") == 0
    if what in ("moving", "cut", "leaving"):
        assert "--frames 0:" in str(refused.value) or what == "moving"
        assert (tmp_path / "new" / "fit.npz").exists()  # what was done is not lost


def test_a_hidden_object_is_bridged_and_a_lost_one_is_said(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "run", tmp_path / "run")

    def hide(number: int, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if number == 2:
            picture[18:60, 30:80] = (40, 90, 40)
        return picture

    paint(place / "video", tmp_path / "video", hide)
    told = animate(tmp_path, out="new")
    assert told["hidden"] == [2] and any("hidden" in warning for warning in told["warnings"])
    motion = read_trajectory(tmp_path / "new" / "motion.json").motions[2]
    degrees, away = off(motion, MOTIONS[2])
    assert degrees < 3 and away < 0.06


def test_nothing_selected_and_no_such_camera_are_said(place: Path) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"selection": "nobody"}, "nobody"),
        ({"camera": "3"}, "no camera 3"),
        ({"motion": "nowhere.mp4"}, "no such file"),
        ({"camera": None}, "--camera"),
        ({"frame": 4}, "has no frame 4"),
        ({"frames": [3, 9]}, "has no frames 3 to 9"),
        ({"out": "run"}, "is the run itself"),
    ]
    for asked, sentence in refused:
        with pytest.raises(Legs4dError, match=sentence):
            animate(place, **{"out": "none", **asked})


def test_words_become_a_video_that_is_kept_and_followed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int]] = []
    filmed = [np.asarray(Image.open(path), np.float32) / 255 for path in sorted((place / "video").iterdir())]

    class Films:
        """Makes the drawn motion of whatever it is told, larger than it was asked."""

        def video(self, picture: NDArray[np.float32], text: str, num_frames: int, seed: int) -> NDArray[np.float32]:
            told.append((text, seed))
            assert np.abs(picture - filmed[0]).max() < 0.01  # the scene as the camera sees it
            return np.stack(filmed).repeat(2, 1).repeat(2, 2).astype(np.float32)

    monkeypatch.setattr(clip, "helper", lambda: find_prior("wan"))
    monkeypatch.setattr(clip, "open_prior", lambda name, device: Films())

    class OnceMade:
        def is_set(self) -> bool:
            return bool(told)

    asked: dict[str, Any] = {"motion": None, "prompt": "tumbles to the left.", "seed": 3, "frames": [0, 2]}
    with pytest.raises(Stopped):
        animate(place, Context("cpu", stop=OnceMade()), out="said", **asked)
    found = animate(place, out="said", **asked)
    assert told == [(f"box tumbles to the left. {clip.STILL}", 3)]  # once
    assert found["frames"] == 3 and Run.open(place / "said").info["fps"] == 24
    degrees, away = off(read_trajectory(place / "said" / "motion.json").motions[2], MOTIONS[2])
    assert degrees < 1.5 and away < 0.03
    assert len(list((place / "said" / "clip").iterdir())) == FRAMES
    assert clip.Wanted("box", "The Box falls over", 0, "").text == f"The Box falls over. {clip.STILL}"


def test_words_without_a_helper_or_beside_a_video_are_refused(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEGS4D_PRIORS", str(tmp_path))
    with pytest.raises(Legs4dError, match=r"no helper that makes videos is there.*put .*Wan-AI/Wan2.2"):
        animate(place, motion=None, prompt="falls over", out="none")
    with pytest.raises(Legs4dError, match="one of the two"):
        animate(place, prompt="falls over", out="none")
    with pytest.raises(Legs4dError, match="no video yet"):
        animate(place, motion=None, prompt="falls over", camera="found", out="none")


@pytest.mark.long
def test_the_published_model_makes_the_video(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random twin of it: what it makes shows another scene, which is said, and is kept."""
    from tests.priors.test_published import svd_twin

    svd_twin(tmp_path / "svd")
    monkeypatch.setenv("LEGS4D_PRIORS", str(tmp_path))
    with pytest.raises(Legs4dError, match="does not show this scene"):
        animate(place, motion=None, prompt="falls over", out="by_twin")
    pictures = [Image.open(path) for path in sorted((place / "by_twin" / "clip").iterdir())]
    assert len(pictures) == 3 and {picture.size for picture in pictures} == {(96, 72)}
