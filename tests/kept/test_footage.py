"""Footage is known by its content, wherever it lies, and is found where it is said to be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from legs4d import pipeline
from legs4d.context import Context
from legs4d.errors import DatasetError
from legs4d.gaussians.store.footage import find_footage
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import RunDiffers
from legs4d.scene import content as scene_content
from legs4d.scene.readers import open_sequence
from tests.kept.conftest import SETTINGS, content, train
from tests.synthetic import Scene, write_dataset


def touched(footage: Path, _: Path) -> Path:
    for path in footage.rglob("*"):
        os.utime(path)
    return footage


def copied(footage: Path, folder: Path) -> Path:
    return Path(shutil.copytree(footage, folder / "copy", copy_function=shutil.copyfile))


def zipped(footage: Path, folder: Path) -> Path:
    shutil.unpack_archive(shutil.make_archive(str(folder / "ball"), "zip", footage), folder / "unzipped")
    return folder / "unzipped"


@pytest.mark.parametrize("moved", [touched, copied, zipped])
def test_footage_is_known_by_its_content(
    footage: Path, run: Path, tmp_path: Path, moved: Callable[[Path, Path], Path]
) -> None:
    before = content(run)
    elsewhere = moved(footage, tmp_path)
    assert not train(elsewhere, run).stages
    assert content(run) == before
    assert Run.open(run).info["dataset"] == str(elsewhere.resolve())


def test_other_footage_is_told_by_its_files(footage: Path, run: Path, tmp_path: Path) -> None:
    other = copied(footage, tmp_path)
    Image.new("RGB", (24, 16)).save(other / "ims/0/000001.png")
    (other / "init_pt_cld.npz").write_bytes(b"")
    np.savez(other / "init_pt_cld.npz", data=np.ones((4, 7), np.float32))
    with pytest.raises(RunDiffers) as differs:
        train(other, run)
    assert "footage: 1 file differs: ims/0/000001.png; footage: 1 file is new: init_pt_cld.npz" in str(differs.value)


def test_footage_that_moved_is_found_where_it_is_said_to_be(run: Path, footage: Path, tmp_path: Path) -> None:
    elsewhere = copied(footage, tmp_path)
    Run.open(run).set_info(dataset=str(tmp_path / "gone"))
    with pytest.raises(DatasetError, match=r"gone: is no longer there.*--dataset"):
        pipeline.evaluate(run, Context("cpu"))
    assert pipeline.evaluate(run, Context("cpu"), dataset=elsewhere)["psnr"] > 5
    assert Run.open(run).info["dataset"] == str(elsewhere.resolve())
    assert pipeline.evaluate(run, Context("cpu"))["psnr"] > 5


def test_other_footage_than_a_runs_is_refused(run: Path, footage: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", Scene(num_frames=3, width=24, height=16, num_train=3, num_test=1))
    for call in (pipeline.evaluate, lambda run, dataset: pipeline.lift(run, SETTINGS.lift, dataset=dataset)):
        with pytest.raises(RunDiffers, match=r"footage: .* files are gone: ims/.*--dataset"):
            call(run, dataset=other)
    assert Run.open(run).info["dataset"] == str(footage.resolve())


def test_the_cache_of_hashes_is_a_shortcut_only(
    footage: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is changed and given its old size and time back is another one all the same."""
    monkeypatch.setattr(scene_content, "FRESH_NS", 0)
    other = copied(footage, tmp_path)
    open_sequence(other).fingerprint()
    with monkeypatch.context() as patched:
        patched.setattr(scene_content, "_read_all", lambda *_: pytest.fail("was read again"))
        open_sequence(other).fingerprint()
    path = other / "ims/0/000001.png"
    old = path.stat()
    assert open_sequence(other).fingerprint() == open_sequence(footage).fingerprint()
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    with pytest.raises(RunDiffers, match=r"1 file differs: ims/0/000001\.png"):
        find_footage(Run.open(run), other)
