"""The stages that do a frame without its neighbours, on many machines (Ray; optional extra `ray`).

    with executor_on("auto") as executor:
        pipeline.train(dataset, out, settings, Context(executor=executor))

The driver (this process) holds the run's lock and is alone in writing run.json. Workers open the run, the footage and
the encoder from their names, and write chunks of the frames that they were given: no two the same, each by rename. A
frame counts as done when the driver has recorded it, so a driver or any worker may be killed at any instant.

Storage: either the run folder and the footage are reachable under one path from every machine (NFS, Lustre, CephFS), or
they travel through an object store (`store`, see `gaussians.mirror`): the driver keeps the run and its lock in its own
folder, every worker's machine a copy, and what a worker writes comes back by way of the store.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from legs4d import __version__
from legs4d.errors import Legs4dError
from legs4d.executor import IN_ORDER, Done, Executor, timed
from legs4d.gaussians.store.mirror import PLACES, Mirror, copy_of

Result = TypeVar("Result")

RETRIES = 3
"""Times that a frame is begun anew after its worker, or the worker's machine, has died."""

POLL = 0.2
"""Seconds between looks at the stop signal."""

STOCK = 2
"""Frames handed out for each that can be worked on at once, so that nobody waits for the driver."""

RECOUNT = 5.0
"""Seconds after which the cluster is counted again: machines come and go."""

ANSWER = 5.0
"""Seconds that the machine at a cluster's address has to answer: Ray itself would go on trying for a minute."""

CANCEL = 10.0
"""Seconds given to workers to end when the work is stopped; they are killed."""


class ClusterError(Legs4dError):
    """The cluster cannot be used."""


@contextmanager
def executor_on(
    cluster: str | None,
    engine: str = "auto",
    *,
    threads: int = 1,
    store: str | None = None,
    folders: Mapping[str, Path] | None = None,
) -> Iterator[Executor]:
    """Who does the frames, as `--cluster` says.

    Args:
        cluster: None for this process; "auto" for the cluster that this machine is part of, or, where there is none,
            one made of this machine's cores alone; or an address as Ray writes it ("10.0.0.1:6379",
            "ray://10.0.0.1:10001").
        engine: "cuda" gives every frame a GPU of its own, "cpu" none, "auto" one if the cluster has any.
        threads: CPU cores for each frame.
        store: URL that fsspec knows, for machines that share no file system; None: they see the same folders.
        folders: what travels through it, each under a name.

    Raises:
        ClusterError: Ray is not installed, the cluster does not answer, or a store was given without a cluster.
        RunError: the store cannot be used.
    """
    if cluster is None:
        if store is not None:
            raise ClusterError("there is no cluster to send it to", where=f"store {store}", fix="give --cluster too")
        yield IN_ORDER
        return
    ray = _import_ray()
    connects = not ray.is_initialized()
    if connects:
        _connect(ray, cluster)
    try:
        has_gpus = ray.cluster_resources().get("GPU", 0) > 0
        if engine == "cuda" and not has_gpus:
            raise ClusterError("has no GPU", where=f"cluster {cluster}", fix="use --engine cpu, or add a machine")
        sent = [] if store is None else [Mirror(path, f"{store}/{name}") for name, path in (folders or {}).items()]
        yield RayExecutor(threads, gpus=int(has_gpus and engine != "cpu"), sent=sent)
    finally:
        if connects:
            ray.shutdown()


@dataclass(frozen=True)
class _Failed:
    """An error for a person, as it travels: exceptions lose their keywords when they are pickled."""

    kind: type[Legs4dError]
    what: str
    where: str
    fix: str


class RayExecutor:
    """An `executor.Executor` whose frames are Ray tasks.

    Args:
        threads: CPU cores, and threads, for each frame.
        gpus: for each frame, 0 or 1.
        sent: folders that travel through a store.
    """

    def __init__(self, threads: int, gpus: int, sent: list[Mirror] | None = None) -> None:
        import ray

        self.threads: int | None = threads
        self._cores, self._gpus = threads, gpus
        self._ray = ray
        self._sent = {mirror.url: mirror for mirror in sent or []}
        self._places = [(str(mirror.folder.resolve()), url) for url, mirror in self._sent.items()]
        remote = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=RETRIES)
        self._task: Any = remote(_do_on_copies if sent else _do)
        self._counted = -RECOUNT
        self._slots = 1

    def each(
        self, work: Callable[[int], Result], frames: Iterable[int], check: Callable[[], None]
    ) -> Iterator[list[Done[Result]]]:
        """See `executor.Executor`.

        Raises:
            ClusterError: a frame's workers died again and again.
            Legs4dError: what `work` raised.
        """
        ray, left = self._ray, iter(frames)
        for mirror in self._sent.values():
            mirror.publish(check)
        shared = ray.put(work)
        # In a list Ray hands it over as it is: the copies must be there before the work opens them.
        handed = ([shared], self._places) if self._sent else (shared,)
        running: dict[Any, int] = {}
        try:
            while True:
                check()
                for frame in islice(left, STOCK * self._count_slots() - len(running)):
                    running[self._task.remote(frame, __version__, self._cores, *handed)] = frame
                if not running:
                    return
                if ray.wait(list(running), timeout=POLL)[0]:
                    ready = ray.wait(list(running), num_returns=len(running), timeout=0)[0]
                    yield [self._collect(reference, running.pop(reference)) for reference in ready]
        finally:
            self._cancel(list(running))

    def _collect(self, reference: Any, frame: int) -> Done[Any]:
        ray = self._ray
        try:
            done = ray.get(reference)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError) as e:
            raise ClusterError(
                f"its worker died {RETRIES + 1} times ({type(e).__name__})",
                where=f"frame {frame}",
                fix="see whether the machines have enough memory, and run the same command again to resume",
            ) from e
        if isinstance(done, _Shipped):
            for url, names in done.names.items():
                self._sent[url].fetch(names)
            done = done.done
        if isinstance(done, _Failed):
            raise done.kind(done.what, where=done.where, fix=done.fix)
        return done

    def _cancel(self, references: list[Any]) -> None:
        """End what still runs, so that nobody writes to the run once its lock is free."""
        for reference in references:
            self._ray.cancel(reference, force=True)
        if references:
            self._ray.wait(references, num_returns=len(references), timeout=CANCEL)

    def _count_slots(self) -> int:
        """Frames that can be worked on at once."""
        now = time.monotonic()
        if now - self._counted > RECOUNT:
            self._counted = now
            have = self._ray.cluster_resources()
            slots = have.get("CPU", 0) / self._cores
            self._slots = max(1, int(min(slots, have.get("GPU", 0) / self._gpus) if self._gpus else slots))
        return self._slots


@dataclass(frozen=True)
class _Shipped:
    """What a frame came to, and the names of the files that it left in each store."""

    done: Any
    names: dict[str, list[str]]


_copies: dict[str, Mirror] = {}
"""Of a worker: what it keeps level with the stores, by their URLs."""


def _do_on_copies(
    frame: int, version: str, threads: int, shared: list[Any], places: list[tuple[str, str]]
) -> _Shipped | _Failed:
    """`_do` on copies of the folders in `places`, (the driver's name of it, URL), and what changed sent back."""
    import ray

    try:
        for folder, url in places:
            if url not in _copies:
                _copies[url] = Mirror(copy_of(url), url)
            PLACES[folder] = _copies[url].folder
            _copies[url].pull()
        done = _do(frame, version, threads, ray.get(shared[0]))
        return _Shipped(done, {url: _copies[url].push() for _, url in places})
    except Legs4dError as error:
        return _Failed(type(error), error.what, error.where, error.fix)
    finally:
        PLACES.clear()  # the next task may be of a driver whose folders are seen from here


def _do(frame: int, version: str, threads: int, work: Callable[[int], Result]) -> Done[Result] | _Failed:
    """What a worker does: one frame, on as many threads as it was given cores."""
    if version != __version__:
        what = f"has legs4d {__version__}, the driver has {version}"
        return _Failed(ClusterError, what, f"machine {os.uname().nodename}", "install the same version everywhere")
    os.environ["LEGS4D_THREADS"] = str(threads)
    try:
        return timed(work, frame)
    except Legs4dError as error:
        return _Failed(type(error), error.what, error.where, error.fix)


def _import_ray() -> Any:
    # Ray would report to its makers what is run here.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            f"needs the package ray ({error})", where="--cluster", fix="pip install 'legs4d[ray]'"
        ) from error
    return ray


def check_answers(cluster: str) -> None:
    """Raises ClusterError unless something listens at the address of a cluster; "auto" and the like name none."""
    host, _, port = cluster.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
    except OSError as error:
        raise _silent(cluster, error.strerror or str(error)) from error


def _silent(cluster: str, why: object) -> ClusterError:
    fix = "see whether it runs (`ray status`) and is reachable from here"
    return ClusterError(f"does not answer ({why})", where=f"cluster {cluster}", fix=fix)


def _connect(ray: Any, cluster: str) -> None:
    check_answers(cluster)
    options = {"log_to_driver": False, "logging_level": "error"}
    try:
        ray.init(address=cluster, **options)
    except ConnectionError as error:
        if cluster != "auto":
            raise _silent(cluster, error) from error
        _start(ray, include_dashboard=False, **options)


def _start(ray: Any, **options: Any) -> None:
    """A cluster of this machine alone."""
    try:
        ray.init(**options)
    except Exception as error:  # Ray has no narrower one for it, and allows itself 30 s
        fix = "try again when the machine is less busy, or start one with `ray start --head`"
        raise ClusterError(f"did not start ({error})", where="Ray on this machine", fix=fix) from error
