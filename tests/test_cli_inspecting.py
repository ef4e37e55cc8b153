"""`legs4d info`, `doctor` and `--version`: what they say of a run and of this machine."""

from __future__ import annotations

import errno
import json
import os
import socket
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from backend.service.errors import error_body
from backend.wire import PROTOCOL_VERSION
from legs4d import __version__
from legs4d.cli import app, checks
from legs4d.cli.checks import Check, check_all
from tests.backend.conftest import ServerProcess
from tests.deform.film import write_film
from tests.scene.as_filmed import edit
from tests.scene.readers.layouts import FLIP
from tests.synthetic import Scene, write_run

SCENE = Scene(num_frames=3, width=48, height=32, num_train=4, num_test=1)


def legs4d(*arguments: object, exit_code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == exit_code, done.output
    return done.stdout


def test_the_version() -> None:
    assert legs4d("--version") == f"legs4d {__version__}\n"


def test_check_tells_poses_of_another_convention(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film", frames=6, size=32, tests=2)
    told = json.loads(legs4d("check", film, "--json"))
    assert (told["pictures"], told["method"], told["poses"]) == ({"train": 6, "test": 2}, "deform", None)

    def turn(content: Any) -> None:
        for frame in content["frames"]:
            frame["transform_matrix"] = (np.array(frame["transform_matrix"]) @ FLIP).tolist()

    edit(film / "transforms_train.json", turn)
    said = legs4d("check", film)
    assert "6 training and 2 test pictures by cameras that move, 32×32" in said
    assert "6 of 6 cameras look away" in said and "(OpenGL)" in said


def test_info_says_what_a_run_holds(tmp_path: Path) -> None:
    (tmp_path / "footage").mkdir()
    run = write_run(tmp_path / "run", SCENE, dataset=str(tmp_path / "footage"))
    found = json.loads(legs4d("info", run.path, "--json"))
    assert (found["format"], found["kind"], found["frames"], found["fps"]) == (run.format, "captured", 3, 10.0)
    assert found["gaussians"] == {"static": run.num_static, "dynamic": run.num_dynamic, "loose": [0, 0]}
    assert found["finished"] and found["language"] and found["encoder"] == "captions"
    assert found["footage"] == {"place": str(tmp_path / "footage"), "there": True, "scale": 1.0, "masks": None}
    assert found["stages"]["tracking"]["done_frames"] == 3 and found["stages"]["lift"]["finished"]
    assert found["bytes"] == sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    (tmp_path / "footage").rmdir()
    text = legs4d("info", run.path)
    assert f"Gaussians  {run.num_static} static, {run.num_dynamic} dynamic" in text and "(not there now)" in text
    assert "is not a run folder" in CliRunner().invoke(app, ["info", str(tmp_path)]).output


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One package that is there and one that is not, in place of large ones."""
    monkeypatch.setattr(checks, "EXTRAS", {"zmq": ("readers", "reads"), "no_such_module": ("view", "shows")})


def by_name(found: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in found}


def test_doctor_finds_what_is_there_and_what_is_not(quick: None, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    found = by_name(list(check_all([tmp_path / "root", tmp_path / "none"], tmp_path / "state/new", None, None)))
    for name in ("python", "legs4d", "torch", "csrc", "ffmpeg", "zmq", "weights: tiny", "weights: captions", "state"):
        assert found[name].state == "ok", found[name]
    assert f"protocol {PROTOCOL_VERSION}" in found["legs4d"].what
    missing = found["no_such_module"]
    assert (missing.state, missing.cure) == ("warn", "pip install 'legs4d[view]'") and "shows" in missing.what
    assert found[f"root {tmp_path / 'root'}"].state == "ok"
    assert found[f"root {tmp_path / 'none'}"].state == "fail" and "make it" in found[f"root {tmp_path / 'none'}"].cure
    assert found["server"].what == "none runs" and not (tmp_path / "state").exists()
    assert all(check.cure for check in found.values() if check.state != "ok")


def test_doctor_compares_extension_port_and_server(quick: None, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "old.zip", "w") as archive:
        archive.writestr("wire.py", "PROTOCOL_VERSION = 1\n")
        archive.writestr("blender_manifest.toml", 'version = "0.0.9"\n')
    (tmp_path / "root").mkdir()
    server = ServerProcess([tmp_path / "root"], tmp_path / "state").start()
    try:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            found = by_name(list(check_all([tmp_path / "root"], tmp_path / "state", port, tmp_path / "old.zip")))
        assert found["extension old.zip"] == Check(
            *("extension old.zip", "fail", "version 0.0.9, protocol 1"),
            "build it again: python scripts/tools/build_extension.py --out dist",
        )
        assert found[f"port {port}"].state == "warn"
        assert (
            found["server"].state == "ok" and f"legs4d {__version__} runs at tcp://127.0.0.1:" in found["server"].what
        )
        server.kill()
        after = by_name(list(check_all([tmp_path / "root"], tmp_path / "state", None, tmp_path / "none.zip")))
        assert after["server"].state == "warn" and after["extension none.zip"].state == "fail"
    finally:
        server.close()


def test_doctor_prints_a_line_each_and_exits_with_1_if_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [Check("one", "ok", "there"), Check("two", "warn", "old", "update it")]
    monkeypatch.setattr(checks, "check_all", lambda *given: iter(said))
    assert legs4d("doctor") == "ok    one: there\nwarn  two: old; update it\n"
    said.append(Check("three", "fail", "is missing", "make it"))
    found = json.loads(legs4d("doctor", "--json", exit_code=1))
    assert found["ok"] is False and found["checks"][2] == {
        **{"name": "three", "state": "fail", "what": "is missing", "cure": "make it"}
    }


def test_a_full_disk_is_told_whatever_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/x")

    monkeypatch.setattr(checks, "check_all", full)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert done.stderr == (
        "No space is left on the disk of /somewhere/x; free some and run the same command again: "
        "what is finished is kept.\n"
    )
    assert error_body(OSError(errno.ENOSPC, "x"))["message"] == "no space is left on the server's disk"
