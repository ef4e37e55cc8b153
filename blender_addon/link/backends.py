"""Backends: where one listens, whether it may be spoken to, and starting and stopping one on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from .. import access, wire
from .types import Address, NoBackend

LOOPBACK = ("127.0.0.1", "localhost", "::1")

KEY_LENGTH = 40
"""Characters of a CURVE key in Z85."""

TOOL = "legs4d"
"""What pipx and uv call the tool, and what a checkout's folder is called."""

STOP_SECONDS = 5.0
"""Time for an orderly end before it is killed."""


class BackendError(Exception):
    """The backend cannot be started; the message is one sentence for the panel."""


def locate() -> Address:
    """Where this user's backend listens. NoBackend if none has been started."""
    found = access.read_server_file()
    if found is None:
        raise NoBackend("No backend is running on this machine; press Start.")
    return Address(found.endpoint, found.token, found.server_key, found.keys)


def obstacle(endpoint: str, online_access: bool, server_key: str = "") -> str:
    """Why an address may not be spoken to, as a sentence; empty if it may.

    Args:
        endpoint: as typed by a person.
        online_access: Blender's preference. Addresses of this machine are not online.
        server_key: the backend's public CURVE key; other machines need one.
    """
    try:
        host = urlsplit(access.endpoint_of(endpoint)).hostname
    except wire.WireError:
        return f"The address '{endpoint}' is not of the form HOST:PORT; correct it in the preferences."
    if host in LOOPBACK:
        return ""
    if not online_access:
        return f"{host} is another machine: allow online access in Blender's preferences (System) first."
    if len(server_key) != KEY_LENGTH:
        return f"{host} is spoken to with keys only: put the server's public key into the preferences."
    return ""


def command(chosen: str, near: str = "") -> list[str]:
    """The command that serves.

    Args:
        chosen: the `legs4d` executable, the folder of the Python environment it is installed in, or a checkout; empty
            for the one that is found: on PATH, where pipx and uv put tools, in a checkout around `near`.
        near: the folder with the runs.

    BackendError if there is none.
    """
    if not chosen:
        found = shutil.which("legs4d") or next(filter(None, map(_command_in, _usual_places(near))), None)
        if found is None:
            raise BackendError(
                "There is no 'legs4d' command on PATH, among the tools of pipx and uv, or beside the runs; install it, "
                "or choose its environment in the preferences"
            )
        return [found, "serve"]
    place = Path(chosen).expanduser()
    found = _command_in(place)
    if found is None:
        raise BackendError(f"There is no 'legs4d' command in {place}; choose another environment in the preferences")
    return [found, "serve"]


def _command_in(place: Path) -> str | None:
    """The command in an environment or a checkout, or the command itself."""
    inside = (
        "bin/legs4d",
        "Scripts/legs4d.exe",
        "legs4d",
        "legs4d.exe",
        ".venv/bin/legs4d",
        ".venv/Scripts/legs4d.exe",
    )
    for candidate in (place, *(place / name for name in inside)):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    return None


def _usual_places(near: str) -> Iterator[Path]:
    """Folders that may have the command: Blender started from a desktop does not have a shell's PATH."""
    home = Path.home()
    shares = [home / ".local" / "share", home / "Library" / "Application Support"]
    shares += [Path(os.environ[name]) for name in ("XDG_DATA_HOME", "APPDATA", "LOCALAPPDATA") if os.environ.get(name)]
    yield from (home / ".local" / "bin", home / "bin")
    for share in shares:
        yield from (
            share / "uv" / "tools" / TOOL,
            share / "uv" / "data" / "tools" / TOOL,
            share / "pipx" / "venvs" / TOOL,
        )
    yield from (home / ".local" / "pipx" / "venvs" / TOOL, home / "pipx" / "venvs" / TOOL)
    if near:
        yield from (Path(near), *list(Path(near).parents)[:2])
    yield home / TOOL


class LocalBackend:
    """A backend process that we started and stop again.

    Args:
        argv: from `command`.
        roots: folders with runs and datasets that it may read and write.
        log: file that its output goes to, replaced.
    """

    def __init__(self, argv: list[str], roots: list[Path], log: Path) -> None:
        for root in roots:
            if not root.is_dir():
                raise BackendError(f"The folder {root} does not exist; choose one with runs or datasets")
        self.log, self._is_stopping = log, False
        log.parent.mkdir(parents=True, exist_ok=True)
        options = [part for root in roots for part in ("--root", str(root))] + ["--stop-with-stdin"]
        try:
            with log.open("wb") as output:
                self._process = subprocess.Popen(
                    [*argv, *options],
                    stdin=subprocess.PIPE,  # closed when Blender ends, however it ends
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
                )
        except OSError as error:
            raise BackendError(f"'{argv[0]}' cannot be started ({error.strerror})") from error

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def complaint(self) -> str:
        """Why it ended by itself: the last line that it wrote. Empty while it runs, and if it was asked to end."""
        if self.running or self._is_stopping or self._process.returncode == 0:
            return ""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return f"The backend ended: {lines[-1] if lines else f'exit code {self._process.returncode}'}"

    def stop(self) -> None:
        """Ask it to end; `finish` sees to it."""
        self._is_stopping = True
        if self.running:
            self._process.terminate()

    def finish(self) -> None:
        """End it and wait, at most STOP_SECONDS before it is killed."""
        self.stop()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
