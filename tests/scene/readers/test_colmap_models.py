"""Where COLMAP's models lie, and which of several is read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from legs4d.scene.layouts import layout_of
from legs4d.scene.readers import open_sequence
from tests.scene.as_filmed import assert_is_the_scene
from tests.scene.readers.layouts import write_colmap
from tests.synthetic import Scene

SCENE = Scene(num_frames=3, width=32, height=24, num_train=4, num_test=1)


def first_pictures(model: Path, count: int) -> None:
    """A model keeps its first so many pictures."""
    lines = (model / "images.txt").read_text().splitlines()
    (model / "images.txt").write_text("\n".join(lines[: 2 * count]) + "\n")


@pytest.mark.parametrize("place", ["sparse", "colmap/sparse/0", "colmap/sparse", "."])
def test_models_are_found_where_programs_leave_them(place: str, tmp_path: Path) -> None:
    folder = write_colmap(tmp_path / "set", SCENE)
    files = shutil.move(folder / "sparse/0", tmp_path / "model")
    shutil.rmtree(folder / "sparse")
    shutil.copytree(files, folder / place, dirs_exist_ok=True)
    assert layout_of(folder) == "colmap"
    assert_is_the_scene(open_sequence(folder), SCENE)


def test_of_several_models_the_largest_is_read_and_the_others_are_told(tmp_path: Path) -> None:
    folder = write_colmap(tmp_path / "set", SCENE)
    shutil.copytree(folder / "sparse/0", folder / "sparse/10")
    shutil.copytree(folder / "sparse/0", folder / "sparse/2")
    first_pictures(folder / "sparse/0", 2)
    first_pictures(folder / "sparse/2", 3)
    sequence = open_sequence(folder)
    assert_is_the_scene(sequence, SCENE)
    assert any("sparse/10 is read, with 5 pictures; 0 has 2, 2 has 3" in note for note in sequence.notes)


def test_cameras_that_no_model_has_are_told(tmp_path: Path) -> None:
    folder = write_colmap(tmp_path / "set", SCENE)
    assert not open_sequence(folder).notes
    first_pictures(folder / "sparse/0", 3)
    sequence = open_sequence(folder)
    assert len(sequence.cameras("train", 0)) == 3
    assert any(
        "2 of 5 cameras are left out, as the model has no pose of them: cam03, cam04" in n for n in sequence.notes
    )


def test_pictures_of_one_moment_that_no_model_has_are_told(tmp_path: Path) -> None:
    folder = write_colmap(tmp_path / "set", Scene(1, 32, 24, 4, 1), pictures="{camera:02d}.png")
    first_pictures(folder / "sparse/0", 3)
    assert any("2 of 5 pictures are left out" in note for note in open_sequence(folder).notes)
