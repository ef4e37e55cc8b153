"""backend/wire.py: what is packed is read back, and what is not a message is refused with a sentence."""

from __future__ import annotations

import subprocess
import sys
from ast import literal_eval
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zstandard

from backend import wire
from backend.runs import zstd
from backend.wire import Code, Kind, Limits, Message, WireError, pack, unpack


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 3), np.float32),
        np.array(2.5, np.float32),
        np.arange(24, dtype=np.int32).reshape(2, 3, 4).transpose(2, 0, 1),
        np.arange(3, dtype=">i8"),
        np.array([True, False]),
        np.linspace(0, 1, 5).astype(np.float16),
        np.arange(256, dtype=np.uint8),
    ],
)
def test_arrays_come_back_as_they_went(array: np.ndarray) -> None:
    message = Message(Kind.FRAME, 7, {"frame": 3}, {"values": array})
    read = unpack([bytes(part) for part in pack(message)])
    assert (read.kind, read.id, read.body) == ("frame", 7, {"frame": 3})
    assert read.arrays["values"].shape == array.shape
    assert read.arrays["values"].dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(read.arrays["values"], array)


def test_contiguous_arrays_are_not_copied() -> None:
    array = np.zeros((100, 3), np.float32)
    _, buffer = pack(Message(Kind.FRAME, 1, {}, {"means": array}))
    array[50, 1] = 4.0
    received = unpack([pack(Message(Kind.FRAME, 1, {}, {"means": array}))[0], buffer]).arrays["means"]
    assert received[50, 1] == 4.0
    assert np.shares_memory(received, array)


def header(**changes: Any) -> bytes:
    whole = {"v": 2, "id": 5, "kind": "frame", "body": {}, "arrays": []}
    return msgpack.packb({k: v for k, v in {**whole, **changes}.items() if v is not None})


def described(**changes: Any) -> bytes:
    return header(arrays=[{"name": "a", "dtype": "float32", "shape": [2], **changes}])


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([], "no parts"),
        ([b""], "not valid msgpack"),
        ([header()[:-3]], "not valid msgpack"),
        ([header() + b"x"], "not valid msgpack"),
        ([b"\xc1"], "not valid msgpack"),
        ([b"\x91" * 100_000], "not valid msgpack"),
        ([msgpack.packb([1, 2])], "must be a map"),
        ([msgpack.packb({1: 2})], "not valid msgpack"),
        ([msgpack.packb({"v": 2, "x": msgpack.ExtType(5, b"")})], "extension of type 5"),
        ([header(id="7")], "'id' in the header is str"),
        ([header(id=True)], "'id' in the header is bool"),
        ([header(id=-1)], "not in 1"),
        ([header(id=2**63)], "not in 1"),
        ([header(kind=None)], "lacks 'kind'"),
        ([header(kind=3)], "'kind' in the header is int"),
        ([header(body=[1])], "'body' in the header is list"),
        ([header(arrays={})], "'arrays' in the header is dict"),
        ([header(), b"1234"], "describes 0 arrays, but 1 buffers"),
        ([described()], "describes 1 arrays, but 0 buffers"),
        ([described(), b"1234567"], "needs 8 bytes, but its buffer has 7"),
        ([described(), b"123456789"], "needs 8 bytes, but its buffer has 9"),
        ([described(shape=[-2]), b"12345678"], "non-negative"),
        ([described(shape=[2.0]), b"12345678"], "non-negative"),
        ([described(shape=[True, 2]), b"12345678"], "non-negative"),
        ([described(shape=[1] * 9), b"1234"], "at most 4"),
        ([described(shape=[2**40, 2**40]), b"1234"], "needs"),
        ([described(dtype="object"), b"12345678"], "'object'"),
        ([described(dtype="O"), b"12345678"], "'O'"),
        ([described(dtype="<f4"), b"12345678"], "'<f4'"),
        ([described(dtype="float32,float32"), b"12345678"], "travel"),
        ([described(name=None), b"12345678"], "'name' in the header is NoneType"),
        ([header(arrays=[3]), b"12345678"], "not a map"),
        ([header(arrays=[{"name": "a", "dtype": "bool", "shape": [1]}] * 2), b"1", b"1"], "two arrays"),
    ],
)
def test_malformed_messages_are_refused(parts: list[bytes], says: str) -> None:
    with pytest.raises(WireError, match=says) as caught:
        unpack(parts)
    assert caught.value.code == Code.MALFORMED


def test_an_error_carries_the_id_where_it_could_be_read() -> None:
    with pytest.raises(WireError) as caught:
        unpack([described(), b"1"])
    assert caught.value.request_id == 5


@pytest.mark.parametrize("version", [0, 1, 3, "2", None, True, 2.5])
def test_another_version_is_named_beside_ours(version: Any) -> None:
    parts = [msgpack.packb({"v": version, "id": 9, "kind": "hello", "shiny": [1]})]
    with pytest.raises(WireError, match=rf"version {version}.* version 2") as caught:
        unpack(parts)
    assert (caught.value.code, caught.value.request_id) == (Code.VERSION, 9)


def test_limits_hold_for_both_sides() -> None:
    small = Limits(header=1000, arrays=2, part=1000, message=1500)
    fine = {"a": np.zeros(900, np.uint8)}
    assert unpack(pack(Message(Kind.FRAME, 1, {}, fine), small), small).arrays["a"].size == 900
    for arrays, says in [
        ({"a": np.zeros(1001, np.uint8)}, "bytes in one part"),
        ({"a": np.zeros(900, np.uint8), "b": np.zeros(900, np.uint8)}, "1,500"),
        ({name: np.zeros(1, np.uint8) for name in "abc"}, "3 arrays"),
    ]:
        message = Message(Kind.FRAME, 1, {}, arrays)
        with pytest.raises(WireError, match=says):
            pack(message, small)
        with pytest.raises(WireError, match=says):
            unpack(pack(message), small)
    with pytest.raises(WireError, match="header bytes"):
        pack(Message(Kind.LOG, 1, {"text": "x" * 1001}), small)


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([object()]), np.zeros(2, "f4,f4"), np.zeros(2, complex)])
def test_other_arrays_do_not_travel(array: np.ndarray) -> None:
    with pytest.raises(WireError, match="only bool"):
        pack(Message(Kind.FRAME, 1, {}, {"a": array}))


def test_other_bodies_do_not_travel() -> None:
    with pytest.raises(WireError, match="cannot be packed"):
        pack(Message(Kind.OK, 1, {"path": Path("x")}))


def test_wire_needs_only_numpy_and_msgpack(tmp_path: Path) -> None:
    """The extension gets a copy of the file, and Blender's Python has nothing else."""
    (tmp_path / "wire.py").write_bytes(Path(wire.__file__).read_bytes())
    code = (
        "import sys; before = set(sys.modules); import wire\n"
        "new = {m.partition('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(sorted(m for m in new if not m.startswith('_')))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(literal_eval(found.stdout)) - {"cython_runtime"} == {"msgpack", "numpy", "wire"}


def test_every_kind_and_code_is_documented() -> None:
    document = Path(wire.__file__).with_name("README.md").read_text()
    for name in (*Kind, *Code):
        assert f"`{name}`" in document or f"### {name}" in document or f", {name}" in document, name


def test_arrays_are_compressed_only_where_it_pays() -> None:
    rng = np.random.default_rng(0)
    arrays = {"noise": rng.integers(0, 256, 1000, np.uint8), "calm": np.zeros(1000, np.uint8)}
    parts = wire.pack(wire.Message("frame", 1, {}, arrays), compress=zstd.compress)
    entries = msgpack.unpackb(parts[0])["arrays"]
    assert [entry.get("codec") for entry in entries] == [None, "zstd"] and len(parts[2]) < 100
    for name, values in wire.unpack(parts, decompress=zstd.decompress).arrays.items():
        np.testing.assert_array_equal(values, arrays[name])


def test_a_compressed_array_that_lies_is_refused() -> None:
    def message(content: bytes, **entry: object) -> list[bytes]:
        described = {"name": "a", "dtype": "uint8", "shape": [10], "codec": "zstd", **entry}
        return [msgpack.packb({"v": 2, "id": 1, "kind": "frame", "arrays": [described]}), content]

    bomb = zstandard.compress(bytes(10_000_000))
    for parts, says in (
        (message(bomb), "10 bytes, but"),
        (message(zstandard.compress(b"short")), "needs 10 bytes"),
        (message(b"no frame"), "not a zstd frame"),
        (message(b"", codec="gzip"), "codec"),
        (message(bomb, shape=[2**40]), "at most"),
    ):
        with pytest.raises(WireError, match=says):
            wire.unpack(parts, decompress=zstd.decompress)
    with pytest.raises(WireError, match="not asked for"):
        wire.unpack(message(bomb))
