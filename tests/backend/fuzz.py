"""Messages made from valid ones by breaking them, in ways that know their structure.

    python -m tests.backend.fuzz STATE_DIR [--messages 50000] [--seed 0]

sends them to a running server and says whether it answered, stayed up and did not grow. `make test` sends fewer.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import zmq

from tests.backend.plain_client import PlainClient

LARGEST_PART = 256 * 1024
BATCH = 50
"""Messages between two looks at the answers."""
STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**64 - 1, -(2**63), 0.5, float("nan"), float("inf"), "", "x",
    "\0", "é" * 50, "../..", "/etc/passwd", "." * 600, b"", b"\xff" * 10, [], [[]], {}, {"a": 1}, {"": {"": {}}},
    [0] * 100, ["x"] * 1000, msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 2),
]  # fmt: skip


@dataclass
class Tally:
    """What came of it."""

    sent: int = 0
    answered: int = 0
    oks: int = 0
    streaming: set[int] = field(default_factory=set)
    """Requests of which events came, and which must be cancelled."""


EYE = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
PINHOLE = {"frame": 0.5, "fx": 4.0, "fy": 4.0, "cx": 2.0, "cy": 1.5, "static": EYE, "dynamic": None}


def valid_bodies(run: str) -> list[tuple[str, dict[str, Any]]]:
    """One of every request that harms nothing, with all its fields."""
    return [
        ("hello", {"client": "fuzz", "version": "1"}),
        ("runs", {}),
        ("datasets", {}),
        ("open", {"run": run}),
        ("frames", {"run": run, "frames": [0, 1], "around": 1, "precision": "float16", "window": 2}),
        ("query", {"run": run, "prompt": "a ball", "layer": "a", "around": 0, "window": 2, "compress": "zstd"}),
        ("things", {"run": run}),
        ("meant", {"run": run, "prompt": "a ball", "scale": 0.5}),
        ("keep", {"run": run, "revision": "none", "name": "a", "points": b"", "again": True}),
        ("render", {"run": run, "width": 4, "height": 3, "samples": [PINHOLE], "passes": ["combined", "depth"]}),
        (
            "cut_list",
            {
                "name": "a",
                "fps": 24.0,
                "folder": "file:///a",
                "pictures": ["1.png", "2.png"],
                "first": 1,
                "last": 2,
                "cuts": [],
            },
        ),
        ("aim", {"request": 1, "around": 3}),
        ("credit", {"request": 1, "frames": 2}),
        ("cancel", {"request": 1}),
        ("train", {"dataset": "none", "out": "new", "scale": 0.5, "encoder": "captions", "device": "cpu"}),
        ("reconstruct", {"dataset": "none", "out": "new", "chunks": 5, "settings": {"preset": "quick"}}),
        ("extract", {"run": "none", "encoder": "viclip", "weights": "none", "settings": {}}),
        ("lift", {"run": "none", "encoder": "captions", "settings": {}, "device": "cpu", "priority": 3, "ticket": "t"}),
        ("segments", {"run": "none", "masks": "objects", "frames": [0, 1], "agree": 0.4, "list": True}),
        ("segment", {"run": "none", "click": [[1.0, 2.0]], "camera": 0, "scale": 0.5, "name": "a", "add": True}),
        (
            "animate",
            {"run": "none", "selection": "a", "motion": "none", "camera": "1", "out": "new", "start": [0.0] * 6},
        ),
        ("object", {"source": "none", "out": "new", "prior": "inflate", "frames": [0, 3], "seed": 1}),
        ("video", {"source": "none", "out": "new", "masks": "none", "camera": "still", "distance": {"1": 2.0}}),
        ("objects", {"dataset": "none", "out": "new", "scale": 0.5, "cameras": ["1"], "again": True}),
        ("name", {"run": "none", "number": 2, "called": "basketball"}),
        ("export", {"run": "none", "out": "new", "format": "ply", "frames": [0, 1], "prompt": "a ball"}),
        ("import-splats", {"paths": ["none"], "out": "new", "fps": 24.0, "up": [0.0, 1.0, 0.0], "identity": "keep"}),
        ("import-d3dgs", {"params": "none", "dataset": "none", "scale": 0.5, "out": "new", "fps": 25.0}),
        ("import-4legs", {"folder": "none", "sequence": "x", "out": "new", "linear": 16}),
        ("pause_job", {"job": "none"}),
        ("resume_job", {"job": "none"}),
        ("retry_job", {"job": "none"}),
        ("prioritise_job", {"job": "none", "priority": 4}),
        ("status", {}),
        ("jobs", {}),
        ("job", {"job": "none"}),
        ("job_log", {"job": "none", "offset": 0}),
        ("subscribe", {"job": "none", "log": True}),
        ("cancel_job", {"job": "none"}),
    ]


class Fuzzer:
    """A source of broken messages, the same for the same seed."""

    def __init__(self, token: str, run: str, seed: int) -> None:
        self._random = random.Random(seed)
        self._token, self._bodies = token, valid_bodies(run)
        self._ways: list[Callable[[dict[str, Any]], list[bytes]]] = [
            self._change_header, self._change_body, self._change_body, self._add_arrays, self._flip_bytes,
            self._truncate, self._repeat, self._nest, self._leave_valid, self._noise,
        ]  # fmt: skip

    def message(self) -> list[bytes]:
        kind, body = self._random.choice(self._bodies)
        header = {"v": 2, "id": self._random.randrange(1, 2**40), "kind": kind, "token": self._token, "body": body}
        return self._random.choice(self._ways)(header)

    def _change_header(self, header: dict[str, Any]) -> list[bytes]:
        return [_pack(self._change(header))]

    def _change_body(self, header: dict[str, Any]) -> list[bytes]:
        return [_pack({**header, "body": self._change(header["body"])})]

    def _change(self, values: dict[str, Any]) -> dict[str, Any]:
        """Some field removed, added, or of another value."""
        changed = dict(values)
        for _ in range(self._random.randrange(1, 3)):
            name = self._random.choice([*changed, "extra", ""])
            if self._random.random() < 0.2:
                changed.pop(name, None)
            else:
                changed[name] = self._random.choice(STRANGE)
        return changed

    def _add_arrays(self, header: dict[str, Any]) -> list[bytes]:
        """Arrays that lie about their number, type, shape or size."""
        count = self._random.randrange(4)
        arrays: list[Any] = [
            {
                "name": self._random.choice(["a", "b", "", 3]),
                "dtype": self._random.choice(["float32", "object", "bool", "O", "|V8", None, "float16"]),
                "shape": self._random.choice([[], [2], [-1], [2**62, 4], [0] * 9, "2", [1.5], [None], [2, 2]]),
            }
            for _ in range(count)
        ]
        if self._random.random() < 0.2:
            arrays.append(self._random.choice(STRANGE))
        buffers = [self._random.randbytes(self._random.choice([0, 1, 8, 16])) for _ in range(self._random.randrange(4))]
        return [_pack({**header, "arrays": arrays}), *buffers]

    def _flip_bytes(self, header: dict[str, Any]) -> list[bytes]:
        data = bytearray(_pack(header))
        for _ in range(self._random.randrange(1, 6)):
            data[self._random.randrange(len(data))] = self._random.randrange(256)
        return [bytes(data)]

    def _truncate(self, header: dict[str, Any]) -> list[bytes]:
        data = _pack(header)
        return [data[: self._random.randrange(len(data))]]

    def _repeat(self, header: dict[str, Any]) -> list[bytes]:
        return [_pack(header)] * self._random.randrange(2, 60)

    def _nest(self, header: dict[str, Any]) -> list[bytes]:
        depth = self._random.choice([10, 500, 2000, 80_000])
        return [_pack({**header, "body": {}})[:-1] + self._random.choice([b"\x91", b"\x81\xa1a"]) * depth]

    def _leave_valid(self, header: dict[str, Any]) -> list[bytes]:
        return [_pack(header)]

    def _noise(self, header: dict[str, Any]) -> list[bytes]:
        sizes = [self._random.choice([0, 1, 3, 200, 5000, LARGEST_PART]) for _ in range(self._random.randrange(1, 4))]
        return [self._random.randbytes(size) for size in sizes]


def _pack(header: dict[str, Any]) -> bytes:
    return bytes(msgpack.packb(header))


def fuzz(state_dir: Path, run: str, messages: int, seed: int) -> Tally:
    """Send them all; raises AssertionError when the server stops answering a well-behaved client meanwhile."""
    tally = Tally()
    with PlainClient(state_dir) as rude, PlainClient(state_dir) as polite:
        fuzzer = Fuzzer(rude.token, run, seed)
        while tally.sent < messages:
            for _ in range(BATCH):
                rude.socket.send_multipart(fuzzer.message())
                tally.sent += 1
            polite.ask("jobs")
            _drain(rude, tally)
            _cancel_all(rude, tally)
        _drain(rude, tally, wait_ms=500)
        assert polite.ask("open", run=run)["frames"] > 0
    return tally


def _drain(client: PlainClient, tally: Tally, wait_ms: int = 0) -> None:
    while client.socket.poll(wait_ms):
        header = msgpack.unpackb(client.socket.recv_multipart()[0])
        tally.answered += header["kind"] in ("ok", "error")
        tally.oks += header["kind"] == "ok"
        if header["kind"] in ("answer", "frame", "progress"):
            tally.streaming.add(header["id"])


def _cancel_all(client: PlainClient, tally: Tally) -> None:
    """End streams that valid requests began, which would count against the client."""
    for request in tally.streaming:
        client.send("cancel", request=request)
    tally.streaming.clear()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state_dir", type=Path)
    parser.add_argument("--run", required=True, help="a run that the server has")
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.monotonic()
    try:
        tally = fuzz(options.state_dir, options.run, options.messages, options.seed)
    except (AssertionError, zmq.ZMQError) as error:
        print(f"the server failed: {error}")
        return 1
    print(f"{tally.sent} messages, {tally.answered} answers ({tally.oks} ok), {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
