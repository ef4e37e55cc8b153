"""The server's log: lines for people, or one JSON object a line for programs."""

from __future__ import annotations

import json
import logging
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Literal

from backend.service.errors import BackendError

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
LOG_TIME = "%Y-%m-%d %H:%M:%S"
"""Of lines for people, the server's and its jobs'."""

_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """{"time", "level", "logger", "message", "error"?} and whatever was given as `extra` (job, client)."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _ORDINARY}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def start_logging(form: Literal["text", "json"], file: Path | None = None, *, mib: float = 10, files: int = 5) -> None:
    """Log from INFO on, to standard error or to a file.

    Args:
        file: when it has `mib` MiB it is renamed (.1, .2, …), and the oldest of `files` old ones is deleted.

    Raises BackendError when the file cannot be written.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = RotatingFileHandler(file, maxBytes=int(mib * 2**20), backupCount=files, encoding="utf-8")
        except OSError as error:
            raise BackendError(
                f"cannot be written ({error.strerror})", where=str(file), fix="choose another log_file"
            ) from error
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(LOG_FORMAT, LOG_TIME))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
