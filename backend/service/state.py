"""The server's state folder: one server at a time in it, and the file by which clients find that server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from backend.access import SERVER_FILE, STATE_DIR_VARIABLE
from backend.service.errors import BackendError
from backend.service.listener import Access
from legs4d.errors import RunError
from legs4d.gaussians.store.lock import lock_file


@contextmanager
def hold_state(folder: Path) -> Iterator[None]:
    """Be the one server of this state folder, which is made if need be, readable by its user only.

    Raises BackendError when another server holds it (a dead one's hold is free) or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BackendError(
            f"the state folder cannot be made ({error.strerror})", where=str(folder), fix="choose another --state-dir"
        ) from error
    with ExitStack() as held:
        try:
            held.enter_context(lock_file(folder / "server.lock"))
        except RunError as error:
            raise BackendError(
                f"another legs4d server uses this state folder (it {error.what})",
                where=str(folder),
                fix=f"stop it, or give this one a --state-dir (or {STATE_DIR_VARIABLE}) of its own",
            ) from error
        yield


@contextmanager
def announce(folder: Path, access: Access, token: str) -> Iterator[Path]:
    """Keep `server.json` (mode 0600) in the state folder; it is removed at the end."""
    path = folder / SERVER_FILE
    content: dict[str, Any] = {"endpoint": access.endpoint, "token": token, "pid": os.getpid()}
    if access.keys:
        keys = access.keys
        content["curve"] = {"server": access.server_key, "public": keys.public, "secret": keys.secret}
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)
    os.replace(temporary, path)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
