"""Masks where few or none are given, and the camera's way: carried on, boxed, found by moving; still, turning."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from legs4d.commands import Video
from legs4d.context import QUIET, Context
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.video.input import seeds
from legs4d.video.input.clip import open_clip
from legs4d.video.input.find import Wanted, find_things
from legs4d.video.kept import Kept
from legs4d.video.scene.filming import default_intrinsics
from legs4d.video.scene.sfm import _falls_away
from legs4d.video.scene.turning import find_turning, homography
from legs4d.video.work import make_video_run
from tests.video import drawn


def found(folder: Path, wanted: Wanted, source: Path | None = None) -> tuple[list[Any], list[str]]:
    clip = open_clip(source or folder / "clip", QUIET.reporter("reading"))
    warnings: list[str] = []
    kept = Kept(Run.create(folder / "run"), "all of it")
    return find_things(clip, wanted, Context("cpu"), kept, warnings), warnings


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_masks_of_the_first_frame_are_carried_on(tmp_path: Path) -> None:
    drawn.write(tmp_path / "clip")
    (thing,), _ = found(tmp_path, Wanted(first=True))
    assert "carried" in thing.route
    # a pixel of its edge is a tenth of the ball
    assert np.mean([overlap(thing.masks[f], drawn.inside(f)) for f in range(drawn.FRAMES)]) > 0.75


def test_boxes_become_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "best_prior", lambda role: seeds_prior())
    drawn.write(tmp_path / "clip")
    x, y = drawn.middle(1)
    box = [x - 10, y - 10, x + 10, y + 10]
    (tmp_path / "boxes.json").write_text(json.dumps({"frame": 1, "boxes": [{"box": box, "id": 4, "name": "ball"}]}))
    (thing,), _ = found(tmp_path, Wanted(boxes=tmp_path / "boxes.json"))
    assert (thing.id, thing.name) == (4, "ball")
    assert np.mean([overlap(thing.masks[f], drawn.inside(f)) for f in range(drawn.FRAMES)]) > 0.8


def seeds_prior() -> Any:
    """GrabCut, whatever weights this machine has."""
    from legs4d.priors.registry import find_prior

    return find_prior("grabcut")


def test_what_moves_is_found_and_where_nothing_does_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeds, "best_prior", lambda role: seeds_prior() if role == "masks" else None)
    root = drawn.write(tmp_path / "clip")
    things, warnings = found(tmp_path, Wanted(found=True))
    assert max(overlap(things[0].masks[f], drawn.inside(f)) for f in range(drawn.FRAMES)) > 0.75
    assert "what moves" in warnings[0]
    still = tmp_path / "still"
    still.mkdir()
    for frame in range(4):
        Image.fromarray(drawn.wall()).save(still / f"{frame}.png")
    (tmp_path / "other").mkdir()
    with pytest.raises(Legs4dError, match="nothing moves"):
        found(tmp_path / "other", Wanted(), still)
    assert root.exists()


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"boxes": []}, "is no file of boxes"),
        ({"frame": 9, "boxes": [[1, 1, 5, 5]]}, "has boxes of frame 9"),
        ({"boxes": [[90, 10, 200, 20]]}, "box 1 is not in the picture, which is 96×64"),
    ],
)
def test_wrong_boxes_are_told(tmp_path: Path, told: dict[str, Any], sentence: str) -> None:
    drawn.write(tmp_path / "clip")
    (tmp_path / "boxes.json").write_text(json.dumps(told))
    with pytest.raises(Legs4dError, match=re.escape(sentence)):
        found(tmp_path, Wanted(boxes=tmp_path / "boxes.json"))


def panned(folder: Path, degrees: list[float], zoom: float) -> NDArray[np.float64]:
    """A textured far plane filmed by a camera that turns; its intrinsics."""
    import cv2

    chance = np.random.default_rng(5)
    far = cv2.resize(chance.integers(0, 255, (60, 90, 3)).astype(np.uint8), (720, 480), interpolation=cv2.INTER_CUBIC)
    matrix = default_intrinsics(160, 120)
    plane = np.array([[matrix[0, 0], 0, 360], [0, matrix[1, 1], 240], [0, 0, 1]])
    folder.mkdir()
    for frame, angle in enumerate(degrees):
        own = matrix.copy()
        own[[0, 1], [0, 1]] *= 1 + (zoom - 1) * frame / (len(degrees) - 1)
        turn = Rotation.from_euler("y", angle, degrees=True).as_matrix()
        picture = cv2.warpPerspective(far, own @ turn @ np.linalg.inv(plane), (160, 120))
        Image.fromarray(picture).save(folder / f"{frame}.png")
    return matrix


def test_a_camera_that_turns_and_zooms_is_found(tmp_path: Path) -> None:
    degrees = [-4.0, -2.0, 0.0, 3.0, 5.0]
    matrix = panned(tmp_path / "clip", degrees, 1.2)
    clip = open_clip(tmp_path / "clip", QUIET.reporter("reading"))
    turning = find_turning(clip, [], matrix, QUIET.reporter("finding"))
    assert turning.only_turns and not turning.is_still
    turned = turning.rotations[4] @ turning.rotations[0].T
    assert np.degrees(Rotation.from_matrix(turned).magnitude()) == pytest.approx(
        9, abs=1
    )  # the focal length of the middle frame is not known
    assert turning.zooms[4] / turning.zooms[0] == pytest.approx(1.2, abs=0.02)
    there = homography(turning, matrix, 0, 4) @ [80, 60, 1]
    assert np.isfinite(there).all()


def test_a_still_camera_is_told_as_such(tmp_path: Path) -> None:
    drawn.write(tmp_path / "clip")
    asked = Video(source=str(tmp_path / "clip"), out=str(tmp_path / "run"), stage="objects", lite=True, frames=[0, 2])
    make_video_run(asked, Context("cpu"))
    kept = np.load(tmp_path / "run" / "video" / "camera.npz")
    assert str(kept["route"]) == "still"


@pytest.mark.parametrize("mirrored", [False, True])
def test_ground_that_falls_away_is_no_structure_from_motion(tmp_path: Path, mirrored: bool) -> None:
    """A wall 4 units ahead, and below it a floor that comes nearer, or the same points mirrored in depth."""
    clip = open_clip(drawn.write(tmp_path), QUIET.reporter("reading"))
    matrix = np.array([[96.0, 0, 48], [0, 96, 32], [0, 0, 1]])
    x, y = (values.ravel() for values in np.meshgrid(np.linspace(4, 92, 12), np.linspace(2, 62, 16)))
    rays = np.stack([(x - 48) / 96, (y - 32) / 96, np.ones_like(x)], axis=1)
    deep = np.minimum(4.0, 0.8 / np.maximum(rays[:, 1], 1e-9))
    if mirrored:
        deep = 16.0 / deep
    points = rays * deep[:, None]
    poses, matrices = np.tile(np.eye(4), (2, 1, 1)), np.tile(matrix, (2, 1, 1))
    assert _falls_away(clip, poses, matrices, points) is mirrored
