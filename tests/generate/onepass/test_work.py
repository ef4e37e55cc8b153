"""`legs4d object --method onepass`, from a video to files of other programs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from legs4d.commands import Object
from legs4d.context import Context
from legs4d.errors import DatasetError, Legs4dError
from legs4d.gaussians.export import FileFormat, export_files
from legs4d.gaussians.import_splats import import_splats
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import RunDiffers
from legs4d.generate.onepass import checkpoint
from legs4d.generate.onepass import work as onepass
from legs4d.generate.work import object_run
from tests.generate.onepass.small import RAYS, lopsided, networks, pictures


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six frames of an object, and a network that is small enough for tests."""
    monkeypatch.setattr(onepass, "open_networks", lambda files, device: networks(RAYS, interp=True))
    stands_for = tmp_path / "own.safetensors"
    stands_for.write_bytes(b"its hash is kept")
    monkeypatch.setattr(checkpoint, "DEFAULT", stands_for)
    folder = tmp_path / "clip"
    folder.mkdir()
    thing = lopsided().take(np.arange(2))  # in one piece
    for frame in range(6):
        shown = pictures(thing.replace(means=thing.means + np.array([0.02 * frame, 0, 0], np.float32)), 0, (0,), 64)[0]
        shown[..., :3] = (shown[..., :3] / shown[..., 3:].clip(1) * 255).clip(0, 255)
        Image.fromarray(shown).save(folder / f"{frame}.png")
    return folder


def made(clip: Path, out: Path, **how: object) -> dict[str, object]:
    asked = {"source": str(clip), "out": str(out), "method": "onepass", "fps": 12, **how}
    return object_run(Object.model_validate(asked), Context("cpu"))


def test_a_video_becomes_a_run_that_other_programs_get(clip: Path, tmp_path: Path) -> None:
    told = made(clip, tmp_path / "run", interpolate=True)
    assert told["frames"] == 16 and told["method"] == "onepass" and told["prior"] == "none"
    assert "guess" in str(told["warnings"])
    run = Run.open(tmp_path / "run")
    assert run.info["kind"] == "generated" and run.info["fps"] == 36
    assert told["gaussians"] == run.count(0) > 0 and 0 < float(str(told["seen"])) < 1
    again = made(clip, tmp_path / "run", interpolate=True)
    assert again["seconds"] == told["seconds"]  # nothing is made twice
    with pytest.raises(RunDiffers, match=r"onepass\.interpolate"):
        made(clip, tmp_path / "run")
    kinds: tuple[FileFormat, ...] = ("ply", "spz", "gltf")
    for kind in kinds:
        files = export_files(run, tmp_path / kind, range(2), kind)
        back = import_splats(files, tmp_path / f"from_{kind}", identity="none")
        assert back.loose_counts.tolist() == [run.count(0), run.count(1)]
    assert export_files(run, tmp_path / "usd", range(2), "usdz")[0].stat().st_size > 1000


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"method": "roads", "interpolate": True}, "--interpolate is for --method onepass"),
        ({"prior": "inflate"}, "--prior is for --method roads"),
        ({"views": "a", "views_by": "zero123-views"}, "two ways to one thing"),
    ],
)
def test_options_of_the_other_method_are_refused(how: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Object.model_validate({"source": "x.mp4", "out": "run", "method": "onepass", **how})


def test_helpers_and_weights_that_are_not_there(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Legs4dError, match=r"helper for flow; choose one of: .*zero123-views"):
        made(clip, tmp_path / "a", views_by="gmflow")
    with pytest.raises(DatasetError, match="azimuths 90, 180, 270"):
        (tmp_path / "views").mkdir()
        Image.new("RGBA", (64, 64), (9, 9, 9, 255)).save(tmp_path / "views" / "0.png")
        made(clip, tmp_path / "b", views=str(tmp_path / "views"))
    monkeypatch.setattr(checkpoint, "DEFAULT", tmp_path / "lost.safetensors")
    with pytest.raises(Legs4dError, match="tiny4d are missing from this package; give recon"):
        made(clip, tmp_path / "c")
    assert not (tmp_path / "c").exists()
    with pytest.raises(Legs4dError, match="no such file"):
        made(clip, tmp_path / "d", weights=["nowhere.safetensors"])


def test_videos_of_one_frame_and_of_too_many(clip: Path, tmp_path: Path) -> None:
    """One sentence each, before a network has done anything; what is chosen of a long one is taken."""
    many = tmp_path / "many"
    many.mkdir()
    for number in range(3000):
        os.link(clip / "0.png", many / f"{number:04}.png")
    with pytest.raises(DatasetError, match=r"has 3000 frames, and 600 are the most .*--frames 0:599") as told:
        made(many, tmp_path / "a")
    assert "\n" not in str(told.value)
    assert made(many, tmp_path / "b", frames=[2990, 2994])["frames"] == 5
    av = pytest.importorskip("av")
    film = tmp_path / "one.mp4"
    with av.open(str(film), "w") as file:
        stream = file.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 64
        file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 255, np.uint8), format="rgb24")))
        file.mux(stream.encode())
    with pytest.raises(DatasetError, match="is a video of a single frame"):
        made(film, tmp_path / "c")
