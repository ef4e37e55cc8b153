"""Logs of jobs: read in pieces, and followed while they grow."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backend.jobs.process import LOG_FILE as NAME

MAX_PIECE = 64 * 1024

__all__ = ["MAX_PIECE", "NAME", "Tail", "read_piece"]


def read_piece(path: Path, offset: int) -> dict[str, Any]:
    """Body of the reply to `job_log`: {text, offset: where to go on, end: nothing more now}.

    Cut between characters; what is not UTF-8 is replaced. A log that does not exist yet is empty.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(MAX_PIECE)
            more = bool(file.read(1))
    except FileNotFoundError:
        return {"text": "", "offset": offset, "end": True}
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    return {"text": text, "offset": offset + len(data) - len(decoder.getstate()[0]), "end": not more}


class Tail:
    """What a job's log gains from now on."""

    def __init__(self, job_id: str, folder: Path) -> None:
        self._job_id, self._path = job_id, folder / NAME
        self._offset = self._path.stat().st_size if self._path.exists() else 0

    def news(self) -> Iterator[dict[str, Any]]:
        """Bodies of `log` events since the last call."""
        while True:
            piece = read_piece(self._path, self._offset)
            self._offset = piece["offset"]
            if not piece["text"]:
                return
            yield {"job": self._job_id, "text": piece["text"], "offset": piece["offset"]}
