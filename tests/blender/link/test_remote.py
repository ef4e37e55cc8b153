"""A backend that asks for keys, as those on other machines do: who is let in gets through, who is not is told why."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import bpy
import pytest
from conftest import LIBRARY, ROOT, START_SECONDS, library_environment


@pytest.fixture
def guarded(runs: Path, tmp_path: Path) -> Iterator[Path]:
    """The state folder of a backend that speaks with keys only."""
    state = tmp_path / "guarded"
    process = subprocess.Popen(
        [LIBRARY / "legs4d", "serve", "--root", str(runs), "--curve", "--state-dir", str(state)],
        cwd=ROOT,
        env=library_environment(),
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + START_SECONDS
    while not (state / "server.json").exists():
        assert process.poll() is None and time.monotonic() < deadline, "no backend"
        time.sleep(0.05)
    yield state
    process.terminate()
    process.wait(10)


@pytest.fixture
def address(guarded: Path, addon) -> dict[str, str]:
    """The preferences set to its address, as for another machine."""
    found = json.loads((guarded / "server.json").read_text())
    chosen = bpy.context.preferences.addons["blender_addon"].preferences
    chosen.connection, chosen.endpoint = "ADDRESS", found["endpoint"]
    chosen.server_key = found["curve"]["server"]
    return found


def test_who_is_let_in_gets_through(address, guarded, until) -> None:
    from blender_addon.link import keys, session
    from blender_addon.ui import preferences

    pair = keys.ensure(preferences.user_folder())
    assert (preferences.user_folder() / keys.FILE).stat().st_mode & 0o077 == 0
    subprocess.run(
        [LIBRARY / "legs4d", "keys", "authorize", pair.public, "artist", "--state-dir", guarded],
        check=True,
        cwd=ROOT,
        env=library_environment(),
        stdout=subprocess.DEVNULL,
    )
    session.current.link.connect()
    until(lambda: len(bpy.context.window_manager.legs4d.runs) == 1, "the list of runs")


def test_who_is_not_let_in_is_told_why(address, until) -> None:
    from blender_addon.link import session
    from blender_addon.link.types import State

    session.current.link.connect()
    until(lambda: session.current.link.status.state is State.REFUSED, "the refusal")
    assert "legs4d keys authorize" in session.current.link.status.sentence


def test_a_backend_of_this_machine_gives_its_keys_itself(guarded, addon, until, monkeypatch) -> None:
    from blender_addon.link import session

    monkeypatch.setenv("LEGS4D_STATE_DIR", str(guarded))
    session.current.link.connect()
    until(lambda: session.current.link.ready, "a connection")


def test_other_machines_need_online_access_and_a_key() -> None:
    from blender_addon.link.backends import obstacle

    assert "allow online access" in obstacle("tcp://farm.example:5555", False, "k" * 40)
    assert "with keys only" in obstacle("tcp://farm.example:5555", True)
    for written in ("tcp://farm.example:5555", "farm.example", "farm.example:5555"):
        assert obstacle(written, True, "k" * 40) == ""
    assert obstacle("127.0.0.1:5555", False) == ""
    assert "HOST:PORT" in obstacle("http://farm.example", True, "k" * 40)
