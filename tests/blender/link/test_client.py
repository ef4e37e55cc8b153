"""The client's thread against servers that behave badly: each failure is one sentence, and it mends itself."""

import threading
import time

import msgpack
import pytest
import zmq
from conftest import pump


class FakeServer:
    """A ROUTER that answers each message with what `answer(header)` returns: a header, or None for silence."""

    def __init__(self, answer):
        self.socket = zmq.Context.instance().socket(zmq.ROUTER)
        self.socket.linger = 0
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.answer, self.heard, self._end = answer, [], threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def endpoint(self):
        return f"tcp://127.0.0.1:{self.port}"

    def _serve(self):
        while not self._end.is_set():
            if self.socket.poll(20):
                peer, header = self.socket.recv_multipart()[:2]
                self.heard.append(msgpack.unpackb(header))
                reply = self.answer(self.heard[-1])
                if reply is not None:
                    self.socket.send_multipart([peer, msgpack.packb({"v": 2, "id": self.heard[-1]["id"]} | reply)])
        self.socket.close()

    def close(self):
        self._end.set()
        self._thread.join()


def _polite(header):
    return {"kind": "ok", "body": {"server": "fake", "version": "0"}}


@pytest.fixture
def serve():
    servers = []

    def start(answer):
        servers.append(FakeServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def connect(package):
    from blender_addon.link.client import Client
    from blender_addon.link.types import Address

    clients = []

    def start(locate):
        if not callable(locate):
            address = Address(locate, "secret")
            client = Client(lambda: address, "test")
        else:
            client = Client(locate, "test")
        clients.append(client)
        client.start()
        return client

    yield start
    for client in clients:
        client.stop()


def _state(client):
    return client.status.state.value


def test_it_greets_with_the_token_and_is_ready(serve, connect):
    server = serve(_polite)
    client = connect(server.endpoint)
    pump(client, lambda: _state(client) == "ready")
    hello = server.heard[0]
    assert (hello["kind"], hello["token"], hello["v"]) == ("hello", "secret", 2)
    assert set(hello["body"]) == {"client", "version"}


def test_nobody_there_is_said_and_looked_for_again(serve, connect):
    from blender_addon.link.types import Address, NoBackend

    found = []

    def locate():
        if not found:
            raise NoBackend("No backend is running on this machine; press Start.")
        return Address(found[0], "secret")

    client = connect(locate)
    pump(client, lambda: _state(client) == "lost")
    assert client.status.sentence == "No backend is running on this machine; press Start."
    found.append(serve(_polite).endpoint)
    pump(client, lambda: _state(client) == "ready")


def test_a_closed_port_is_said(connect):
    client = connect("tcp://127.0.0.1:9")
    pump(client, lambda: _state(client) == "lost")
    assert client.status.sentence == "No backend answers at tcp://127.0.0.1:9; start it."


def test_a_silent_server_is_said(serve, connect, monkeypatch):
    from blender_addon.link import conversation as module

    monkeypatch.setattr(module, "HELLO_SECONDS", 0.2)
    client = connect(serve(lambda header: None).endpoint)
    pump(client, lambda: _state(client) == "lost")
    assert "No backend answers" in client.status.sentence


@pytest.mark.parametrize("as_error", [True, False])
def test_another_protocol_version_names_both(serve, connect, as_error):
    if as_error:  # the server noticed
        text = "the message has protocol version 1, this side speaks version 2"
        server = serve(lambda header: {"kind": "error", "body": {"code": "version", "message": text, "hint": "update"}})
    else:  # its reply is of version 1
        server = serve(lambda header: _polite(header) | {"v": 1})
    client = connect(server.endpoint)
    pump(client, lambda: _state(client) == "refused")
    assert "version 1" in client.status.sentence and "version 2" in client.status.sentence


def test_a_wrong_token_is_said_once_per_try(serve, connect):
    refusal = {"kind": "error", "body": {"code": "token", "message": "not my token", "hint": ""}}
    client = connect(serve(lambda header: refusal).endpoint)
    pump(client, lambda: _state(client) == "refused")
    assert "refused the token" in client.status.sentence
    said = []
    client.on_status = said.append
    for _ in range(50):
        client.pump()
        time.sleep(0.01)
    assert said == []


def test_an_unusable_address_is_said(connect):
    client = connect("tcp://nowhere:notaport")
    pump(client, lambda: _state(client) == "refused")
    assert "not usable" in client.status.sentence


def test_requests_fail_when_the_backend_goes_and_work_when_it_is_back(serve, connect):
    from blender_addon.link.types import Address

    def ignore_work(header):
        return _polite(header) if header["kind"] == "hello" else None

    first = serve(ignore_work)
    here = [first.endpoint]
    client = connect(lambda: Address(here[0], "secret"))
    pump(client, lambda: _state(client) == "ready")
    outcome = []
    client.request("runs", on_reply=lambda _: outcome.append("ok"), on_failure=lambda f: outcome.append(f.code))
    pump(client, lambda: len(first.heard) == 2)
    second = serve(_polite)
    here[0] = second.endpoint
    first.close()
    pump(client, lambda: outcome == ["lost"])
    pump(client, lambda: _state(client) == "ready" and len(second.heard) == 1)
    client.request("runs", on_reply=lambda _: outcome.append("ok"))
    pump(client, lambda: outcome == ["lost", "ok"])


def test_an_error_reply_is_one_sentence_with_its_hint(serve, connect):
    def answer(header):
        if header["kind"] == "hello":
            return _polite(header)
        body = {"code": "run", "message": "there is no run 'x' under the roots.", "hint": "list them"}
        return {"kind": "error", "body": body}

    client = connect(serve(answer).endpoint)
    failures = []
    client.request("open", {"run": "x"}, on_failure=failures.append)
    pump(client, lambda: failures)
    assert failures[0].code == "run"
    assert failures[0].sentence == "there is no run 'x' under the roots; list them."
    assert _state(client) == "ready"


def test_a_request_that_is_too_large_fails_alone(serve, connect):
    client = connect(serve(_polite).endpoint)
    outcome = []
    client.request("query", {"prompt": "x" * 300_000}, on_failure=lambda f: outcome.append(f.code))
    client.request("runs", on_reply=lambda _: outcome.append("ok"))
    pump(client, lambda: outcome == ["malformed", "ok"])


def test_a_sink_that_fails_ends_its_request_and_nothing_else(serve, connect):
    server = serve(_polite)
    send = server.socket.send_multipart

    def send_with_array(parts):
        header = msgpack.unpackb(parts[1]) | {"arrays": [{"name": "a", "dtype": "uint8", "shape": [3]}]}
        return send([parts[0], msgpack.packb(header), b"abc"])

    server.socket.send_multipart = send_with_array
    client = connect(server.endpoint)
    pump(client, lambda: _state(client) == "ready")

    def full_disk(message):
        raise OSError("No space left on device")

    failures, replies = [], []
    client.request("open", {}, sink=full_disk, on_failure=failures.append, on_reply=replies.append)
    pump(client, lambda: failures or replies)
    assert failures[0].code == "local" and "No space left" in failures[0].sentence
    client.request("runs", on_reply=replies.append)
    pump(client, lambda: replies)


def test_stopping_does_not_wait_for_a_dead_server(connect):
    client = connect("tcp://127.0.0.1:9")
    started = time.monotonic()
    client.request("runs")
    client.stop()
    client.stop = lambda: None  # the fixture's turn
    assert time.monotonic() - started < 2


def test_what_is_asked_after_stopping_fails_with_a_sentence(connect):
    """A file that was being hashed when Blender ends: the last `pump` would send it."""
    client = connect("tcp://127.0.0.1:9")
    client.stop()
    client.stop = lambda: None  # the fixture's turn
    told = []
    client.call(lambda: client.request("runs", on_failure=told.append))
    client.pump(0.5)
    assert [failure.code for failure in told] == ["lost"] and told[0].sentence.endswith("closed.")


def test_pump_stops_when_its_time_is_up(serve, connect):
    client = connect(serve(_polite).endpoint)
    pump(client, lambda: _state(client) == "ready")
    calls = []
    for _ in range(5):
        client.request("runs", on_reply=lambda _: (calls.append(1), time.sleep(0.02)))
    time.sleep(0.3)
    assert client.pump(0.01)
    assert len(calls) == 1
