"""Builds the Blender extension: add-on, what it shares with the library, and wheels, in zips that Blender installs."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHEEL_CACHE = ROOT / "build" / "wheels"
SAMPLE = ROOT / "build" / "sample.legs4d"
"""What `scripts/demo/sample.py` makes of the demo's run, for people without a backend. Blender's tool leaves out what
ends in .zip."""
PACKAGES = ("msgpack", "pyzmq")
"""What the add-on imports beyond Blender's own Python; versions are those of constraints-blender.txt."""

PLATFORM_TAGS = {
    "linux-x64": ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    "windows-x64": ("win_amd64",),
    "macos-arm64": ("macosx_11_0_arm64", "macosx_12_0_arm64", "macosx_10_15_universal2"),
}
"""Blender's platform name → wheel platforms that it can load."""
SHARED = "wire.py", "access.py"
"""Of the backend: what it and the extension say to each other, and how the one finds the other."""
PYTHONS = ("3.13", "3.14")
"""Of Blender's own builds, and of those that a Linux distribution makes with its own Python."""


class BuildError(Exception):
    """The extension cannot be built; the message says what is missing and what to do."""


def assemble(folder: Path, sample: Path = SAMPLE) -> Path:
    """Copies the add-on and what it shares into `folder/blender_addon` (replacing it) and returns that path.

    Shared are `SHARED` of the backend and the folder `portable`, which know themselves by relative imports only.

    This is the tree that Blender runs, without wheels: the zip is made from it, and the tests import it.
    """
    package = folder / "blender_addon"
    if package.exists():
        shutil.rmtree(package)
    left_out = shutil.ignore_patterns(
        "__pycache__", "wheels", *(f"{name}*" for name in SHARED), "portable", SAMPLE.name
    )
    shutil.copytree(ROOT / "blender_addon", package, ignore=left_out)
    for name in SHARED:
        shutil.copy2(ROOT / "backend" / name, package / name)
    if sample.is_file():
        shutil.copy2(sample, package / SAMPLE.name)
    shutil.copytree(ROOT / "legs4d" / "portable", package / "portable", ignore=shutil.ignore_patterns("__pycache__"))
    return package


def wheels(platform: str) -> list[Path]:
    """The wheels of `PACKAGES` for one of `PLATFORM_TAGS` and all of `PYTHONS`, downloaded once into `WHEEL_CACHE`.

    Raises:
        BuildError: they are not cached and cannot be downloaded.
    """
    folder, found = WHEEL_CACHE / platform, []
    for python in PYTHONS:
        cached = _all_cached(folder, python)
        if not all(cached.values()):
            _download(platform, python, folder)
            cached = _all_cached(folder, python)
        missing = [name for name, wheel in cached.items() if wheel is None]
        if missing:
            raise BuildError(
                f"There is no wheel of {', '.join(missing)} for {platform}, Python {python}; look at {folder}."
            )
        found += [wheel for wheel in cached.values() if wheel is not None and wheel not in found]
    return found


def build(
    out: Path, platforms: list[str], blender_python: Path, *, split: bool = False, sample: Path = SAMPLE
) -> list[Path]:
    """Writes zips into `out`, made and checked by Blender's own tool; returns their paths.

    Args:
        split: one for each of `platforms`, with its own wheels only, instead of one for all.
        sample: what people without a backend can open; left out if it is not there.
    """
    tool = _blender_tool(blender_python)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        package = assemble(Path(scratch), sample)
        (package / "wheels").mkdir()
        names = set()
        for platform in platforms:
            for wheel in wheels(platform):
                shutil.copy2(wheel, package / "wheels")
                names.add(wheel.name)
        _write_manifest(package / "blender_manifest.toml", sorted(names), platforms)
        manifest = tomllib.loads((package / "blender_manifest.toml").read_text())
        parts = Path(scratch) / "zips"
        parts.mkdir()
        if split:
            wanted = ["--split-platforms", "--output-dir", str(parts)]
        else:
            wanted = ["--output-filepath", str(parts / f"{manifest['id']}-{manifest['version']}.zip")]
        _run([*tool, "build", "--source-dir", str(package), *wanted])
        made = sorted(parts.glob("*.zip"))
        for part in made:
            _run([*tool, "validate", str(part)])
        return [_moved(part, out) for part in made]


def _moved(part: Path, out: Path) -> Path:
    """The finished zip in `out`: complete or not there at all."""
    beside = out / f".{part.name}"
    shutil.move(part, beside)
    os.replace(beside, out / part.name)
    return out / part.name


def _pinned_versions() -> dict[str, str]:
    text = (ROOT / "constraints-blender.txt").read_text()
    return {name: re.search(rf"^{name}==(\S+)", text, re.M)[1] for name in PACKAGES}  # type: ignore[index]


def _all_cached(folder: Path, python: str) -> dict[str, Path | None]:
    """The wheel of each of `PACKAGES` that this Python loads: its own, or one for it and all later ones (abi3)."""
    wanted = _pinned_versions()
    return {name: _cached(folder, name, version, python) for name, version in wanted.items()}


def _cached(folder: Path, name: str, version: str, python: str) -> Path | None:
    own = f"cp{python.replace('.', '')}"
    for wheel in sorted(folder.glob(f"{name}-{version}-*.whl")):
        interpreter, abi, _ = wheel.stem.split("-")[-3:]
        oldest = int(interpreter.split(".")[0].removeprefix("cp3"))
        if abi == own or (abi == "abi3" and oldest <= int(python.split(".")[1])):
            return wheel
    return None


def _download(platform: str, python: str, folder: Path) -> None:
    """Fetches into a folder beside `folder` and moves the finished wheels, so that a killed download leaves no half."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        own = f"cp{python.replace('.', '')}"
        command += ["--python-version", python, "--implementation", "cp", "--abi", own, "--abi", "abi3"]
        for tag in PLATFORM_TAGS[platform]:
            command += ["--platform", tag]
        command += ["-c", str(ROOT / "constraints-blender.txt"), "-d", scratch, *PACKAGES]
        environment = dict(os.environ)
        if "UV_DEFAULT_INDEX" in environment:  # the package index that uv is set to is pip's too
            environment.setdefault("PIP_INDEX_URL", environment["UV_DEFAULT_INDEX"])
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        if result.returncode:
            raise BuildError(
                f"The wheels for {platform}, Python {python}, could not be downloaded; check the network and the "
                "package index.\n"
                f"{result.stderr.strip()}"
            )
        for wheel in Path(scratch).glob("*.whl"):
            os.replace(wheel, folder / wheel.name)


def _write_manifest(path: Path, names: list[str], platforms: list[str]) -> None:
    """Adds the wheels and platforms, which only the build knows, above the first table of the manifest."""
    lines = [line for line in path.read_text().splitlines() if not re.match(r"(wheels|platforms)\s*=", line)]
    first_table = next((i for i, line in enumerate(lines) if line.startswith("[")), len(lines))
    added = [f"wheels = {json.dumps([f'./wheels/{name}' for name in names])}", f"platforms = {json.dumps(platforms)}"]
    path.write_text("\n".join([*lines[:first_table], *added, "", *lines[first_table:]]) + "\n")


def _blender_tool(blender_python: Path) -> list[str]:
    inside = "lib/python*/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"
    found = sorted(blender_python.parent.parent.glob(inside))
    if not found:
        raise BuildError(f"Blender's extension tool is not beside {blender_python}; run `make setup` first.")
    return [str(blender_python), str(found[-1])]


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise BuildError(f"Blender's extension tool refused:\n{result.stdout}{result.stderr}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the zip")
    parser.add_argument("--platform", action="append", choices=list(PLATFORM_TAGS), help="default: all of them")
    parser.add_argument("--split", action="store_true", help="a zip per platform, each with its own wheels only")
    parser.add_argument("--blender-python", type=Path, default=ROOT / ".venv-blender" / "bin" / "python")
    parser.add_argument("--sample", type=Path, default=SAMPLE, help="what people without a backend can open")
    options = parser.parse_args()
    try:
        platforms = options.platform or list(PLATFORM_TAGS)
        made = build(options.out, platforms, options.blender_python, split=options.split, sample=options.sample)
    except BuildError as error:
        print(f"build_extension: {error}", file=sys.stderr)
        return 1
    if not options.sample.is_file():
        print(f"build_extension: no sample is in it: `make demo` makes {options.sample}", file=sys.stderr)
    for archive in made:
        print(f"{archive}  {archive.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
