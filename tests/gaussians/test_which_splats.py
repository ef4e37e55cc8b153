"""Which files a folder, a pattern or a list of splats means, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from legs4d.errors import DatasetError
from legs4d.gaussians.formats.splat_files import find_splats
from legs4d.gaussians.import_splats import import_splats
from tests.gaussians.written import apart, values, walk, write


def test_numbers_are_in_natural_order_and_told(tmp_path: Path) -> None:
    for number in (8, 9, 10, 11):
        write(tmp_path / f"f/splat_{number}.ply", values(3 + number))
    (tmp_path / "f/._splat_8.ply").write_bytes(b"resource fork")
    (tmp_path / "f/readme.txt").write_text("not a splat")
    frames = find_splats([tmp_path / "f"])
    assert frames.numbers == (8, 9, 10, 11)
    assert [frames.count(frame) for frame in range(4)] == [11, 12, 13, 14]
    assert find_splats([str(tmp_path / "f/splat_*.ply")]).numbers == (8, 9, 10, 11)
    named = find_splats([tmp_path / "f/splat_11.ply", tmp_path / "f/splat_8.ply"])
    assert [named.path(frame).name for frame in range(2)] == ["splat_11.ply", "splat_8.ply"] and named.numbers == (0, 1)


def test_every_tenth_frame_is_a_sequence_and_a_gap_is_said(tmp_path: Path) -> None:
    for number in (0, 10, 20, 40):
        write(tmp_path / f"f/{number}.ply", values())
    with pytest.raises(DatasetError, match=r"number 30 is missing between 20\.ply and 40\.ply"):
        find_splats([tmp_path / "f"])
    (tmp_path / "f/40.ply").unlink()
    assert find_splats([tmp_path / "f"]).numbers == (0, 10, 20)


def test_a_folder_that_3dgs_trained_is_its_last_iteration(tmp_path: Path) -> None:
    write(tmp_path / "out/point_cloud/iteration_7000/point_cloud.ply", values(3))
    last = write(tmp_path / "out/point_cloud/iteration_30000/point_cloud.ply", values(4))
    assert find_splats([tmp_path / "out"]).files() == find_splats([tmp_path / "out/point_cloud"]).files() == [last]
    for number in (1, 2):
        write(tmp_path / f"frames/{number:03}/point_cloud/iteration_2000/point_cloud.ply", values(number))
    frames = find_splats([tmp_path / "frames"])
    assert frames.numbers == (1, 2) and [frames.count(frame) for frame in range(2)] == [1, 2]


def test_signs_of_patterns_in_the_names_of_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        write(tmp_path / f"take [1]/[{number}].ply", values(number))
    folder = tmp_path / "take [1]"
    for named in (folder, f"{folder}/*.ply", f"{folder}/[[]*.ply", f"{folder}/"):
        frames = find_splats([str(named)])
        assert frames.numbers == (1, 2) and [frames.count(frame) for frame in range(2)] == [1, 2]
    monkeypatch.chdir(tmp_path)
    assert find_splats(["take [1]/*.ply"]).numbers == find_splats(["./take [[]1]/*.ply"]).numbers == (1, 2)
    monkeypatch.chdir(folder)
    assert find_splats(["[2].ply"]).count(0) == 2 and len(find_splats(["."])) == 2


def test_links_lead_to_files_elsewhere(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path / f"disk {number}/scene.ply", values(number))
        (tmp_path / "shot").mkdir(exist_ok=True)
        (tmp_path / f"shot/{number}.ply").symlink_to(tmp_path / f"disk {number}/scene.ply")
    run = import_splats([tmp_path / "shot"], tmp_path / "run")
    assert run.loose_counts.tolist() == [1, 2] and run.info["frame_numbers"] == [1, 2]


def test_a_number_that_is_there_twice(tmp_path: Path) -> None:
    for name in ("1", "01", "2"):
        write(tmp_path / f"f/{name}.ply", values())
    with pytest.raises(DatasetError, match=r"number 1 is there twice \(01\.ply and 1\.ply\)"):
        find_splats([tmp_path / "f"])


def test_a_meta_json_among_files_of_splats_is_no_sog(tmp_path: Path) -> None:
    write(tmp_path / "f/0.ply", values())
    (tmp_path / "f/meta.json").write_text('{"camera": "left"}')
    assert find_splats([tmp_path / "f"]).kind == "ply"


@pytest.mark.parametrize(
    ("files", "named", "says"),
    [
        ({}, ["nothing.ply"], r"nothing\.ply: there is no such file"),
        ({}, ["*.ply"], r"\*\.ply: there is no such file"),
        ({"f/notes.txt": b""}, ["f"], "holds no splats"),
        ({"a.obj": b"v 0 0 0"}, ["a.obj"], r"is no kind of splat file that is read \(\.obj\)"),
        ({"a.ply": b"GIF89a"}, ["a.ply"], "is no .ply file"),
        ({"a.ply": b""}, ["a.ply"], "is empty"),
        ({"f/1.ply": b"x", "f/1.spz": b"x"}, ["f"], r"mixes formats \(ply, spz\)"),
        ({"a.spz": b"ply\nformat ascii 1.0\n"}, ["a.spz"], "is no .spz file but a .ply file"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, files: dict[str, bytes], named: list[str], says: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=says):
        import_splats([str(tmp_path / name) for name in named], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_frame_without_gaussians_is_told_before_there_is_a_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"01\.ply: holds no Gaussians"):
        import_splats([apart(tmp_path / "f", (3, 0, 4))], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_that_breaks_off_in_the_middle_of_a_sequence_is_named(tmp_path: Path) -> None:
    folder = walk(tmp_path / "walk")
    half = (folder / "frame_2.ply").read_bytes()
    (folder / "frame_2.ply").write_bytes(half[: len(half) // 2])
    with pytest.raises(DatasetError, match=r"frame_2\.ply: is cut short"):
        import_splats([folder], tmp_path / "run")
    write(folder / "frame_2.ply", values())
    assert import_splats([folder], tmp_path / "run").available_frames() == [0, 1, 2, 3]  # the same command goes on
