"""The message format of protocol 2: the one definition for the backend and the Blender add-on.

Only the standard library, msgpack and numpy are used, and nothing of legs4d is imported, because the extension build
copies this file. What each kind of message means is written in README.md of this folder, what bodies of the server's
hold in bodies.py, how a client finds its server in access.py.

A message is `[header, buffer, buffer, ...]`: a msgpack map, then one raw little-endian C-ordered buffer per array.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

PROTOCOL_VERSION = 2

DTYPES = ("bool", "uint8", "uint16", "int32", "int64", "float16", "float32", "float64")
"""The only array types that travel, little-endian; everything else (objects, strings, records) is refused."""

ZSTD = "zstd"
"""`codec` of an array whose buffer is one zstd frame; only sent to clients that ask for it."""

MAX_DIMENSIONS = 4
MAX_ID = 2**63 - 1
MAX_WINDOW = 64
"""The most `frame` events of one stream that may wait for credit."""


class Kind(StrEnum):
    """Every kind of message, but for requests of a job: these are called as the command that does the same, and `hello`
    tells which there are (`kinds`)."""

    HELLO = "hello"
    RUNS = "runs"
    DATASETS = "datasets"
    OPEN = "open"
    FRAMES = "frames"
    QUERY = "query"
    THINGS = "things"
    MEANT = "meant"
    KEEP = "keep"
    RENDER = "render"
    CUT_LIST = "cut_list"
    UPLOAD = "upload"
    AIM = "aim"
    CREDIT = "credit"
    CANCEL = "cancel"
    JOBS = "jobs"
    JOB = "job"
    JOB_LOG = "job_log"
    SUBSCRIBE = "subscribe"
    CANCEL_JOB = "cancel_job"
    PAUSE_JOB = "pause_job"
    RESUME_JOB = "resume_job"
    RETRY_JOB = "retry_job"
    PRIORITISE_JOB = "prioritise_job"
    STATUS = "status"

    OK = "ok"
    ERROR = "error"

    ANSWER = "answer"
    FRAME = "frame"
    PROGRESS = "progress"
    LOG = "log"


REPLIES = frozenset({Kind.OK, Kind.ERROR})
"""One of these ends every request; nothing with its id follows."""
EVENTS = frozenset({Kind.ANSWER, Kind.FRAME, Kind.PROGRESS, Kind.LOG})
REQUESTS = frozenset(Kind) - REPLIES - EVENTS


class Code(StrEnum):
    """The `code` of an `error` reply."""

    VERSION = "version"
    """The message has another protocol version."""
    MALFORMED = "malformed"
    """The message is not what the format says: parts, header, array sizes."""
    TOKEN = "token"
    """The token is not this server's."""
    HELLO_FIRST = "hello_first"
    """The server does not know this connection (it is new, or the server forgot it): say hello."""
    UNKNOWN_KIND = "unknown_kind"
    BODY = "body"
    """A field of the body is missing, of the wrong type, or out of range."""
    PATH = "path"
    """A name that does not lie under the server's roots."""
    RUN = "run"
    """The run is missing, unfinished, damaged, or was removed or replaced while open."""
    DIFFERS = "differs"
    """What is there was made otherwise than is asked for: `differences` lists in what; `again` makes it anew."""
    DATASET = "dataset"
    PROMPT = "prompt"
    JOB = "job"
    """No such job, or the job cannot do this in its state."""
    CANCELLED = "cancelled"
    """This request was cancelled by its client."""
    SUPERSEDED = "superseded"
    """A newer query of the same layer took this one's place."""
    UPLOAD = "upload"
    """A file that a client sends is too large, finds no room, or is not what was announced."""
    BUSY = "busy"
    """A limit of the server is reached: clients, requests of one client, jobs."""
    STALLED = "stalled"
    """A stream waited too long for credit and was closed."""
    SHUTDOWN = "shutdown"
    """The server is stopping; jobs go on when it starts again."""
    FAILED = "failed"
    """Another problem that its user can mend; the message says which."""
    INTERNAL = "internal"
    """A defect of the server; its log has the details."""


class WireError(Exception):
    """A message that cannot be sent or read.

    Attributes:
        code: why, as an `error` reply would say it.
        message: one sentence.
        hint: what to do about it, may be empty.
        request_id: id of the offending message, 0 when it could not be read.
    """

    def __init__(self, message: str, *, code: Code = Code.MALFORMED, hint: str = "", request_id: int = 0) -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.code, self.message, self.hint, self.request_id = code, message, hint, request_id


@dataclass(frozen=True)
class Limits:
    """What one message may weigh, in bytes, and how many arrays it may carry."""

    header: int
    arrays: int
    part: int
    message: int


REQUEST_LIMITS = Limits(header=256 * 1024, arrays=1, part=256 * 1024, message=512 * 1024)
"""Client to server. Only `upload` carries an array, a piece of a file."""
CURVE_BYTES = 64
"""That encryption adds to a part at most (33); ZeroMQ's MAXMSGSIZE is compared with what is encrypted."""
UPLOAD_BYTES = REQUEST_LIMITS.part
"""The most that one piece has."""
UPLOAD_PIECES = 4
"""That a client has under way: enough to keep the network busy, few enough for the server to take."""
REPLY_LIMITS = Limits(header=4 * 1024**2, arrays=32, part=256 * 1024**2, message=1024**3)
"""Server to client."""


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        kind: one of `Kind`, as sent (an unknown kind is read, so that it can be answered).
        id: 1..MAX_ID, chosen by the client; replies and events carry the request's. 0 only in an `error` reply to a
            message whose id could not be read.
        body: msgpack-able map; its fields are in README.md.
        arrays: name → array. Read arrays are read-only views of the received buffers.
        token: the server's token in requests, empty in replies and events.
    """

    kind: str
    id: int
    body: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    token: str = ""


Buffer = bytes | memoryview

WORTH_COMPRESSING = 0.8
"""Share of its size that an array must be compressed to. Geometry stays at 0.9 (its last bits are noise), relevancy
falls to 0.01 … 0.5."""


def pack(
    message: Message, limits: Limits = REPLY_LIMITS, compress: Callable[[Buffer], bytes] | None = None
) -> list[Buffer]:
    """The parts of a message: its header, then a view of each array (a copy only if it is not C-ordered little-endian).

    With `compress` (to one zstd frame), arrays are sent so where that pays (`WORTH_COMPRESSING`). The arrays
    must not change until the parts are sent. Raises WireError when it exceeds `limits` or cannot be packed.
    """
    buffers: list[Buffer] = []
    described = []
    for name, array in message.arrays.items():
        dtype = array.dtype.name
        if dtype not in DTYPES:
            raise WireError(f"array '{name}' is {dtype}, but only {', '.join(DTYPES)} travel", request_id=message.id)
        plain = np.ascontiguousarray(array, dtype=_little_endian(dtype))
        buffer: Buffer = plain.reshape(-1).view(np.uint8).data
        entry = {"name": name, "dtype": dtype, "shape": list(array.shape)}
        if compress and plain.nbytes and len(small := compress(buffer)) < WORTH_COMPRESSING * plain.nbytes:
            buffer, entry = small, {**entry, "codec": ZSTD}
        buffers.append(buffer)
        described.append(entry)
    header: dict[str, Any] = {"v": PROTOCOL_VERSION, "id": message.id, "kind": str(message.kind)}
    if message.token:
        header["token"] = message.token
    header |= {"body": dict(message.body), "arrays": described}
    try:
        packed: bytes = msgpack.packb(header)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"the body of '{message.kind}' cannot be packed: {error}", request_id=message.id) from error
    _check_sizes([len(packed), *(memoryview(b).nbytes for b in buffers)], limits, message.id)
    return [packed, *buffers]


Decompress = Callable[[Buffer, int], bytes]
"""The content of one zstd frame, at most so many bytes of it; raises WireError when it is none."""


def unpack(parts: Sequence[Any], limits: Limits = REPLY_LIMITS, decompress: Decompress | None = None) -> Message:
    """Read a message from its parts (any objects with the buffer protocol: bytes, zmq.Frame), without copying arrays.

    `decompress` is for who asked for zstd, which neither Python nor Blender brings.
    Raises WireError (with `request_id` where it could be read) unless the header is sound, of this protocol version,
    and every buffer has exactly the size that its dtype and shape say.
    """
    views = [memoryview(part) for part in parts]
    if not views:
        raise WireError("the message has no parts, but it must begin with a header")
    if views[0].nbytes > limits.header:
        raise WireError(f"the header has {views[0].nbytes:,} bytes, at most {limits.header:,} are allowed")
    header = _read_header(views[0])
    request_id = _field(header, "id", int, 0)
    if not 0 <= request_id <= MAX_ID:
        raise WireError(f"the id {request_id} is not in 1..{MAX_ID}")
    try:
        return _read(header, request_id, views, limits, decompress)
    except WireError as error:
        raise WireError(error.message, code=error.code, hint=error.hint, request_id=request_id) from None


def _read_header(view: memoryview) -> dict[str, Any]:
    try:
        header = msgpack.unpackb(view, raw=False, strict_map_key=True, ext_hook=_refuse_extension)
    except WireError:
        raise
    except Exception as error:  # msgpack raises many kinds (its own, ValueError, UnicodeDecodeError, RecursionError)
        raise WireError(f"the header is not valid msgpack: {type(error).__name__}: {error}".rstrip(": ")) from error
    if not isinstance(header, dict):
        raise WireError(f"the header is a msgpack {type(header).__name__}, but it must be a map")
    if "v" not in header:
        raise WireError("the header has no protocol version 'v'", code=Code.VERSION)
    return header


def _refuse_extension(code: int, data: bytes) -> Any:
    raise WireError(f"the header holds a msgpack extension of type {code}, but only plain values are allowed")


def _read(
    header: dict[str, Any], request_id: int, views: list[memoryview], limits: Limits, decompress: Decompress | None
) -> Message:
    if header["v"] != PROTOCOL_VERSION or isinstance(header["v"], bool):
        raise WireError(
            f"the message has protocol version {str(header['v'])[:20]}, this side speaks version {PROTOCOL_VERSION}",
            code=Code.VERSION,
            hint="install the same release of legs4d and of the Blender extension",
        )
    kind = _field(header, "kind", str)
    token = _field(header, "token", str, "")
    body = _field(header, "body", dict, {})
    described = _field(header, "arrays", list, [])
    if len(described) != len(views) - 1:
        raise WireError(f"the header describes {len(described)} arrays, but {len(views) - 1} buffers came with it")
    _check_sizes([view.nbytes for view in views], limits, request_id)
    arrays: dict[str, NDArray[Any]] = {}
    for position, (entry, view) in enumerate(zip(described, views[1:], strict=True)):
        name, array = _read_array(entry, view, position, decompress)
        if name in arrays:
            raise WireError(f"two arrays are named '{name}'")
        arrays[name] = array
    return Message(kind, request_id, body, arrays, token)


def _read_array(entry: Any, view: memoryview, position: int, decompress: Decompress | None) -> tuple[str, NDArray[Any]]:
    if not isinstance(entry, dict):
        raise WireError(f"the description of array {position} is not a map of name, dtype, shape")
    name = _field(entry, "name", str)
    dtype, shape = _field(entry, "dtype", str), _field(entry, "shape", list)
    if dtype not in DTYPES:
        raise WireError(f"array '{name[:60]}' has dtype '{dtype[:20]}', but only {', '.join(DTYPES)} travel")
    if len(shape) > MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise WireError(f"array '{name[:60]}' has a shape that is not at most {MAX_DIMENSIONS} non-negative integers")
    kind = _little_endian(dtype)
    expected = math.prod(shape) * kind.itemsize
    if "codec" in entry:
        if entry["codec"] != ZSTD or decompress is None:
            raise WireError(f"array '{name[:60]}' has the codec {str(entry['codec'])[:20]!r}, which was not asked for")
        if expected > REPLY_LIMITS.part:
            raise WireError(f"array '{name[:60]}' has {expected:,} bytes, at most {REPLY_LIMITS.part:,} are allowed")
        view = memoryview(decompress(view, expected + 1))  # one more, so that a longer one is seen as such
    if view.nbytes != expected:
        raise WireError(
            f"array '{name[:60]}' ({dtype} {shape}) needs {expected:,} bytes, but its buffer has {view.nbytes:,}"
        )
    return name, np.frombuffer(view, dtype=kind).reshape(shape)


_MISSING = object()
_MSGPACK_NAMES = {int: "an integer", str: "a string", dict: "a map", list: "an array"}


def _field(header: dict[str, Any], name: str, kind: type, default: Any = _MISSING) -> Any:
    value = header.get(name, default)
    if value is _MISSING:
        raise WireError(f"the header lacks '{name}'")
    if not isinstance(value, kind) or isinstance(value, bool):
        raise WireError(f"'{name}' in the header is {type(value).__name__}, but it must be {_MSGPACK_NAMES[kind]}")
    return value


def _check_sizes(sizes: list[int], limits: Limits, request_id: int) -> None:
    """`sizes` in bytes, the header's first."""
    found: tuple[str, int, int] | None = None
    if sizes[0] > limits.header:
        found = ("header bytes", sizes[0], limits.header)
    elif len(sizes) - 1 > limits.arrays:
        found = ("arrays", len(sizes) - 1, limits.arrays)
    elif max(sizes) > limits.part:
        found = ("bytes in one part", max(sizes), limits.part)
    elif sum(sizes) > limits.message:
        found = ("bytes", sum(sizes), limits.message)
    if found:
        raise WireError(
            f"the message has {found[1]:,} {found[0]}, at most {found[2]:,} are allowed", request_id=request_id
        )


def _little_endian(dtype: str) -> np.dtype[Any]:
    return np.dtype(dtype).newbyteorder("<")
