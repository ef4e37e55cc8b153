"""Small jobs while server and workers are killed at random moments: none lost, none done twice, every result right.

    python -m tests.backend.faults [--kills 100] [--seed 0] [--train 0.3]

`make test` has a few kills of exports only, which need no torch.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from legs4d.context import Context
from legs4d.gaussians.dynamic3dgs import export_dynamic3dgs
from legs4d.gaussians.export import export_frames
from legs4d.gaussians.store.run import Run
from tests.backend.conftest import ServerProcess, write_small_run
from tests.backend.plain_client import RefusedError

AT_ONCE = 3
"""Jobs that are not over at a time."""
PATIENCE = 300.0
FRAMES = 50


@dataclass
class Tally:
    """What came of it."""

    kills: dict[str, int] = field(default_factory=lambda: {"server": 0, "worker": 0})
    jobs: dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    given_up: int = 0
    """Jobs that the server let fail, as their processes died again and again before they got anywhere, and that were
    retried."""

    def __str__(self) -> str:
        jobs = ", ".join(f"{count} {kind}" for kind, count in sorted(self.jobs.items()))
        return f"{self.kills['server']} servers and {self.kills['worker']} workers killed; {jobs}; " + (
            f"{self.attempts} attempts, {self.given_up} retried by hand"
        )


@dataclass
class Submitted:
    """A job as the client that wants it knows it."""

    kind: str
    body: dict[str, Any]
    job: str = ""
    seen: dict[int, int] = field(default_factory=dict)
    """Inode of each finished chunk when it was first seen: one that is written again has another."""


class Faults:
    """One server, its jobs, and whoever kills them."""

    def __init__(self, folder: Path, seed: int, train_share: float) -> None:
        self._random, self._train_share = random.Random(seed), train_share
        self._root = folder / "root"
        self._truth = folder / "truth"
        self._server = ServerProcess([self._root], folder / "state")
        self._jobs: list[Submitted] = []
        self.tally = Tally()
        self._make_truth()

    def run(self, kills: int) -> Tally:
        """Kill so often while jobs run, then let them end. Raises AssertionError when something is lost or wrong."""
        self._server.start()
        self._client = self._server.connect()
        try:
            while sum(self.tally.kills.values()) < kills:
                self._keep_busy()
                kind = next((job.kind for job in self._jobs if self._state(job) == "running"), "export")
                time.sleep(self._random.uniform(0, 12 if kind == "train" else 1.5))
                self._note_chunks()
                self._kill(min(("server", "worker"), key=lambda what: self.tally.kills[what]))
            self._finish()
            self._check()
        finally:
            self._server.close()
        return self.tally

    def _make_truth(self) -> None:
        shot = write_small_run(self._root / "shot", FRAMES, 3000, 3000)
        export_frames(shot, self._truth / "export", range(FRAMES))
        every = write_small_run(self._truth / "every", 12, 50, 500)
        with every.lock():
            export_dynamic3dgs(every, self._root / "params.npz", range(1, 2))
        if self._train_share:
            from legs4d import pipeline
            from legs4d.config import TrainSettings
            from tests.backend.jobs.test_jobs import TINY
            from tests.synthetic import Scene, write_dataset

            scene = Scene(num_frames=4, width=48, height=32, num_train=4, num_test=1)
            write_dataset(self._root / "ball", scene)
            settings = TrainSettings.model_validate(TINY)
            pipeline.train(self._root / "ball", self._truth / "train", settings, Context("cpu"))

    def _keep_busy(self) -> None:
        while sum(self._state(job) not in ("done", "failed") for job in self._jobs) < AT_ONCE:
            number = len(self._jobs)
            if self._random.random() < self._train_share:
                from tests.backend.jobs.test_jobs import TINY

                job = Submitted("train", {"dataset": "ball", "out": f"train{number}", "settings": TINY})
            elif self._random.random() < 0.8:
                job = Submitted("export", {"run": "shot", "out": f"export{number}"})
            else:
                job = Submitted("import-d3dgs", {"params": "params.npz", "out": f"import{number}"})
            job.body["ticket"] = f"ticket {number}"
            self._jobs.append(job)
            self._submit(job)
            if self._random.random() < 0.1:  # a client that did not hear the answer asks again
                known, job.job = job.job, ""
                self._submit(job)
                assert job.job == known, "one ticket, two jobs"

    def _submit(self, job: Submitted) -> None:
        job.job = self._client.ask(job.kind, **job.body)["job"]

    def _state(self, job: Submitted) -> str:
        return str(self._client.ask("job", job=job.job)["state"])

    def _kill(self, what: str) -> None:
        if what == "server":
            if self._random.random() < 0.3:  # in the middle of a submission
                job = Submitted("export", {"run": "shot", "out": f"export{len(self._jobs)}"})
                job.body["ticket"] = f"ticket {len(self._jobs)}"
                self._jobs.append(job)
                self._client.send(job.kind, **job.body)
                time.sleep(self._random.uniform(0, 0.01))
            self._server.kill()
            self._client.close()
            self._server.start()
            self._client = self._server.connect()
            for job in self._jobs:
                if not job.job:
                    self._submit(job)
        else:
            workers = self._workers()
            if not workers:
                return
            os.kill(self._random.choice(workers), signal.SIGKILL)
        self.tally.kills[what] += 1

    def _workers(self) -> list[int]:
        from tests.backend.jobs.test_jobs import workers_of

        return workers_of(self._server)

    def _finish(self) -> None:
        deadline = time.monotonic() + PATIENCE + 20 * len(self._jobs)
        for job in self._jobs:
            while (found := self._client.ask("job", job=job.job))["state"] != "done":
                assert time.monotonic() < deadline, f"{job} does not end: {found}"
                if found["state"] == "failed":
                    message = found["error"]["message"]
                    assert "times without finishing a frame" in message, f"{job} failed: {message}"
                    self.tally.given_up += 1
                    self._client.ask("retry_job", job=job.job)
                time.sleep(0.1)
            self.tally.attempts += found["attempts"]
            self.tally.jobs[job.kind] = self.tally.jobs.get(job.kind, 0) + 1

    def _check(self) -> None:
        listed = self._client.ask("jobs")["jobs"]
        assert sorted(entry["job"] for entry in listed) == sorted(job.job for job in self._jobs), (
            "lost, or one too many"
        )
        self._note_chunks()
        for job in self._jobs:
            log = (self._server.state_dir / "jobs" / job.job / "log.txt").read_text(errors="replace")
            assert log.count("ends: done") <= 1, f"{job} was done twice"
            getattr(self, f"_check_{job.kind}".replace("-", "_"))(self._root / job.body["out"])
        assert not list(self._root.glob(".*.partial")), "something half done is left"

    def _note_chunks(self) -> None:
        """A finished timestep must never be computed again."""
        for job in self._jobs:
            folder = self._root / job.body["out"]
            if job.kind != "train" or not (folder / "run.json").exists():
                continue
            tracking = Run.open(folder).stages.get("tracking")
            for frame in tracking.done_frames if tracking else []:
                inode = _tracked(folder / "run.zarr", frame)
                assert job.seen.setdefault(frame, inode) == inode, f"{job}: frame {frame} was tracked twice"

    def _check_export(self, out: Path) -> None:
        names = sorted(path.name for path in (self._truth / "export").iterdir())
        found = sorted(path.name for path in out.iterdir())
        assert found == names, f"{out}: {set(found) ^ set(names)}"
        _, wrong, missing = filecmp.cmpfiles(self._truth / "export", out, names, shallow=False)
        assert not (wrong or missing), f"{out}: {wrong + missing}"

    def _check_import_d3dgs(self, out: Path) -> None:
        run, truth = Run.open(out), Run.open(self._truth / "every")
        np.testing.assert_allclose(run.frame(0).means, truth.frame(1).means, atol=1e-6)

    def _check_train(self, out: Path) -> None:
        from tests.backend.jobs.test_jobs import assert_same_run

        assert_same_run(self._truth / "train", out)


def _tracked(arrays: Path, frame: int) -> int:
    """Inode of what tracking left of a frame, which births, that may begin at any moment, put beside their own."""
    inode = 0
    for folder in (arrays, arrays / "before"):  # in this order: what is in the second by then was in the first
        with suppress(FileNotFoundError):
            for chunk in (folder / "dynamic" / "means").glob(f"c.{frame}.*"):
                inode = chunk.stat().st_ino
    assert inode, f"{arrays}: frame {frame} is not there"
    return inode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=float, default=0.3, help="share of jobs that are trainings")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        faults = Faults(Path(folder), options.seed, options.train)
        try:
            tally = faults.run(options.kills)
        except (AssertionError, RefusedError, zmq.ZMQError) as error:
            print(f"failed after {faults.tally.kills}: {error!r}")
            traceback.print_exc()
            print(faults._server.log[-4000:])
            return 1
    print(f"{tally}; every result right; {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
