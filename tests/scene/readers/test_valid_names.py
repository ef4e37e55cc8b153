"""Names as Windows, macOS and people write them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from legs4d.errors import DatasetError
from legs4d.scene.readers import open_sequence
from tests.scene.as_filmed import CLOSE, SCENE, WRITERS, assert_is_the_scene, edit
from tests.scene.readers.layouts import (
    write_colmap,
    write_instant_ngp,
    write_multipleview,
    write_neu3d,
    write_plain_videos,
)
from tests.synthetic import Scene


def long_scene() -> Scene:
    return Scene(num_frames=12, width=32, height=24, num_train=2, num_test=0)


@pytest.mark.parametrize(
    "pictures", ["cam{camera}/{frame}.png", "{frame}/cam{camera}.png", "c{camera}/f_{frame}_x.png"]
)
def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path, pictures: str) -> None:
    sequence = open_sequence(write_colmap(tmp_path, long_scene(), pictures=pictures))
    assert_is_the_scene(sequence, long_scene())


def test_frames_are_in_order_in_every_layout(tmp_path: Path) -> None:
    folder = write_multipleview(tmp_path, long_scene())
    for path in folder.rglob("frame_*.png"):
        path.rename(path.with_name(f"{int(path.stem[6:])}.png"))
    assert_is_the_scene(open_sequence(folder), long_scene())


def test_videos_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    scene = Scene(num_frames=1, width=32, height=24, num_train=11, num_test=0)
    folder = write_neu3d(tmp_path, scene)
    for path in sorted(folder.glob("cam*.mp4")):
        path.rename(path.with_name(f"cam{int(path.stem[3:])}.MP4"))
    assert_is_the_scene(open_sequence(folder), scene, 0.03)


def test_names_that_mix_are_refused(tmp_path: Path) -> None:
    folder = write_colmap(tmp_path, SCENE)
    for path in folder.glob("images/*/0001.png"):
        path.rename(path.with_name("take_1.png"))
    with pytest.raises(DatasetError, match=r"names its frames in more than one way \('0000' and 'take_1'\)"):
        open_sequence(folder)


def test_each_camera_may_name_its_frames_in_its_own_way(tmp_path: Path) -> None:
    folder = write_colmap(tmp_path, SCENE, pictures="cam{camera:02d}/cam{camera:02d}_{frame}.png")
    assert_is_the_scene(open_sequence(folder), SCENE)


@pytest.mark.parametrize("name", WRITERS)
def test_what_systems_leave_behind_is_not_read(tmp_path: Path, name: str) -> None:
    folder = WRITERS[name](tmp_path, SCENE)
    for place in [folder, *(p for p in folder.rglob("*") if p.is_dir())]:
        for left in ("._0001.png", "._cam01.mp4", ".DS_Store", "Thumbs.db"):
            (place / left).write_bytes(b"\0\5\x16\7")
    (folder / "__MACOSX").mkdir()
    assert_is_the_scene(open_sequence(folder), SCENE, CLOSE.get(name, 0.003))


@pytest.mark.parametrize("name", WRITERS)
def test_suffixes_may_be_upper_case(tmp_path: Path, name: str) -> None:
    folder = WRITERS[name](tmp_path, SCENE)
    for path in [p for p in folder.rglob("*") if p.suffix in (".png", ".mp4")]:
        path.rename(path.with_suffix(path.suffix.upper()))
    assert_is_the_scene(open_sequence(folder), SCENE, CLOSE.get(name, 0.003))


def test_either_slash_separates(tmp_path: Path) -> None:
    nerf = write_instant_ngp(tmp_path / "nerf", SCENE)
    edit(
        nerf / "transforms.json",
        lambda c: [f.update(file_path=".\\" + f["file_path"].replace("/", "\\")) for f in c["frames"]],
    )
    panoptic = WRITERS["panoptic"](tmp_path / "panoptic", SCENE)
    for meta in ("train_meta.json", "test_meta.json"):
        edit(panoptic / meta, lambda c: c.update(fn=[[n.replace("/", "\\") for n in row] for row in c["fn"]]))
    videos = write_plain_videos(tmp_path / "videos", SCENE)
    (videos / "films").mkdir()
    for video in videos.glob("*.mp4"):
        video.rename(videos / "films" / video.name)
    edit(videos / "cameras.json", lambda c: [one.update(video="films\\" + one["video"]) for one in c["cameras"]])
    colmap = write_colmap(tmp_path / "colmap", SCENE)
    images = colmap / "sparse/0/images.txt"
    images.write_text(images.read_text().replace("/0000", "\\0000"))
    for folder in (nerf, panoptic, videos, colmap):
        assert_is_the_scene(open_sequence(folder), SCENE, CLOSE.get(folder.name, 0.003))


def test_letters_of_any_script_in_either_unicode_form(tmp_path: Path) -> None:
    folder = write_instant_ngp(tmp_path / "nerf", SCENE)
    (folder / "images").rename(folder / unicodedata.normalize("NFD", "écran 舞台"))
    edit(
        folder / "transforms.json",
        lambda c: [
            f.update(file_path=f["file_path"].replace("images", unicodedata.normalize("NFC", "écran 舞台")))
            for f in c["frames"]
        ],
    )
    assert_is_the_scene(open_sequence(folder), SCENE)
    colmap = write_colmap(tmp_path / "colmap", SCENE, pictures="Kam_é{camera}/{frame}.png")
    for path in sorted((colmap / "images").iterdir()):
        path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))
    assert_is_the_scene(open_sequence(colmap), SCENE)


@pytest.mark.parametrize("name", ["C:\\x.png", "..\\..\\x.png", "/etc/passwd", "a/../../x"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    edit(folder / "transforms.json", lambda c: c["frames"][0].update(file_path=name))
    with pytest.raises(DatasetError, match="names the file"):
        open_sequence(folder)
