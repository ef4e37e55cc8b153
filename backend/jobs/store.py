"""Jobs on disk: one SQLite file (WAL), written before anything is said, so that the next server knows all."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from backend.bodies import ErrorBody, JobBody, ProgressBody, State
from backend.service.errors import BackendError

DATABASE = "jobs.sqlite"
FORMAT = 2
"""1 knew no tickets; it is brought up to date."""
OVER: frozenset[str] = frozenset({"done", "failed", "cancelled"})
"""States in which nothing happens any more."""


@dataclass
class Job:
    """A piece of work in a process of its own.

    Attributes:
        id: names it, and its folder.
        kind: what it does, a key of `kinds.JOB_KINDS`.
        state: as in README.md.
        request: body of the request that submitted it.
        spec: what the worker process is told: absolute paths and checked settings.
        writes: absolute path that it alone may write.
        wanted: device asked for, "auto", or "" for a job that needs none.
        priority: −100 … 100, the highest first.
        ticket: the client's own name for its submission, or None.
        device: the one it runs on or ran on last, "" before.
        created, started, ended: seconds since 1970.
        attempts: processes started for it.
        fruitless: how many of them in a row died without getting anywhere.
        achieved: how far it was when the last process was started (`JobKind.achieved`).
        progress, error, result: for clients.
    """

    id: str
    kind: str
    request: dict[str, Any]
    spec: dict[str, Any]
    writes: str
    wanted: str
    created: float
    priority: int = 0
    ticket: str | None = None
    state: State = "queued"
    device: str = ""
    started: float | None = None
    ended: float | None = None
    attempts: int = 0
    fruitless: int = 0
    achieved: int = 0
    progress: ProgressBody | None = None
    error: ErrorBody | None = None
    result: dict[str, Any] | None = None

    @property
    def over(self) -> bool:
        return self.state in OVER

    def body(self) -> JobBody:
        """As clients see it."""
        return {
            "job": self.id,
            "kind": self.kind,
            "state": self.state,
            "request": self.request,
            "priority": self.priority,
            "device": self.device,
            "created": self.created,
            "started": self.started,
            "ended": self.ended,
            "attempts": self.attempts,
            "progress": self.progress,
            "error": self.error,
            "result": self.result,
        }


class JobStore:
    """The file of all jobs. For one thread at a time.

    Raises BackendError when the file is of another format or damaged.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / DATABASE
        try:
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._set_up(path)
        except sqlite3.DatabaseError as error:
            raise BackendError(
                f"the list of jobs cannot be read ({error})",
                where=str(path),
                fix="move the file away: runs are not in it, only the jobs that wait",
            ) from error

    def put(self, job: Job) -> None:
        """Store the job as it is now; durable on return, against a power cut too.

        Raises BackendError when the disk is full or broken; what was stored before is still there.
        """
        try:
            self._database.execute(
                "INSERT INTO jobs (id, created, state, ticket, record) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET state = excluded.state, record = excluded.record",
                (job.id, job.created, job.state, job.ticket, json.dumps(asdict(job))),
            )
        except sqlite3.OperationalError as error:
            full = "full" in str(error)
            what = "no space is left for the list of jobs" if full else f"the list of jobs cannot be written ({error})"
            raise BackendError(what, where=DATABASE, fix="free some on the disk of the state folder") from error

    def get(self, job_id: str) -> Job | None:
        row = self._database.execute("SELECT record FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return _read(row[0]) if row else None

    def by_ticket(self, ticket: str) -> Job | None:
        """The job that was submitted with this ticket."""
        row = self._database.execute("SELECT record FROM jobs WHERE ticket = ?", (ticket,)).fetchone()
        return _read(row[0]) if row else None

    def forget_oldest(self, keep: int) -> list[str]:
        """Delete all jobs that are over but the newest `keep`; their ids."""
        marks = ", ".join("?" * len(OVER))
        rows = self._database.execute(
            f"DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE state IN ({marks}) "
            "ORDER BY created DESC, rowid DESC LIMIT -1 OFFSET ?) RETURNING id",
            (*OVER, keep),
        )
        return [row[0] for row in rows.fetchall()]

    def newest(self, limit: int, after: str | None = None) -> list[Job]:
        """The newest jobs, newest first; only those older than the job `after`."""
        older = "WHERE (created, rowid) < (SELECT created, rowid FROM jobs WHERE id = ?) " if after is not None else ""
        rows = self._database.execute(
            f"SELECT record FROM jobs {older}ORDER BY created DESC, rowid DESC LIMIT ?",
            (limit,) if after is None else (after, limit),
        )
        return [_read(row[0]) for row in rows]

    def counts(self) -> dict[str, int]:
        """State → number of jobs."""
        return dict(self._database.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall())

    def unfinished(self) -> Iterator[Job]:
        """Jobs that are not over, oldest first."""
        marks = ", ".join("?" * len(OVER))
        rows = self._database.execute(
            f"SELECT record FROM jobs WHERE state NOT IN ({marks}) ORDER BY created, rowid", tuple(OVER)
        )
        return (_read(row[0]) for row in rows.fetchall())

    def close(self) -> None:
        self._database.close()

    def _set_up(self, path: Path) -> None:
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, 1, FORMAT):
            raise BackendError(
                f"the list of jobs is of format {version}, this legs4d has {FORMAT}",
                where=str(path),
                fix="use the legs4d that wrote it, or another --state-dir",
            )
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS jobs "
            "(id TEXT PRIMARY KEY, created REAL NOT NULL, state TEXT NOT NULL, record TEXT NOT NULL, ticket TEXT)"
        )
        if version == 1:
            self._database.execute("ALTER TABLE jobs ADD COLUMN ticket TEXT")
        self._database.execute("CREATE UNIQUE INDEX IF NOT EXISTS jobs_by_ticket ON jobs (ticket)")
        self._database.execute("CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state)")
        self._database.execute(f"PRAGMA user_version = {FORMAT}")
        self._database.execute("COMMIT")


_FIELDS = frozenset(field.name for field in fields(Job))


def _read(record: str) -> Job:
    return Job(**{name: value for name, value in json.loads(record).items() if name in _FIELDS})
