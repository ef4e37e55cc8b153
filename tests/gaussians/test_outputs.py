"""Films and exports never take the place of what their run was made from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from legs4d.context import QUIET
from legs4d.effects.run_video import write_run_video
from legs4d.errors import RunError
from legs4d.gaussians.export import export_files
from legs4d.gaussians.import_splats import import_splats
from legs4d.gaussians.outputs import check_output
from legs4d.gaussians.store.footage import LISTING
from legs4d.gaussians.store.run import Run
from tests.gaussians.written import values, walk, write


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Of three files, frame_000000.ply and on."""
    for path in sorted(walk(tmp_path / "made", 3).iterdir()):
        path.rename(tmp_path / f"made/frame_00000{path.stem[-1]}.ply")
    return import_splats([tmp_path / "made"], tmp_path / "run")


def test_an_export_into_the_folder_that_was_imported_is_refused_and_others_are_not(run: Run, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    with pytest.raises(RunError, match=r"frame_000000\.ply: is what the run was made from, and would be replaced"):
        export_files(run, tmp_path / "made", range(3), "ply", QUIET)
    assert {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()} == before
    for _ in range(2):  # what it wrote itself it writes again
        export_files(run, tmp_path / "other", range(3), "ply", QUIET)


def test_a_single_file_in_a_folder_of_many_leaves_the_others_free(tmp_path: Path) -> None:
    write(tmp_path / "downloads/chair.ply", values())
    run = import_splats([tmp_path / "downloads/chair.ply"], tmp_path / "run")
    for _ in range(2):
        export_files(run, tmp_path / "downloads", range(1), "ply", QUIET)


def test_nothing_is_written_among_the_files_of_a_run(run: Run, tmp_path: Path) -> None:
    for work in (
        lambda: export_files(run, run.path, range(3), "spz", QUIET),
        lambda: write_run_video(run, run.path, "orbit", None, torch.device("cpu")),
    ):
        with pytest.raises(RunError, match="is a run, whose own files lie there"):
            work()
    assert {path.name for path in run.path.iterdir()} == {".lock", "run.json", "run.zarr"}


def test_pictures_and_videos_that_a_run_was_made_from_stay(run: Run, tmp_path: Path) -> None:
    footage = tmp_path / "set"
    for name in ("images/000000.png", "cam00.mp4"):
        (footage / name).parent.mkdir(parents=True, exist_ok=True)
        (footage / name).write_bytes(b"filmed")
    run.info["dataset"] = str(footage)
    (run.path / LISTING).write_text('{"footage": {"images/000000.png": "1", "cam00.mp4": "2"}, "language": {}}')
    for target in ("images", "cam00.mp4"):
        with pytest.raises(RunError, match="is what the run was made from"):
            check_output(run, footage / target)
    check_output(run, footage / "film.mp4")
    shutil.move(footage / "images", footage / "pictures")
    check_output(run, footage / "pictures")  # the run knows of others
