"""Frames on a real Ray of this machine: several worker processes, one of which dies in the middle of a frame."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from legs4d import cluster, pipeline
from legs4d.cluster import ANSWER, ClusterError, _do, _Failed, _start, check_answers, executor_on
from legs4d.config import LiftSettings
from legs4d.context import Context
from legs4d.errors import DatasetError, RunError
from legs4d.executor import IN_ORDER, Done, Executor
from legs4d.gaussians.store.arrays import StoredArray
from legs4d.gaussians.store.mirror import Mirror, copy_of, here
from legs4d.gaussians.store.run import Run
from legs4d.progress import Progress, Stopped
from tests.synthetic import Scene, write_dataset, write_run

SCENE = Scene(num_frames=12, width=48, height=32, num_train=4, num_test=1)
LIFT = LiftSettings(encoder="captions")


@pytest.fixture(scope="module", autouse=True)
def two_workers() -> Iterator[None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    for tries_left in (2, 1, 0):
        try:
            _start(ray, num_cpus=2, object_store_memory=100 << 20, include_dashboard=False, log_to_driver=False)
            break
        except ClusterError:  # the machine is busy with something else
            ray.shutdown()
            if not tries_left:
                raise
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def reconstructed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster")
    dataset = write_dataset(folder / "dataset", SCENE)
    return write_run(folder / "run", SCENE, dataset=str(dataset), language=False).path


@pytest.fixture(scope="module")
def alone(reconstructed: Path) -> Path:
    """Lifted by this process."""
    folder = Path(shutil.copytree(reconstructed, reconstructed.with_name("alone")))
    pipeline.lift(folder, LIFT)
    return folder


@pytest.fixture
def run(reconstructed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reconstructed, tmp_path / "run"))


def never() -> None:
    """Nobody asks to stop."""


def written(run: Path) -> dict[str, bytes]:
    """Every file of the run's arrays."""
    return {str(p.relative_to(run)): p.read_bytes() for p in (run / "run.zarr").rglob("*") if p.is_file()}


def die_between_two_files(folder: Path, work: Callable[[int], Any], frame: int) -> Any:
    """Frame 5 kills whoever does it first, when half of its files are written."""
    write = StoredArray.write

    def write_one(array: StoredArray, values: Any, which: int | None = None) -> None:
        write(array, values, which)
        if which == 5 and not (folder / "died").exists():
            (folder / "died").write_text(f"{os.getpid()} {array.path.name}")
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoredArray, "write", write_one)
        return work(frame)


@dataclass
class Deadly:
    """An executor some of whose workers die."""

    inner: Executor
    folder: Path
    threads: int | None = 1

    def each(self, work: Any, frames: Any, check: Any) -> Any:
        return self.inner.each(partial(die_between_two_files, self.folder, work), frames, check)


def square_slowly(folder: Path, frame: int) -> tuple[int, int]:
    """Says who does what, then takes a while; frame 3 kills whoever does it first."""
    marker = folder / f"{frame}"
    first = not marker.exists()
    with marker.open("a") as file:
        file.write(f"{os.getpid()}\n")
    if frame == 3 and first:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return frame**2, os.getpid()


def test_a_lift_on_two_workers_is_bit_equal_to_one_alone(run: Path, alone: Path) -> None:
    seen: list[Progress] = []
    with executor_on("auto", "cpu") as executor:
        pipeline.lift(run, LIFT, Context(executor=executor, progress=seen.append))
    assert written(run) == written(alone)
    assert seen[-1].done == seen[-1].total == SCENE.num_frames
    record = Run.open(run).stages["lift"]
    assert record.finished and record.done_frames == list(range(SCENE.num_frames)) and record.seconds > 0


def test_machines_that_share_no_folders_lift_through_a_store(run: Path, alone: Path, tmp_path: Path) -> None:
    store, dataset = f"file://{tmp_path}/store", Path(Run.open(run).info["dataset"])
    with executor_on("auto", "cpu", store=store, folders={"run": run, "dataset": dataset}) as executor:
        pipeline.lift(run, LIFT, Context(executor=executor))
        (opened,) = {str(done.result) for batch in executor.each(Where(run), [0], never) for done in batch}
    assert written(run) == written(alone)
    assert not Path(opened).is_relative_to(tmp_path) and Path(opened).is_relative_to(copy_of(f"{store}/run"))
    shutil.rmtree(copy_of(f"{store}/run"))
    shutil.rmtree(copy_of(f"{store}/dataset"))


@dataclass
class Where:
    """Says which folder a worker takes for the run's."""

    run: Path

    def __call__(self, frame: int) -> Path:
        return here(self.run)


def test_a_store_without_a_cluster_or_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ClusterError, match="no cluster"),
        executor_on(None, store="file:///tmp/x", folders={"run": tmp_path}),
    ):
        pass
    with pytest.raises(RunError, match="cannot be used as a store"):
        Mirror(tmp_path, "nowhere://bucket/run")
    with pytest.raises(RunError, match="does not do what it is asked"):
        Mirror(tmp_path / "copy", f"file://{tmp_path}/nothing").pull()


def test_a_copy_follows_what_its_store_lists(tmp_path: Path) -> None:
    ours, url = tmp_path / "ours", "memory://follow"
    (ours / "deep").mkdir(parents=True)
    for name, text in (("a", "1"), ("deep/b", "2"), (".lock", "3")):
        (ours / name).write_text(text)
    ours_mirror, theirs = Mirror(ours, url), Mirror(tmp_path / "theirs", url)
    ours_mirror.publish()
    theirs.pull()
    assert {p.name for p in theirs.folder.rglob("*") if p.is_file() and p.name[0] != "."} == {"a", "b"}
    (theirs.folder / "deep/c").write_text("4")
    assert theirs.push() == ["deep/c"]
    ours_mirror.fetch(["deep/c"])
    assert (ours / "deep/c").read_text() == "4" and ours_mirror.push() == []
    (ours / "a").unlink()
    (ours / "deep/b").write_text("22")
    ours_mirror.publish()
    theirs.pull()
    assert not (theirs.folder / "a").exists() and (theirs.folder / "deep/b").read_text() == "22"


@pytest.mark.parametrize("through_store", [False, True])
def test_a_job_of_the_server_uses_its_cluster(run: Path, alone: Path, tmp_path: Path, through_store: bool) -> None:
    from backend.jobs.training import lift

    store = f"file://{tmp_path}/jobs" if through_store else None

    seen: list[Progress] = []
    spec = {
        "out": str(run),
        "run": "run",
        "settings": LIFT.model_dump(),
        "engine": "cpu",
        "cluster": "auto",
        "store": store,
        "weights": None,
    }
    assert lift(spec, seen.append, threading.Event()) == {"run": "run"}
    assert written(run) == written(alone)
    assert {progress.stage for progress in seen} == {"lift"}
    assert (tmp_path / "jobs/run").exists() == through_store
    if store:
        shutil.rmtree(copy_of(f"{store}/run/run"))
        shutil.rmtree(copy_of(f"{store}/run/dataset"))


def test_a_worker_killed_in_the_middle_of_a_frame_is_replaced(tmp_path: Path) -> None:
    with executor_on("auto", "cpu") as executor:
        done: list[Done] = []
        for batch in executor.each(partial(square_slowly, tmp_path), range(10), never):
            done += batch
    assert sorted((d.frame, d.result[0]) for d in done) == [(frame, frame**2) for frame in range(10)]
    assert len({d.result[1] for d in done}) >= 2  # more than one process took part
    assert len((tmp_path / "3").read_text().split()) == 2
    assert all(d.seconds >= 0.05 for d in done)


def test_a_lift_whose_worker_dies_in_a_frame_is_still_bit_equal(run: Path, alone: Path, tmp_path: Path) -> None:
    with executor_on("auto", "cpu") as executor:
        pipeline.lift(run, LIFT, Context(executor=Deadly(executor, tmp_path)))
    assert (tmp_path / "died").read_text().endswith("codes")
    assert written(run) == written(alone)


def test_stopped_it_ends_soon_and_goes_on_later(run: Path, alone: Path) -> None:
    stop = threading.Event()

    def stop_midway(progress: Progress) -> None:
        if progress.done >= 9:
            stop.set()

    with executor_on("auto", "cpu") as executor:
        with pytest.raises(Stopped):
            pipeline.lift(run, LIFT, Context(executor=executor, progress=stop_midway, stop=stop))
        begun = Run.open(run).stages["lift"]
        assert not begun.finished and len(begun.done_frames) >= 8
        # Nobody of the stopped work writes any more, and what is left is done here, without a cluster.
        pipeline.lift(run, LIFT)
    assert written(run) == written(alone)


def test_chunks_tracked_by_two_workers_are_bit_equal_to_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.reconstruct import test_chunks as chunks

    monkeypatch.setenv("LEGS4D_THREADS", "1")
    dataset = write_dataset(tmp_path / "dataset", chunks.SCENE)
    one = pipeline.reconstruct(dataset, tmp_path / "one", chunks.CUT, Context("cpu"))
    two = Path(shutil.copytree(one.path, tmp_path / "two"))
    undo_tracking(two)
    with executor_on("auto", "cpu") as executor:
        pipeline.reconstruct(dataset, two, chunks.CUT, Context("cpu", executor))
    assert written(two) == written(one.path)


def undo_tracking(run: Path) -> None:
    """Leave the first frame alone, as if tracking had not begun."""
    state = json.loads((run / "run.json").read_text())
    del state["stages"]["tracking"]
    (run / "run.json").write_text(json.dumps(state))
    with Run.open(run).lock() as opened:
        opened.begin_stage("tracking", "nothing yet")
    for chunk in (run / "run.zarr/dynamic/means").glob("c.[1-9]*"):
        pytest.fail(f"{chunk} should have been deleted")


def test_errors_for_a_person_arrive_whole(run: Path) -> None:
    shutil.rmtree(Path(Run.open(run).info["dataset"]).parent / "gone", ignore_errors=True)
    opened = Run.open(run)
    moved = Path(shutil.copytree(opened.info["dataset"], run.with_name("footage")))
    opened.set_info(dataset=str(moved))
    (moved / "objects" / "0" / "000005.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError) as here:
        pipeline.lift(run, LIFT)
    with executor_on("auto", "cpu") as executor, pytest.raises(DatasetError) as there:
        pipeline.lift(run, LIFT, Context(executor=executor))
    assert (there.value.what, there.value.where, there.value.fix) == (here.value.what, here.value.where, here.value.fix)


def test_a_worker_that_dies_every_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "RETRIES", 1)

    def die(frame: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with executor_on("auto", "cpu") as executor, pytest.raises(ClusterError, match="frame 7: its worker died 2 times"):
        list(executor.each(die, [7], never))


def test_a_worker_of_another_version_refuses() -> None:
    refused = _do(3, "0.0.0", 1, abs)
    assert isinstance(refused, _Failed) and "has legs4d" in refused.what


def test_a_worker_that_was_handed_another_run_refuses(run: Path) -> None:
    from legs4d.language.lift.stage import _reopen

    with pytest.raises(RunError, match="is not being lifted as this worker was told"):
        _reopen(str(run), "another fingerprint", "captions", 0.1, 1)


def test_without_a_cluster_frames_are_done_here() -> None:
    with executor_on(None) as executor:
        assert executor is IN_ORDER
        assert [batch[0].result for batch in executor.each(abs, range(3), never)] == [0, 1, 2]


def test_a_cluster_that_is_not_there_is_told_soon() -> None:
    begun = time.monotonic()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nothing listens on it
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClusterError, match=f"cluster {address}: does not answer"):
            check_answers(address)
    assert time.monotonic() < begun + 2 * ANSWER


def test_a_gpu_cannot_be_asked_of_a_cluster_without() -> None:
    with pytest.raises(ClusterError, match="has no GPU"), executor_on("auto", "cuda"):
        pass


def test_codes_are_there(alone: Path) -> None:
    codes, confidence = Run.open(alone).moving_codes(5)
    assert np.abs(codes).max() > 0 and confidence.max() > 0
