"""The zip: built as users get it, installed by Blender's own installer where nothing but `bpy` is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from conftest import LIBRARY, ROOT, library_environment

PLATFORMS = {"linux-x64": "manylinux", "windows-x64": "win_amd64", "macos-arm64": "macosx"}

INSTALL = """
import bpy, json, sys
assert not {"zmq", "msgpack"} & set(sys.modules)
bpy.ops.extensions.package_install_files(filepath=sys.argv[1], repo="user_default", enable_on_install=True)
import zmq, msgpack
import pathlib, tempfile
from bl_ext.user_default.legs4d.portable.files import read_splats
file = pathlib.Path(tempfile.mkdtemp(), "x.ply")
head = b"ply\\nformat ascii 1.0\\nelement vertex 1\\n"
file.write_bytes(head + b"property float x\\nproperty float y\\nproperty float z\\nend_header\\n1 2 3\\n")
print(json.dumps({
    "enabled": "bl_ext.user_default.legs4d" in bpy.context.preferences.addons,
    "zmq": zmq.__file__, "msgpack": msgpack.__file__, "curve": zmq.has("curve"),
    "operators": hasattr(bpy.types, "LEGS4D_OT_ask") and hasattr(bpy.types, "LEGS4D_OT_capture"),
    "splats": read_splats(file).means.tolist(),
    "panel": hasattr(bpy.types, "LEGS4D_PT_backend"),
}))
bpy.ops.preferences.addon_disable(module="bl_ext.user_default.legs4d")
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip, from the command that the README names."""
    out, sample = tmp_path_factory.mktemp("zip"), tmp_path_factory.mktemp("sample") / "made"
    sample.write_bytes(b"a sample")
    done = subprocess.run(
        [LIBRARY / "python", "scripts/tools/build_extension.py", "--out", out, "--sample", sample],
        cwd=ROOT,
        env=library_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (made,) = out.glob("*.zip")
    return made


@pytest.fixture
def nothing_but_bpy(tmp_path: Path) -> Path:
    """A folder of packages like this environment's, without what the zip has to bring and what tests need."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(("zmq", "pyzmq", "msgpack", "pytest", "_pytest")):
            (folder / path.name).symlink_to(path)
    return folder


def test_wheels_of_every_platform_are_listed_and_there(archive: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        manifest = tomllib.loads(content.read("blender_manifest.toml").decode())
        there = {f"./{name}" for name in content.namelist() if name.endswith(".whl")}
    assert set(manifest["wheels"]) == there
    assert sorted(manifest["platforms"]) == sorted(PLATFORMS)
    assert len(there) == 3 * len(PLATFORMS)  # msgpack for each Python, pyzmq for both
    for package in ("msgpack", "pyzmq"):
        for mark in PLATFORMS.values():
            found = {name for name in there if package in name and mark in name}
            assert found, (package, mark)
            assert any("abi3" in name for name in found) or len(found) == 2  # Python 3.13 and 3.14


def test_a_zip_per_platform_has_that_platforms_wheels_only(tmp_path: Path) -> None:
    command = [LIBRARY / "python", "scripts/tools/build_extension.py", "--out", tmp_path, "--split"]
    done = subprocess.run(command, cwd=ROOT, env=library_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    archives = {path.stem.rpartition("-")[2].replace("_", "-"): path for path in tmp_path.glob("*.zip")}
    assert sorted(archives) == sorted(PLATFORMS)
    for platform, path in archives.items():
        with zipfile.ZipFile(path) as content:
            # Blender's tool says there what of the manifest this zip has.
            made = tomllib.loads(content.read("blender_manifest.toml").decode())["build"]["generated"]
            there = {f"./{name}" for name in content.namelist() if name.endswith(".whl")}
        assert made["platforms"] == [platform]
        assert len(there) == 3 and set(made["wheels"]) == there
        assert all(PLATFORMS[platform] in name for name in there)


def test_no_source_of_the_library_travels_along(archive: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        names = content.namelist()
    assert "sample.legs4d" in names and "wire.py" in names and "portable/ply/file.py" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("legs4d/", "tests/"))]


def test_blender_installs_and_enables_it(archive: Path, nothing_but_bpy: Path, tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BLENDER", "LEGS4D"))
    }
    environment |= {
        "PYTHONPATH": str(nothing_but_bpy),
        "BLENDER_USER_RESOURCES": str(tmp_path / "blender"),
        "LEGS4D_STATE_DIR": str(tmp_path / "state"),
    }
    done = subprocess.run(
        [sys.executable, "-S", "-c", INSTALL, archive], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert found["enabled"] and found["splats"] == [[1, 2, 3]]
    assert found["operators"]
    assert found["panel"]
    for module in ("zmq", "msgpack"):
        assert found[module].startswith(str(tmp_path / "blender")), f"{module} is not the zip's"
