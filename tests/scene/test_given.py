"""What was given to a command that does not take it is told, with the command that does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from legs4d.cli import app

JSON = json.dumps({"frames": []}).encode()
TRAIN, OBJECT, VIDEO, SPLATS, INFO = ("train", "object", "video", "import-splats", "info")


@pytest.mark.parametrize(
    ("inside", "given", "told"),
    [
        ({"a.mp4": b""}, "a.mp4", "`legs4d video` makes a scene of a video, `legs4d object` one object"),
        ({"a.jpg": b""}, "a.jpg", "`legs4d object` makes an object of one picture"),
        ({"a.HEIC": b""}, "a.HEIC", "convert .heic to .png or .jpg"),
        ({"a.ply": b""}, "a.ply", "`legs4d import-splats` makes a run of splats"),
        ({"a.glb": b""}, "a.glb", "meshes can be filmed"),
        ({"a.ksplat": b""}, "a.ksplat", "splat-transform IN OUT.ply"),
        ({"a.ckpt": b""}, "a.ckpt", "`ns-export gaussian-splat`"),
        ({"f/point_cloud/iteration_7/point_cloud.ply": b"", "f/cameras.json": b"[]"}, "f", "it is what 3DGS made"),
        ({"a.zip": b""}, "a.zip", "unpack it, and give the folder"),
        ({"f/transforms.json": JSON}, "f/transforms.json", "give its folder, f"),
        ({"f/run.json": b"{}"}, "f", "it is a run: `legs4d info`"),
        ({"f/shot/run.json": b"{}"}, "f", "there is a run in it: give f/shot"),
        ({"f/shot/transforms.json": JSON}, "f", "there is footage in it: give f/shot"),
        ({"f/transforms.json": JSON, "f/images/1.png": b""}, "f/images", "it lies in footage: give /"),
        ({"f/images/1.png": b"", "f/sparse/0/cameras.bin": b""}, "f/sparse/0", "/f."),
        ({"f/1.mov": b""}, "f", "it holds a video: `legs4d video f/1.mov`"),
        ({"f/1.mov": b"", "f/2.mov": b""}, "f", "cameras.json has to say where these stand"),
        ({"f/1.spz": b""}, "f", "`legs4d import-splats` makes a run of splats"),
        ({"f/1.png": b"", "f/notes.txt": b""}, "f", "COLMAP or nerfstudio find that"),
        ({"f/images/1.png": b""}, "f", "COLMAP or nerfstudio find that"),
        ({"f/IMG_1.HEIC": b""}, "f", "convert its pictures to .png or .jpg"),
        ({"f/notes.txt": b""}, "f", "README's"),
        ({}, "f", "is not a folder"),
    ],
)
def test_train_says_what_it_was_given(
    inside: dict[str, bytes], given: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told in said(inside, [TRAIN, given, "--out", "run"], tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("inside", "command", "told"),
    [
        ({"f/a.mp4": b""}, [INFO, "f/a.mp4"], "`legs4d video` makes a scene"),
        ({"f/transforms.json": JSON}, [INFO, "f"], "it is footage (layout nerf)"),
        ({"f/a/run.json": b"{}"}, [INFO, "f"], "there is a run in it: give f/a"),
        ({"f/run.json": b"{}"}, [SPLATS, "f", "--out", "run"], "it is a run"),
        ({"f.mp4": b""}, [SPLATS, "f.mp4", "--out", "run"], "`legs4d video` makes a scene"),
        ({"f/transforms.json": JSON}, [VIDEO, "f", "--out", "run"], "`legs4d train` makes a run of it"),
        ({"f/a.mp4": b"", "f/b.mp4": b""}, [VIDEO, "f", "--out", "run"], "of one video `legs4d video f/a.mp4`"),
        ({"f.ply": b"ply"}, [VIDEO, "f.ply", "--out", "run"], "`legs4d import-splats` makes a run of splats"),
        ({"f/a.heic": b""}, [OBJECT, "f", "--out", "run"], "convert its pictures"),
        ({"f.mp4": b"no video"}, [OBJECT, "f.mp4", "--out", "run"], "copy or encode it again"),
    ],
)
def test_other_commands_say_so_too(
    inside: dict[str, bytes], command: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told in said(inside, command, tmp_path, monkeypatch)


def said(inside: dict[str, bytes], command: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command that fails says, with the lines joined."""
    for name, content in inside.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1, result.output
    return " ".join(result.output.split())
