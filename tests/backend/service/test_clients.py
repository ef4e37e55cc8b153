"""What happens to messages for a client that does not read them; the same objects as in the server, on real sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgpack
import numpy as np
import pytest
import zmq

from backend.service import clients
from backend.service.clients import Call, Client, Clients
from backend.service.errors import BackendError
from backend.wire import Code, Kind

BIG = {"a": np.zeros(4 * 2**20, np.uint8)}
"""More than the system's own buffers take."""


class Pair:
    """A ROUTER with room for one message, and a DEALER that has said something."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.router, self.dealer = self._context.socket(zmq.ROUTER), self._context.socket(zmq.DEALER)
        self.router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.router.setsockopt(zmq.SNDHWM, 1)
        self.dealer.setsockopt(zmq.RCVHWM, 1)
        self.dealer.connect(f"tcp://127.0.0.1:{self.router.bind_to_random_port('tcp://127.0.0.1')}")
        self.dealer.send(b"here")
        identity, _ = self.router.recv_multipart()
        self.clients = Clients(self.router)
        self.client = self.clients.admit(identity, "slow 1")

    def call(self, number: int) -> Call:
        return self.clients.begin(self.client, number, "test")

    def read_all(self) -> list[dict]:
        """Headers of everything that the server has to say."""
        found = []
        while self.clients.outlet.waiting or self.dealer.poll(200):
            self.clients.outlet.flush()
            if self.dealer.poll(10):
                found.append(msgpack.unpackb(self.dealer.recv_multipart()[0]))
        return found

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


def test_messages_wait_in_order_and_none_is_lost(pair: Pair) -> None:
    call = pair.call(1)
    for frame in range(30):
        call.event(Kind.FRAME, {"frame": frame}, BIG)
    assert pair.clients.outlet.waiting
    call.ok({})
    headers = pair.read_all()
    assert [header["body"].get("frame") for header in headers] == [*range(30), None]
    assert headers[-1]["kind"] == "ok"


def test_a_newer_event_takes_the_place_of_one_that_waits(pair: Pair) -> None:
    pair.call(1).event(Kind.FRAME, {"frame": 0}, BIG)
    pair.call(2).event(Kind.FRAME, {"frame": 0}, BIG)
    pair.call(3).event(Kind.FRAME, {"frame": 0}, BIG)
    pair.call(4).event(Kind.FRAME, {"frame": 0}, BIG)
    call = pair.call(5)
    for done in range(1000):
        call.event(Kind.PROGRESS, {"done": done}, key="job")
    told = [header["body"]["done"] for header in pair.read_all() if header["id"] == 5]
    assert told[-1] == 999 and len(told) <= 2


def test_a_client_that_never_reads_is_forgotten(pair: Pair) -> None:
    ended = []
    call = pair.call(1)
    call.at_end.append(lambda: ended.append(True))
    for number in range(clients.MAX_OUTBOX + 30):
        call.event(Kind.LOG, {"number": number}, BIG)
    assert ended == [True] and pair.clients.get(pair.client.identity) is None
    assert not pair.clients.outlet.waiting and not pair.client.outbox


def test_a_client_that_disconnects_ends_its_calls(pair: Pair) -> None:
    call = pair.call(1)
    pair.dealer.close(0)
    deadline = time.monotonic() + 5
    while not call.finished and time.monotonic() < deadline:
        call.event(Kind.LOG, {})
        time.sleep(0.01)
    assert call.finished and pair.clients.get(pair.client.identity) is None


def test_too_many_calls_and_clients_are_refused(pair: Pair) -> None:
    for number in range(1, clients.MAX_CALLS + 1):
        pair.call(number)
    with pytest.raises(BackendError) as refused:
        pair.call(clients.MAX_CALLS + 1)
    assert refused.value.code == Code.BUSY
    others: list[Client] = []
    for number in range(clients.MAX_CLIENTS - 1):
        others.append(pair.clients.admit(b"other%d" % number, "x"))
    others[3].last_heard = others[0].last_heard - 100
    pair.clients.admit(b"one more", "x")
    assert pair.clients.get(b"other3") is None and pair.clients.get(pair.client.identity) is pair.client
    for client in [*others, pair.clients.admit(b"one more", "x")]:
        if pair.clients.get(client.identity):
            pair.clients.begin(client, 1, "test")
    with pytest.raises(BackendError) as refused:
        pair.clients.admit(b"too many", "x")
    assert refused.value.code == Code.BUSY


def test_a_subscriber_makes_room_and_is_told_to_say_hello_again(pair: Pair) -> None:
    """Crashed Blenders leave their subscriptions behind: with those alone the server would fill up."""
    pair.clients.begin(pair.client, 7, Kind.SUBSCRIBE)
    pair.client.last_heard -= 100
    for number in range(clients.MAX_CLIENTS - 1):
        other = pair.clients.admit(b"other%d" % number, "x")
        pair.clients.begin(other, 1, Kind.SUBSCRIBE)
    pair.clients.admit(b"one more", "x")
    assert pair.clients.get(pair.client.identity) is None
    (told,) = pair.read_all()
    assert (told["kind"], told["id"], told["body"]["code"]) == (Kind.ERROR, 7, Code.HELLO_FIRST)


def test_of_two_on_one_descriptor_the_one_heard_long_after_is_there(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hello can be read after its sender has gone and a later connection has been given the descriptor."""
    monkeypatch.setattr(clients, "SETTLED_SECONDS", 0.05)
    ghost = pair.clients.admit(b"ghost", "gone 1", descriptor=7)
    stays = pair.clients.admit(b"stays", "here 1", descriptor=7)
    pair.clients.sign_off_absent(lambda descriptor: True)
    assert len(pair.clients) == 3  # nobody can know yet
    ghost.last_heard -= 1
    pair.clients.sign_off_absent(lambda descriptor: True)
    assert pair.clients.get(b"ghost") is None and pair.clients.get(b"stays") is stays
    stays.last_heard -= 1
    pair.clients.sign_off_absent(lambda descriptor: True)
    assert pair.clients.get(b"stays") is stays  # alone on it, it may be silent as long as it likes
