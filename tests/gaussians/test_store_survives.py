"""The run folder has one writer at a time, and survives kills and full disks."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from legs4d.errors import RunError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import StageRecord
from tests.gaussians.test_store import laid_out_again
from tests.synthetic import Scene, write_run

SCENE = Scene(num_frames=3, width=32, height=32, num_train=3, num_test=1)
FIELDS = ("means", "quats", "scales", "opacities", "colors", "is_foreground")


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    return write_run(tmp_path / "run", SCENE, language=False)


def equal(a: Gaussians, b: Gaussians) -> bool:
    same = all(np.array_equal(getattr(a, f), getattr(b, f)) for f in FIELDS)
    rest = [np.empty(0) if values is None else values for values in (a.sh_rest, b.sh_rest)]
    return same and np.array_equal(rest[0], rest[1])


# -- one writer --------------------------------------------------------------------------------------------------------

HOLD = """
import sys
from legs4d.gaussians.store.run import Run
with Run.open(sys.argv[1]).lock():
    print("held", flush=True)
    input()
"""


def test_a_second_writer_is_told_who_writes_and_a_dead_one_is_succeeded(finished: Run) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(finished.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout and holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=f"being written by process {holder.pid} on"), finished.lock():
        pass
    holder.kill()
    holder.communicate()
    with finished.lock():
        finished.set_info(fps=5.0)
    assert Run.open(finished.path).info["fps"] == 5.0


def test_the_lock_shows_what_another_writer_finished_meanwhile(finished: Run) -> None:
    early = Run.open(finished.path)
    Run.open(finished.path).set_info(fps=7.0)
    with early.lock():
        assert early.info["fps"] == 7.0


# -- kills and full disks ----------------------------------------------------------------------------------------------


def train(folder: Path) -> None:
    """A training in miniature, as the pipeline does it: three stages, frame by frame, going on where it stopped."""
    run = Run.open(folder) if (folder / "run.json").exists() else Run.create(folder)
    with run.lock():
        if not run.begin_stage("first_frame", "a").finished:
            run.write_geometry(SCENE.static(), SCENE.dynamic(0), 3)
            run.write_cameras(SCENE.cameras("train"), None, np.zeros((3, 3)), np.zeros((3, 3)))
            run.finish_stage("first_frame")
        tracking = run.begin_stage("tracking", "a")
        for frame in {1, 2} - set(tracking.done_frames):
            ball = SCENE.dynamic(frame)
            run.write_frame(frame, ball.means, ball.quats, ball.colors)
            run.frame_done("tracking", frame, 0.0)
        run.finish_stage("tracking")
        lift = run.begin_stage("lift", "a")
        if not lift.done_frames:
            run.write_codec("linear", {"mean": np.ones(2, np.float32)}, {})
            run.write_static_codes(np.ones((run.num_static, 2)), np.ones(run.num_static))
        for frame in {0, 1, 2} - set(lift.done_frames):
            run.write_codes(frame, np.full((run.num_dynamic, 2), frame), np.ones(run.num_dynamic))
            run.frame_done("lift", frame, 0.0)
        run.finish_stage("lift")


def check(folder: Path, *, finished: bool) -> None:
    """What run.json vouches for is on the disk, and right."""
    if not finished and not (folder / "run.json").exists():
        return
    run = Run.open(folder)
    stages = {name: run.stages.get(name, StageRecord("")) for name in ("first_frame", "tracking", "lift")}
    if stages["first_frame"].finished:
        assert equal(run.static(), SCENE.static())
        assert equal(run.dynamic(0), SCENE.dynamic(0))
        assert run.cameras("train").ids == SCENE.cameras("train").ids
    for frame in stages["tracking"].done_frames:
        assert equal(run.dynamic(frame), SCENE.dynamic(frame))
    for frame in stages["lift"].done_frames:
        assert (run.moving_codes(frame)[0] == frame).all()
        assert (run.static_codes()[0] == 1).all() and run.codec()[1]["name"] == "linear"
    if finished:
        assert [stage.finished for stage in stages.values()] == [True] * 3
        assert not list(folder.rglob(".tmp*"))


SYSTEM_CALLS = ("replace", "rename", "unlink", "rmdir", "mkdir", "truncate")
"""Those that change what a later process finds, a half-written temporary file aside."""


@pytest.fixture
def no_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill loses nothing that the system was given, so these tests need not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def interrupt(patch: pytest.MonkeyPatch, at: int, act: Callable[[], None], *, on: bool = False) -> None:
    """Call `act` in place of the `at`-th call that changes the disk, and with `on` of all that follow."""
    count = 0

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == at or (on and count > at):
                act()
            return real(*args, **kwargs)

        return call

    for name in SYSTEM_CALLS:
        patch.setattr(os, name, wrap(getattr(os, name)))


def killed_at(folder: Path, at: int) -> bool:
    """Train in a process that is killed at this system call; False when it finished before."""
    child = os.fork()
    if child == 0:
        try:
            interrupt(pytest.MonkeyPatch(), at, lambda: os.kill(os.getpid(), signal.SIGKILL))
            train(folder)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


@pytest.mark.usefixtures("no_power_cut")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_instant_a_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    at = 1
    while killed_at(tmp_path / str(at), at):
        check(tmp_path / str(at), finished=False)
        train(tmp_path / str(at))
        check(tmp_path / str(at), finished=True)
        at += 1
    assert at > 80, "the kills did not reach into the training"


class Dead(BaseException):
    """Of a process that does nothing more, its clearing up neither."""


LAST = 16
"""Calls of births that change what a run has; those before write beside it, or delete what is put aside."""


def die() -> None:
    raise Dead


def dead_at(at: int, work: Callable[[Path], None], folder: Path) -> bool:
    """As `killed_at`, without a process of its own, which costs a tenth."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, at, die, on=True)
        try:
            work(folder)
        except Dead:
            return True
    return False


def instants(work: Callable[[Path], None], folder: Path) -> int:
    """System calls of this work, at which it may be killed."""
    made: list[None] = []
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, 1, lambda: made.append(None), on=True)
        work(folder)
    return len(made)


def born(folder: Path) -> None:
    run = Run.open(folder)
    with run.lock():
        if not run.has_finished("births"):
            laid_out_again(run)


def unborn(folder: Path) -> None:
    run = Run.open(folder)
    with run.lock():
        if "births" in run.stages:
            run.forget_stage("births")


@pytest.mark.usefixtures("no_power_cut")
@pytest.mark.parametrize("work", [born, unborn])
def test_killed_while_births_change_what_there_is_a_run_has_what_was_tracked_or_all_that_was_born(
    tmp_path: Path, work: Callable[[Path], None]
) -> None:
    tracked = write_run(tmp_path / "run", Scene(num_frames=2), language=False)
    frames = [tracked.frame(frame) for frame in range(2)]
    if work is unborn:
        born(tracked.path)
    count = instants(work, shutil.copytree(tracked.path, tmp_path / "undisturbed"))
    for at in range(count - LAST, count + 1):
        folder = shutil.copytree(tracked.path, tmp_path / "killed")
        assert dead_at(at, work, folder)
        with Run.open(folder).lock() as run:
            assert run.has_finished("tracking")
            assert run.num_dynamic == tracked.num_dynamic + run.has_finished("births")
        born(folder)
        assert Run.open(folder).num_dynamic == tracked.num_dynamic + 1
        unborn(folder)
        for frame, was in enumerate(frames):
            np.testing.assert_array_equal(Run.open(folder).frame(frame).means, was.means)
        shutil.rmtree(folder)


@pytest.mark.usefixtures("no_power_cut")
def test_a_full_disk_is_one_sentence_and_spoils_nothing(tmp_path: Path) -> None:
    at, reached = 0, True
    while reached:
        at, reached = at + 3, False  # not a multiple of what one file takes, so every kind of call has its turn
        folder = tmp_path / str(at)

        def full() -> None:
            nonlocal reached
            reached = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with pytest.MonkeyPatch.context() as patch:
            interrupt(patch, at, full)
            try:
                train(folder)
                done = True
            except RunError as error:
                assert "no space is left" in str(error)
                done = False
        check(folder, finished=done)
        train(folder)
        check(folder, finished=True)
    assert at > 80


def test_an_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        Run.create(tmp_path / "file" / "run")
