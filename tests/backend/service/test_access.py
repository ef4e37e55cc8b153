"""backend/access.py: where a server is, as it or a person wrote it, and its token."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from backend import access
from backend.wire import WireError


def test_the_state_folder_is_where_the_platform_wants_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(access.STATE_DIR_VARIABLE, raising=False)
    assert access.state_dir() == Path(platformdirs.user_state_dir("legs4d", appauthor=False))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert access.state_dir() == Path(platformdirs.user_state_dir("legs4d", appauthor=False))
    monkeypatch.setenv(access.STATE_DIR_VARIABLE, str(tmp_path / "own"))
    assert access.state_dir() == tmp_path / "own"


def test_the_server_file_is_read_or_said_to_be_damaged(tmp_path: Path) -> None:
    assert access.read_server_file(tmp_path) is None
    (tmp_path / access.SERVER_FILE).write_text('{"endpoint": "tcp://127.0.0.1:5", "token": "t", "pid": 7}')
    assert access.read_server_file(tmp_path) == access.ServerFile("tcp://127.0.0.1:5", "t", 7)
    for damaged in ("", "[]", '{"endpoint": "x"}', "\x00"):
        (tmp_path / access.SERVER_FILE).write_text(damaged)
        with pytest.raises(WireError, match="remove the file"):
            access.read_server_file(tmp_path)


@pytest.mark.parametrize(
    ("written", "endpoint"),
    [
        ("gpu7:5000", "tcp://gpu7:5000"),
        ("gpu7", "tcp://gpu7:47404"),
        ("tcp://10.0.0.7:5000", "tcp://10.0.0.7:5000"),
        (" 10.0.0.7/ ", "tcp://10.0.0.7:47404"),
        ("[::1]:5000", "tcp://[::1]:5000"),
        ("fe80::1%eth0", "tcp://[fe80::1%eth0]:47404"),
        ("my-host.example.org:1", "tcp://my-host.example.org:1"),
    ],
)
def test_addresses_as_people_write_them(written: str, endpoint: str) -> None:
    assert access.endpoint_of(written) == endpoint


@pytest.mark.parametrize("written", ["", "tcp://", "gpu7:", "gpu7:0", "gpu7:99999", "a b", "http://gpu7", "gpu7:port"])
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(WireError, match="is no address"):
        access.endpoint_of(written)


def test_tokens_are_compared_whole() -> None:
    assert access.same_token("abc", "abc")
    for wrong in ("", "ab", "abcd", "abd", "äbc", "\udcff"):
        assert not access.same_token(wrong, "abc")
