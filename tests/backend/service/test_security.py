"""Who gets in, what a stranger can do, and what is never told."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from backend.service import guard, keys
from backend.service.config import make_config, read_config
from backend.service.errors import BackendError
from backend.service.listener import Listener
from legs4d.errors import Legs4dError
from tests.backend.conftest import LEGS4D, REPOSITORY, ServerProcess, legs4d
from tests.backend.plain_client import PlainClient, RefusedError

StartServer = Callable[..., ServerProcess]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path


def test_keys_let_a_client_in_until_they_are_revoked(start_server: StartServer, home: Path) -> None:
    """As two people would do it, each with the command line; the client's state folder is another machine's."""
    mine, theirs = home / "mine", home / "state"
    public = legs4d("keys", "new", "--state-dir", str(mine)).stdout.strip()
    assert (mine / "keys" / "client.json").stat().st_mode & 0o777 == 0o600
    server = start_server(home / "root", options=["--bind=0.0.0.0", "--port=0", "--allow-root", "--log=json"])
    endpoint = json.loads((theirs / "server.json").read_text())["endpoint"]
    assert endpoint.startswith("tcp://127.0.0.1:")
    server_key = json.loads(legs4d("keys", "list", "--json", "--state-dir", str(theirs)).stdout)["server"]
    remote = ["status", f"--server={endpoint}", f"--server-key={server_key}", f"--state-dir={mine}", "--json"]

    refused = legs4d(*remote)
    assert refused.exit_code == 1 and "does not know your key" in refused.stderr
    assert legs4d("keys", "authorize", public, "anna", "--state-dir", str(theirs)).exit_code == 0
    assert json.loads(legs4d(*remote).stdout)["devices"][0]["name"]

    pair = json.loads((mine / "keys" / "client.json").read_text())
    with PlainClient.elsewhere(endpoint, server_key, pair) as client:
        assert client.ask("runs") == {"runs": [], "problems": [], "next": None}
        ends = client.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        assert legs4d("keys", "revoke", "anna", "--state-dir", str(theirs)).exit_code == 0
        assert ends.poll(3000), "its connection still stands"
        client.send("runs")
        assert client.quiet(0.5)
        client.socket.disable_monitor()
    with server.connect() as local:  # the server file has keys of its own
        assert local.ask("runs")["runs"] == []
    log = server.log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert any("unknown key" in line["message"] and line["level"] == "warning" for line in lines)
    secrets = [pair["secret"], json.loads((theirs / "keys" / "server.json").read_text())["secret"]]
    secrets += [local.token, json.loads((theirs / "server.json").read_text())["curve"]["secret"]]
    assert not any(secret in log for secret in secrets)


def test_without_encryption_nobody_gets_in_where_keys_are_asked_for(start_server: StartServer, home: Path) -> None:
    server = start_server(home / "root", options=["--curve"])
    found = json.loads((server.state_dir / "server.json").read_text())
    context = zmq.Context()
    plain = context.socket(zmq.DEALER)
    plain.connect(found["endpoint"])
    plain.send(b"anything")
    assert not plain.poll(500)
    context.destroy(linger=0)
    with server.connect() as client:
        assert client.ask("status")["clients"] == 1


@pytest.mark.parametrize(
    ("name", "key", "says"),
    [
        ("../anna", "x" * 40, "no name"),
        ("", "x" * 40, "no name"),
        (".anna", "x" * 40, "no name"),
        ("anna", "short", "40 characters"),
        ("anna", "'" * 40, "40 characters"),
    ],
)
def test_names_and_keys_that_are_none(home: Path, name: str, key: str, says: str) -> None:
    with pytest.raises(BackendError, match=says):
        keys.authorize(home, name, key)
    assert keys.authorized(home) == []


def test_a_key_has_one_name(home: Path) -> None:
    keys.authorize(home, "anna", "x" * 40)
    keys.authorize(home, "anna", "y" * 40)
    with pytest.raises(BackendError, match="authorized already, as 'anna'"):
        keys.authorize(home, "berta", "y" * 40)
    with pytest.raises(BackendError, match="no key is called 'berta'"):
        keys.revoke(home, "berta")
    with pytest.raises(BackendError, match="there are keys already"):
        keys.make_client_keys(home) and keys.make_client_keys(home)
    (home / "file").write_text("")
    for force in (False, True):
        with pytest.raises(Legs4dError, match="cannot be"):
            keys.make_client_keys(home / "file", force=force)


def test_root_is_refused_where_others_can_connect(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with pytest.raises(BackendError, match="does not run as root"):
        Listener(context, make_config({"bind": "0.0.0.0"}), home)
    context.destroy(linger=0)


def test_settings_come_from_a_file_and_are_checked(home: Path) -> None:
    path = home / "server.toml"
    path.write_text('roots = ["root"]\ndevices = ["cpu:0", "cpu:1"]\ncluster = "auto"\n[limits]\nclients = 3\n')
    config = make_config(read_config(path), str(path))
    assert config.roots == [home / "root"] and config.cluster == "auto" and config.limits.clients == 3
    assert not config.encrypted
    assert make_config({"bind": "192.168.1.5"}).encrypted and make_config({"bind": "::1", "curve": True}).encrypted
    for text, says in (
        ("port = 99999", "'port'"),
        ("ports = 1", "'ports'"),
        ('bind = "everywhere"', "no address"),
        ("[limits]\nclients = 0", "limits.clients"),
        ("devices = []", "'devices'"),
        ("port =", "is not TOML"),
    ):
        path.write_text(text)
        with pytest.raises(Legs4dError, match=says):
            make_config(read_config(path), str(path))
    with pytest.raises(Legs4dError, match="cannot be read"):
        read_config(home / "none.toml")
    path.write_text('devices = ["cuda:55"]')
    command = [*LEGS4D, "serve", f"--config={path}", f"--state-dir={home / 'state'}"]
    refused = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "no device 'cuda:55'" in refused.stderr


def speak_zmtp(endpoint: str) -> socket.socket:
    """A connection after the handshake of ZMTP 3.0 without security (rfc.zeromq.org/spec/23), as a DEALER."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
    ready = b"\x05READY" + b"\x0bSocket-Type" + (6).to_bytes(4, "big") + b"DEALER"
    connection.sendall(b"\x04" + bytes([len(ready)]) + ready)
    answer = b""
    while b"READY" not in answer:
        received = connection.recv(1000)
        assert received, "the handshake failed"
        answer += received
    return connection


@pytest.mark.skipif(sys.platform != "linux", reason="the guard counts bytes by TCP_INFO")
def test_a_message_that_never_ends_is_ended(shared_server: ServerProcess) -> None:
    """libzmq keeps the parts of an unfinished message, without asking for a token."""
    before, sent = shared_server.memory(), 0
    part = b"\x03" + (250_000).to_bytes(8, "big") + b"x" * 250_000  # of a message with more parts to come
    with speak_zmtp(shared_server.access()["endpoint"]) as endless, pytest.raises(OSError):
        while sent < 40 * guard.MAX_UNREAD:
            endless.sendall(part)
            sent += len(part)
            time.sleep(0.0005)
    assert guard.MAX_UNREAD < sent < 20 * guard.MAX_UNREAD
    assert "a connection was ended" in shared_server.log
    with shared_server.connect() as client:
        assert client.ask("runs")["runs"]
    assert shared_server.memory() - before < 1.5 * sent + 32 * 2**20  # and what it freed is kept (memory.py)


def test_more_connections_than_there_can_be_clients(start_server: StartServer, home: Path) -> None:
    config = home / "server.toml"
    config.write_text("[limits]\nclients = 2\n")
    server = start_server(home / "root", options=[f"--config={config}"])
    context = zmq.Context()
    strangers = [context.socket(zmq.DEALER) for _ in range(40)]
    for stranger in strangers:
        stranger.linger = 0
        stranger.reconnect_ivl = -1
        stranger.connect(server.access()["endpoint"])
        stranger.send(b"who")
    deadline = time.monotonic() + 10
    while "a connection was refused" not in server.log:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    context.destroy(linger=0)
    time.sleep(0.3)
    one, two = server.connect(), server.connect()
    one.send("subscribe")
    assert two.ask("status")["clients"] == 2


def test_requests_of_one_client_are_limited(start_server: StartServer, home: Path) -> None:
    config = home / "server.toml"
    config.write_text("[limits]\nrequests = 2\njobs = 1\n")
    client = start_server(home / "root", options=[f"--config={config}"]).connect()
    client.send("subscribe")
    client.send("subscribe")
    with pytest.raises(RefusedError) as refused:
        client.ask("runs")
    assert refused.value.code == "busy"
