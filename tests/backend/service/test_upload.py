"""Files that clients send, over real sockets: whole, broken off, wrong, too large, from several at once, and swept."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.service.client import Client, find_server
from backend.service.config import Limits
from backend.service.errors import BackendError
from backend.service.keys import authorize, make_client_keys
from backend.service.requests import Upload
from backend.uploads.inbox import FOLDER, Inbox, safe_name
from backend.wire import UPLOAD_BYTES
from tests.backend.conftest import ServerProcess, serving
from tests.backend.plain_client import PlainClient, RefusedError

StartServer = Callable[..., ServerProcess]


def announced(content: bytes, name: str = "ball.ply", **more: Any) -> dict[str, Any]:
    return {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), **more}


def some_bytes(size: int, seed: int = 0) -> bytes:
    return hashlib.shake_256(str(seed).encode()).digest(size)


def send_pieces(client: PlainClient, content: bytes, begin: int, end: int, **more: Any) -> dict[str, Any]:
    """Send bytes begin … end in pieces; the last reply."""
    answer: dict[str, Any] = {}
    for offset in range(begin, end, 100_000):
        piece = content[offset : min(offset + 100_000, end)]
        answer = client.reply(client.send_piece(piece, **announced(content, **more), offset=offset)).body
    return answer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Takes files of 2 MiB, and 3 MiB from a client; asks for keys on loopback too."""
    home = tmp_path_factory.mktemp("uploads")
    (home / "server.toml").write_text("curve = true\n[limits]\nupload_mib = 2\ninbox_mib = 3\n")
    with serving(home, options=[f"--config={home / 'server.toml'}"]) as server:
        yield server


@pytest.fixture
def connect(server: ServerProcess, tmp_path: Path) -> Iterator[Callable[[str], PlainClient]]:
    """Connect as a client with a key, and so an inbox, of its own."""
    found, connected = server.access(), []

    def connect(who: str) -> PlainClient:
        keys = make_client_keys(tmp_path / who, force=True)
        authorize(server.state_dir, who, keys.public)
        pair = {"public": keys.public, "secret": keys.secret}
        connected.append(PlainClient.elsewhere(found["endpoint"], found["curve"]["server"], pair))
        return connected[-1]

    yield connect
    for client in connected:
        client.close()


Connect = Callable[[str], PlainClient]


def test_a_file_arrives_whole_and_a_job_can_name_it(server: ServerProcess, tmp_path: Path) -> None:
    path = tmp_path / "Szene é 1.npz"
    path.write_bytes(some_bytes(3 * UPLOAD_BYTES + 17))
    told: list[tuple[int, int]] = []
    with Client(find_server(server.state_dir)) as client:
        assert client.server["upload"] == {"piece": UPLOAD_BYTES, "largest": 2 << 20}
        name = client.upload(path, progress=lambda done, total: told.append((done, total)))
        assert client.upload(path) == name and told[-1] == (path.stat().st_size,) * 2
        sequence = client.upload(path, folder="shots/take 1")
        job = client.ask("import-d3dgs", params=name, out="made")["job"]
        for event in client.events("subscribe", job=job):
            over = event.body
    assert name.startswith(f"{FOLDER}/local/") and name.endswith("/Szene é 1.npz")
    assert sequence == f"{FOLDER}/local/take 1/Szene é 1.npz"
    assert (server.roots[0] / name).read_bytes() == path.read_bytes()
    assert over["error"]["code"] == "run" and "Szene é 1.npz" in over["error"]["message"]  # read, and no such file


def test_it_goes_on_after_a_new_connection_and_after_a_new_server(start_server: StartServer) -> None:
    server, content = start_server(), some_bytes(700_000)
    with server.connect() as client:
        assert send_pieces(client, content, 0, 300_000) == {"offset": 300_000, "name": None}
    with server.connect() as client:
        assert client.ask("upload", **announced(content)) == {"offset": 300_000, "name": None}
        assert client.reply(client.send_piece(b"x", **announced(content), offset=5)).body["offset"] == 300_000
        assert send_pieces(client, content, 300_000, 500_000)["offset"] == 500_000
    assert not list((server.roots[0] / FOLDER).rglob("ball.ply"))
    server.kill()
    server.start()
    with server.connect() as client:
        assert client.ask("upload", **announced(content))["offset"] == 500_000
        name = send_pieces(client, content, 500_000, 700_000)["name"]
    assert (server.roots[0] / name).read_bytes() == content


def test_what_is_wrong_is_refused_and_nothing_is_kept_of_it(connect: Connect) -> None:
    client, content = connect("wrong"), some_bytes(200_000)
    wrong = {**announced(content), "sha256": "0" * 64}
    client.reply(client.send_piece(content[:100_000], **wrong))
    with pytest.raises(RefusedError, match="another sha256") as refused:
        client.reply(client.send_piece(content[100_000:], **wrong, offset=100_000))
    assert refused.value.code == "upload"
    with pytest.raises(RefusedError, match="more came than the 200,000 bytes"):
        client.reply(client.send_piece(content + b"x", **announced(content)))
    for body, code in (
        ({"name": "x", "bytes": 0, "sha256": "0" * 64}, "body"),
        ({"name": "x", "bytes": 5, "sha256": "0" * 63}, "body"),
        ({"name": "x", "bytes": 5, "sha256": "0" * 64, "offset": -1}, "body"),
        ({"name": "x", "bytes": 5, "sha256": "0" * 64, "path": "/etc"}, "body"),
    ):
        with pytest.raises(RefusedError) as refused:
            client.ask("upload", **body)
        assert refused.value.code == code
    floats = {"arrays": [{"name": "data", "dtype": "float32", "shape": [1]}]}
    header = {"v": 2, "id": 900, "token": client.token}
    client.send_header({**header, "kind": "upload", "body": announced(content), **floats}, b"1234")
    with pytest.raises(RefusedError, match="uint8"):
        client.reply(900)
    client.send_header({**header, "kind": "runs", **floats}, b"1234")
    with pytest.raises(RefusedError, match="'runs' carries no arrays"):
        client.reply(900)
    assert client.reply(client.send_piece(content, **announced(content))).body["name"]


def test_a_size_limit_and_a_quota(connect: Connect) -> None:
    client = connect("large")
    with pytest.raises(RefusedError, match="at most 2,097,152 are taken") as refused:
        client.ask("upload", **announced(b"x" * (2 * 2**20 + 1)))
    assert refused.value.code == "upload"
    first, second = some_bytes(2_000_000, 1), some_bytes(1_500_000, 2)
    client.ask("upload", **announced(first))  # what is announced counts, before it comes
    with pytest.raises(RefusedError, match=r"inbox holds 2,000,000 bytes in 1 files, at most 3,145,728"):
        client.ask("upload", **announced(second))
    assert client.ask("upload", **announced(second[:1_000_000]))["offset"] == 0


def test_two_clients_have_inboxes_of_their_own(server: ServerProcess, connect: Connect) -> None:
    names = {}
    for who in ("anna", "ben"):
        content, client = some_bytes(100_000, len(who)), connect(who)
        names[who] = client.reply(client.send_piece(content, **announced(content))).body["name"]
    assert names["anna"].startswith(f"{FOLDER}/anna/") and names["ben"].startswith(f"{FOLDER}/ben/")


def test_two_connections_send_the_same_file_at_once(server: ServerProcess, connect: Connect) -> None:
    content = some_bytes(600_000)
    one = connect("both")
    two = PlainClient.elsewhere(*one.found)
    names = set()
    for offset in range(0, 600_000, 100_000):
        sent = [
            (c, c.send_piece(content[offset : offset + 100_000], **announced(content), offset=offset))
            for c in (one, two)
        ]
        names |= {client.reply(number).body["name"] for client, number in sent}
    assert len(names - {None}) == 1
    assert (server.roots[0] / max(filter(None, names))).read_bytes() == content


def test_more_pieces_than_are_taken_at_once_are_refused_and_memory_stays(
    server: ServerProcess, connect: Connect
) -> None:
    client, content = connect("hasty"), some_bytes(UPLOAD_BYTES)
    body = {"name": "big", "bytes": 2 << 20, "sha256": "0" * 64}
    client.reply(client.send_piece(content, **body))
    before = server.memory()
    numbers = [client.send_piece(content, **body, offset=1 << 30) for _ in range(400)]
    codes = []
    for number in numbers:
        try:
            client.reply(number)
        except RefusedError as error:
            codes.append(error.code)
    assert set(codes) <= {"busy"}
    assert server.memory() - before < 64 * 2**20


def test_old_files_are_swept_but_not_what_a_job_works_on(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path, Limits())
    contents = {name: some_bytes(1000, number) for number, name in enumerate(("old", "used", "new", "half"))}
    paths = {}
    for name, content in contents.items():
        asked = Upload(**announced(content, name))
        data = memoryview(content if name != "half" else content[:10])
        paths[name] = tmp_path / (inbox.take("anna", asked, data)["name"] or "none")
    (half,) = (tmp_path / FOLDER / "anna/.partial").iterdir()
    day = time.time() - 25 * 3600
    for path in (paths["old"], paths["used"], half):
        os.utime(path, (day, day))
    assert inbox.sweep({str(paths["used"])}) == 2
    assert not paths["old"].parent.exists() and paths["used"].exists() and paths["new"].exists() and not half.exists()
    assert inbox.sweep(set(), time.time() + 25 * 3600) == 2
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_link_in_place_of_the_inbox_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / FOLDER).symlink_to(tmp_path / "outside")
    with pytest.raises(BackendError, match="leads outside the root"):
        Inbox(tmp_path / "root", Limits()).take("anna", Upload(**announced(b"x")), None)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("ball.ply", "ball.ply"),
        ("C:\\shots\\take 1.MP4", "take 1.MP4"),
        ("../../etc/passwd", "passwd"),
        ("..", "_"),
        (".hidden.ply", "hidden.ply"),
        ("a\nb\0c.ply", "a_b_c.ply"),
        ('a<b>:"c|d?*.spz', "a_b___c_d__.spz"),
        ("球 é.ply", "球 é.ply"),
        ("con.txt", "_con.txt"),
        ("x" * 300 + ".ply", "x" * 156 + ".ply"),
        ("trailing. ", "trailing"),
    ],
)
def test_names_are_made_safe(given: str, kept: str) -> None:
    assert safe_name(given) == kept
