"""What the server says to requests: the right ones, the wrong ones, and what is no request at all."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest

from backend.jobs.kinds import JOB_KINDS
from backend.service.requests import BODIES, JOBS, RenderLook
from backend.wire import REQUESTS
from legs4d import __version__
from legs4d.portable.look import AMOUNTS
from tests.backend.conftest import ServerProcess
from tests.backend.plain_client import PlainClient, RefusedError


def test_hello_tells_what_the_server_is(client: PlainClient, shared_server: ServerProcess) -> None:
    assert client.hello["server"] == "legs4d"
    assert (client.hello["version"], client.hello["protocol"]) == (__version__, 2)
    assert client.hello["roots"] == [str(root) for root in shared_server.roots]
    assert "cpu" in [device["name"] for device in client.hello["devices"]]


def test_the_server_file_is_for_its_user_alone(shared_server: ServerProcess) -> None:
    path = shared_server.state_dir / "server.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = json.loads(path.read_text())
    assert set(found) == {"endpoint", "token", "pid"}
    assert found["endpoint"].startswith("tcp://127.0.0.1:")
    assert shared_server.process is not None and found["pid"] == shared_server.process.pid


def test_the_token_is_in_no_log(client: PlainClient, shared_server: ServerProcess) -> None:
    assert client.token not in shared_server.log


def test_what_a_client_says_of_itself_is_one_line_of_the_log(client: PlainClient, shared_server: ServerProcess) -> None:
    client.ask("hello", client="x\nERROR forged", version="\x1b[2J")
    with shared_server.connect(say_hello=False) as other:
        other.ask("hello", client="y\nERROR forged", version="1")
    assert "y?ERROR forged" in shared_server.log
    assert "\nERROR" not in shared_server.log and "\x1b" not in shared_server.log


def test_a_wrong_token_learns_nothing_else(shared_server: ServerProcess) -> None:
    with shared_server.connect(say_hello=False) as stranger:
        for token in ("", "wrong", stranger.token[:-1], stranger.token + "0"):
            for kind in ("hello", "runs", "nonsense"):
                stranger.send_header({"v": 2, "id": 3, "kind": kind, "token": token, "body": {"x": 1}})
                answer = stranger.receive_any()
                assert (answer.id, answer.kind, answer.body["code"]) == (3, "error", "token")
        stranger.send_header({"v": 2, "id": 3, "kind": "hello"})
        assert stranger.receive_any().body["code"] == "token"


def test_another_version_gets_both_named(client: PlainClient) -> None:
    for version in (1, 3):
        client.send_header({"v": version, "id": 8, "kind": "hello", "token": client.token, "body": {}})
        answer = client.receive_any()
        assert (answer.id, answer.body["code"]) == (8, "version")
        assert f"version {version}" in answer.body["message"] and "version 2" in answer.body["message"]


def test_the_first_request_must_be_hello(shared_server: ServerProcess) -> None:
    with shared_server.connect(say_hello=False) as early:
        with pytest.raises(RefusedError, match="said hello") as refused:
            early.ask("runs")
        assert refused.value.code == "hello_first"
        early.ask("hello", client="late", version="1")
        assert early.ask("runs")["runs"]


def test_unknown_kinds_are_named(client: PlainClient) -> None:
    for kind in ("nonsense", "", "ok", "frame", "HELLO", "hello\0", "x" * 5000):
        with pytest.raises(RefusedError) as refused:
            client.ask(kind)
        assert refused.value.code == "unknown_kind"
        assert "open" in refused.value.hint
        assert len(refused.value.message) < 200


def test_every_request_has_a_schema() -> None:
    assert set(BODIES) == {*REQUESTS, *JOB_KINDS} and set(JOBS) == set(JOB_KINDS)
    assert set(RenderLook.model_fields) == set(AMOUNTS)


@pytest.mark.parametrize(
    ("kind", "body", "names"),
    [
        ("open", {}, "'run'"),
        ("open", {"run": 3}, "'run'"),
        ("open", {"run": ""}, "'run'"),
        ("open", {"run": "x" * 2000}, "'run'"),
        ("open", {"run": "x", "more": 1}, "'more'"),
        ("runs", {"more": 1}, "'more'"),
        ("hello", {"client": "x" * 101, "version": "1"}, "'client'"),
        ("frames", {"run": "x", "frames": [0, -1]}, "'frames.1'"),
        ("frames", {"run": "x", "frames": [0.0]}, "'frames.0'"),
        ("frames", {"run": "x", "frames": [True]}, "'frames.0'"),
        ("frames", {"run": "x", "frames": list(range(20_001))}, "'frames'"),
        ("frames", {"run": "x", "window": 0}, "'window'"),
        ("frames", {"run": "x", "window": 65}, "'window'"),
        ("frames", {"run": "x", "around": "3"}, "'around'"),
        ("frames", {"run": "x", "precision": "float8"}, "'precision'"),
        ("query", {"run": "x", "prompt": ""}, "'prompt'"),
        ("query", {"run": "x", "prompt": "x" * 1001}, "'prompt'"),
        ("query", {"run": "x", "prompt": b"raw"}, "'prompt'"),
        ("aim", {"request": 0, "around": 3}, "'request'"),
        ("aim", {"request": 1, "around": 2**40}, "'around'"),
        ("credit", {"request": 1, "frames": 0}, "'frames'"),
        ("train", {"dataset": "x", "out": "y", "scale": 1.5}, "'scale'"),
        ("train", {"dataset": "x", "out": "y", "scale": float("nan")}, "'scale'"),
        ("job_log", {"job": "x", "offset": -1}, "'offset'"),
    ],
)
def test_bodies_are_checked_and_the_field_is_named(
    client: PlainClient, kind: str, body: dict[str, Any], names: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        client.ask(kind, **body)
    assert refused.value.code == "body"
    assert names in refused.value.message and kind in refused.value.message


def test_malformed_messages_get_an_error_and_the_server_goes_on(client: PlainClient) -> None:
    good = {"v": 2, "id": 77, "kind": "runs", "token": client.token, "body": {}}
    lying = {**good, "arrays": [{"name": "a", "dtype": "float32", "shape": [10]}]}
    objects = {**good, "arrays": [{"name": "a", "dtype": "object", "shape": [1]}]}
    honest = {**good, "arrays": [{"name": "a", "dtype": "float32", "shape": [1]}]}
    cases: list[tuple[list[bytes], int, str]] = [
        ([msgpack.packb(good)[:-5]], 0, "msgpack"),
        ([b""], 0, "msgpack"),
        ([b"\xc1\xc1"], 0, "msgpack"),
        ([msgpack.packb([1])], 0, "map"),
        ([msgpack.packb(good), b"extra"], 77, "describes 0 arrays"),
        ([msgpack.packb(lying)], 77, "describes 1 arrays"),
        ([msgpack.packb(lying), b"1234"], 77, "needs 40 bytes, but its buffer has 4"),
        ([msgpack.packb(objects), b"12345678"], 77, "'object'"),
        ([msgpack.packb(honest), b"1234"], 77, "'runs' carries no arrays"),
        ([msgpack.packb({**honest, "arrays": honest["arrays"] * 2}), b"1234", b"1234"], 77, "arrays, at most 1"),
        ([msgpack.packb(good), *[b"x"] * 5000], 77, "describes 0 arrays"),
        ([msgpack.packb({**good, "body": []})], 77, "'body'"),
        ([msgpack.packb({**good, "body": "x" * 200_000})], 77, "'body'"),
    ]
    for parts, expected_id, says in cases:
        client.socket.send_multipart(parts)
        answer = client.receive_any()
        assert (answer.id, answer.kind, answer.body["code"]) == (expected_id, "error", "malformed"), parts[0][:50]
        assert says in answer.body["message"]
    client.send_header({**good, "id": 0})
    assert client.receive_any().body["message"] == "the request has no id"
    assert client.ask("runs")["runs"]


def test_a_part_over_the_limit_closes_only_its_connection(client: PlainClient, shared_server: ServerProcess) -> None:
    with shared_server.connect() as flood:
        flood.socket.send(b"x" * (256 * 1024 + 1))
        assert flood.quiet(0.5)
    assert client.ask("runs")["runs"]


def test_an_id_in_use_is_refused(client: PlainClient) -> None:
    stream = client.send("frames", run="shot/run", window=1)
    assert client.receive(stream).kind == "frame"
    client.send_header({"v": 2, "id": stream, "kind": "runs", "token": client.token})
    with pytest.raises(RefusedError, match="take a new id"):
        client.reply(stream)
    client.ask("cancel", request=stream)


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../x",
        "shot/../../x",
        "shot/run/..",
        "/etc",
        "/",
        "~",
        "~root",
        "C:",
        "C:/x",
        "c:\\x",
        "shot\\run",
        "shot/run\0",
        "\0",
        "a\nb",
        "x" * 513,
        "x" * 300,
        "é" * 300,
        "link_out",
        "link_out/x",
        "link_loop",
        "link_abs",
    ],
)
@pytest.mark.parametrize("field", ["open", "frames", "query", "dataset", "out"])
def test_names_stay_under_the_roots(client: PlainClient, shared_server: ServerProcess, name: str, field: str) -> None:
    root = shared_server.roots[0]
    outside = root.parent / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "run.json").write_text("{}")
    for link, target in (("link_out", "../outside"), ("link_loop", "link_loop"), ("link_abs", "/etc")):
        if not (root / link).is_symlink():
            os.symlink(target, root / link)
    requests: dict[str, tuple[str, dict[str, Any]]] = {
        "open": ("open", {"run": name}),
        "frames": ("frames", {"run": name}),
        "query": ("query", {"run": name, "prompt": "a ball"}),
        "dataset": ("train", {"dataset": name, "out": "new"}),
        "out": ("train", {"dataset": "shot", "out": name}),
    }
    kind, body = requests[field]
    with pytest.raises(RefusedError) as refused:
        client.ask(kind, **body)
    assert refused.value.code == "path"
    assert "\0" not in refused.value.message and len(refused.value.message) < 300


def test_two_clients_are_answered_apart(shared_server: ServerProcess) -> None:
    with shared_server.connect() as one, shared_server.connect() as two:
        first = one.send("open", run="shot/run")
        second = two.send("open", run="missing")
        assert one.reply(first).body["frames"] == 9
        with pytest.raises(RefusedError):
            two.reply(second)


def test_a_second_server_of_the_same_state_is_refused(shared_server: ServerProcess, tmp_path: Path) -> None:
    again = subprocess.run(
        [sys.executable, "-c", "from legs4d.cli import app; app()", "serve", f"--root={tmp_path}"],
        env={**os.environ, "LEGS4D_STATE_DIR": str(shared_server.state_dir)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert again.returncode == 1
    assert "another legs4d server" in again.stderr and "Traceback" not in again.stderr
