"""Real training jobs over the wire: done, cancelled, killed, and gone on with after any death."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.bodies import JobBody, ProgressBody, RunBody, StageBody
from legs4d import pipeline
from legs4d.config import TrainSettings
from legs4d.context import Context
from legs4d.gaussians.store.run import Run
from tests.backend.conftest import ServerProcess, serving
from tests.backend.plain_client import PlainClient, Received, RefusedError
from tests.synthetic import CAPTION_LYING, Scene, write_dataset

FRAMES = 4
TINY: dict[str, Any] = {
    "reconstruct": {
        "first_frame": {"steps": 8, "num_foreground": 100, "num_background": 100},
        "tracking": {"steps": 12},
    },
    "lift": {"encoder": "captions"},
}
"""Seconds of work, most of them to load torch."""
ENDLESS: dict[str, Any] = {
    "reconstruct": {"first_frame": {"steps": 100_000, "num_foreground": 50}},
    "lift": {"encoder": "captions"},
}
WORK_SECONDS = 120.0


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene = Scene(num_frames=FRAMES, width=48, height=32, num_train=4, num_test=1)
    return write_dataset(tmp_path_factory.mktemp("footage") / "ball", scene)


@pytest.fixture(scope="module")
def undisturbed(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that the library makes of the footage, in one go."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    pipeline.train(footage, out, TrainSettings.model_validate(TINY), Context("cpu"))
    return out


@pytest.fixture(scope="module")
def server(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Has the dataset `ball`, for all tests that do not kill it; none leaves a job that is not over."""
    with serving(tmp_path_factory.mktemp("jobs"), footage.parent) as server:
        yield server


@pytest.fixture
def mortal_server(footage: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    with serving(tmp_path, footage.parent) as server:
        yield server


def train(client: PlainClient, out: str, settings: dict[str, Any] = TINY, **more: Any) -> str:
    return str(client.ask("train", dataset="ball", out=out, settings=settings, **more)["job"])


def watch(
    client: PlainClient, job: str, until: Callable[[dict[str, Any]], bool] = lambda progress: False, log: bool = False
) -> list[Received]:
    """Events of the job until it is over, or until its progress is as wanted."""
    request = client.send("subscribe", job=job, log=log)
    seen = []
    for event in client.events(request, seconds=WORK_SECONDS):
        seen.append(event)
        if event.kind == "progress" and until(event.body):
            client.ask("cancel", request=request)
            return seen
    return seen


def in_stage(stage: str, done: int = 0) -> Callable[[dict[str, Any]], bool]:
    return lambda progress: progress["state"] == "running" and progress["stage"] == stage and progress["done"] >= done


def workers_of(server: ServerProcess) -> list[int]:
    """Process ids of living children of the server."""
    assert server.process is not None
    children = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, NotADirectoryError):
            continue
        if len(fields) > 1 and int(fields[1]) == server.process.pid and fields[0] != "Z":
            children.append(int(entry.name))
    return children


def test_a_job_from_submission_to_a_prompt(server: ServerProcess) -> None:
    client = server.connect()
    assert client.ask("datasets")["datasets"] == [{"name": "ball", "layout": "panoptic"}]
    job = train(client, "new/run", scale=1.0, encoder="captions")
    client.close()  # a client that vanishes and returns finds its job

    client = server.connect()
    assert client.ask("jobs")["jobs"][0]["job"] == job
    events = watch(client, job, log=True)
    progress = [event.body for event in events if event.kind == "progress"]
    assert progress[-1]["state"] == "done", client.answer["error"]
    stages = list(dict.fromkeys(body["stage"] for body in progress if body["stage"]))
    made = [stage for stage in stages if not stage.startswith("reading_")]
    assert made == ["first_frame", "tracking", "comparing_frames", "births", "writing_frames", "objects", "lift"]
    assert any(body["loss"] is not None and body["loss"] > 0 for body in progress)
    assert any(body["seconds_left"] is not None for body in progress)
    assert all(body["done"] <= body["total"] for body in progress)

    finished = client.answer
    assert finished == client.ask("job", job=job)
    assert (finished["state"], finished["kind"], finished["attempts"]) == ("done", "train", 1)
    assert finished["result"] == {"run": "new/run"} and finished["error"] is None and finished["device"] == "cpu"
    assert finished["created"] <= finished["started"] <= finished["ended"] <= time.time()
    assert finished.keys() == JobBody.__annotations__.keys()
    assert all(body.keys() == ProgressBody.__annotations__.keys() for body in progress)
    listed = client.ask("runs")["runs"][0]
    assert listed.keys() == RunBody.__annotations__.keys()
    assert listed["stages"]["lift"].keys() == StageBody.__annotations__.keys()
    text = "".join(event.body["text"] for event in events if event.kind == "log")
    piece = client.ask("job_log", job=job)
    assert "lift 4/4" in piece["text"] and piece["text"].endswith(text) and piece["end"]
    rest = client.ask("job_log", job=job, offset=piece["offset"] - 5)
    assert rest["text"] == piece["text"][-5:]

    opened = client.ask("open", run="new/run")
    assert opened["finished"] and opened["language"] and opened["frames"] == FRAMES
    answer, *_ = client.events(client.send("query", run="new/run", prompt=CAPTION_LYING))
    assert answer.arrays["relevancy"].shape == (FRAMES,)

    started = time.monotonic()
    again = train(client, "new/run", scale=1.0, encoder="captions")
    watch(client, again)
    assert client.answer["state"] == "done", client.answer["error"]
    assert time.monotonic() - started < 60


def test_one_job_at_a_time_on_a_device_and_cancelling(server: ServerProcess) -> None:
    client = server.connect()
    first = train(client, "first", ENDLESS)
    second = train(client, "second", ENDLESS)
    with pytest.raises(RefusedError, match=f"job {first} writes this already") as refused:
        train(client, "first")
    assert refused.value.code == "job"
    assert train(client, "first", ENDLESS) == first, "asked for again, a job is met again"
    watch(client, first, in_stage("first_frame", 1))
    assert client.ask("job", job=second)["state"] == "queued"
    assert len(workers_of(server)) == 1

    assert client.ask("cancel_job", job=second)["state"] == "cancelled"
    third = train(client, "third", ENDLESS)
    subscription = client.send("subscribe", job=first)
    asked = time.monotonic()
    assert client.ask("cancel_job", job=first)["state"] == "cancelling"
    ended = client.reply(subscription, 30).body
    assert ended["state"] == "cancelled" and ended["error"] is None
    assert time.monotonic() - asked < 8
    watch(client, third, lambda progress: progress["state"] == "running")
    assert client.ask("cancel_job", job=third)["state"] == "cancelling"
    watch(client, third)
    with pytest.raises(RefusedError, match=r"over already \(cancelled\)"):
        client.ask("cancel_job", job=first)


@pytest.mark.long
def test_a_killed_worker_is_replaced_and_the_run_is_the_same(server: ServerProcess, undisturbed: Path) -> None:
    """What `test_faults` does to exports, and the test below to a server, done to a training."""
    client = server.connect()
    job = train(client, "killed")
    watch(client, job, in_stage("tracking", 1))
    (worker,) = workers_of(server)
    os.kill(worker, signal.SIGKILL)
    events = watch(client, job)
    finished = client.answer
    assert (finished["state"], finished["attempts"]) == ("done", 2), finished["error"]
    assert any("SIGKILL" in event.body["message"] for event in events)
    assert_same_run(undisturbed, server.roots[0] / "killed")


def test_workers_that_die_and_die_make_the_job_fail(server: ServerProcess) -> None:
    client = server.connect()
    job = train(client, "dying", ENDLESS)
    killed: set[int] = set()
    deadline = time.monotonic() + WORK_SECONDS
    while client.ask("job", job=job)["state"] in ("queued", "running"):
        assert time.monotonic() < deadline
        for worker in set(workers_of(server)) - killed:
            killed.add(worker)
            os.kill(worker, signal.SIGKILL)
        time.sleep(0.05)
    failed = client.ask("job", job=job)
    assert (failed["state"], failed["attempts"]) == ("failed", 3)
    assert "killed by SIGKILL, 3 times" in failed["error"]["message"] and "log" in failed["error"]["hint"]


def test_a_server_that_dies_takes_its_jobs_up_again(mortal_server: ServerProcess, undisturbed: Path) -> None:
    """Stopped in the first frame, then killed while it tracks."""
    server = mortal_server
    client = server.connect()
    job = train(client, "resumed")
    waiting = train(client, "waiting", ENDLESS)
    workers = []
    for death, moment in ((signal.SIGTERM, in_stage("first_frame")), (signal.SIGKILL, in_stage("tracking", 1))):
        watch(client, job, moment)
        workers += workers_of(server)
        exit_code = server.stop(death)
        assert exit_code == (0 if death == signal.SIGTERM else -death)
        assert (server.state_dir / "server.json").exists() == (death == signal.SIGKILL)

        server.start()
        client = server.connect()
        states = {entry["job"]: entry["state"] for entry in client.ask("jobs")["jobs"]}
        assert states[job] in ("running", "queued") and states[waiting] == "queued"
    client.ask("cancel_job", job=waiting)
    watch(client, job)
    finished = client.answer
    assert (finished["state"], finished["attempts"], finished["error"]) == ("done", 3, None)
    assert len(workers) == 2 and not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert_same_run(undisturbed, server.roots[0] / "resumed")


def test_jobs_that_cannot_work_are_refused_or_fail_with_the_reason(server: ServerProcess, footage: Path) -> None:
    client = server.connect()
    broken = server.roots[0] / "broken"
    broken.mkdir()
    (broken / "train_meta.json").write_text("{")
    (server.roots[0] / "file").write_text("x")
    bad: list[tuple[dict[str, Any], str, str]] = [
        ({"dataset": "none", "out": "x"}, "dataset", "no such folder"),
        ({"dataset": "ball", "out": "."}, "path", "a root itself"),
        ({"dataset": "ball", "out": "file"}, "run", "a file"),
        ({"dataset": "ball", "out": "x", "device": "cuda:77"}, "body", "no device 'cuda:77'"),
        ({"dataset": "ball", "out": "x", "settings": {"nonsense": 1}}, "body", "nonsense"),
        (
            {"dataset": "ball", "out": "x", "settings": {"lift": {"encoder": "x" * 140_000}}},
            "body",
            "131072 characters",
        ),
        ({"dataset": "ball", "out": "x", "settings": {"dataset": 3}, "scale": 0.5}, "body", "settings.dataset"),
        ({"dataset": "ball", "out": "x", "settings": {"reconstruct": {"tracking": {"steps": 0}}}}, "body", "steps"),
    ]
    for body, code, says in bad:
        with pytest.raises(RefusedError, match=says) as refused:
            client.ask("train", **body)
        assert refused.value.code == code
    for kind in ("job", "job_log", "subscribe", "cancel_job"):
        with pytest.raises(RefusedError, match="no job 'none'") as refused:
            client.ask(kind, job="none")
        assert refused.value.code == "job"
    assert not any(job["request"].get("out") == "x" for job in client.ask("jobs")["jobs"])

    job = client.ask("train", dataset="broken", out="x")["job"]
    watch(client, job)
    assert client.answer["state"] == "failed"
    assert client.answer["error"]["code"] == "dataset" and "broken" in client.answer["error"]["message"]


def test_subscribing_to_all_jobs(server: ServerProcess, undisturbed: Path) -> None:
    shutil.copytree(undisturbed, server.roots[0] / "told", copy_function=shutil.copyfile)
    client = server.connect()
    everything = client.send("subscribe")
    job = client.ask("export", run="told", out="files")["job"]
    states: list[str] = []
    while "done" not in states:
        event = client.receive(everything, WORK_SECONDS).body
        assert event["job"] == job or event["state"] in ("done", "failed", "cancelled"), "others only as they are"
        states += [event["state"]] if event["job"] == job else []
    assert states[0] in ("queued", "running")
    assert client.ask("cancel", request=everything) == {"cancelled": True}


def assert_same_run(one: Path, other: Path) -> None:
    """Bit for bit, as docs/conventions.md promises of the CPU engine."""
    first, second = Run.open(one), Run.open(other)
    assert first.num_frames == second.num_frames
    for frame in range(first.num_frames):
        a, b = first.frame(frame), second.frame(frame)
        for name in ("means", "quats", "colors", "scales", "opacities", "is_foreground"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        for x, y in zip(first.moving_codes(frame), second.moving_codes(frame), strict=True):
            np.testing.assert_array_equal(x, y)


def test_what_was_made_otherwise_is_told_with_a_list_and_made_anew_when_asked(
    server: ServerProcess, undisturbed: Path
) -> None:
    run = Path(shutil.copytree(undisturbed, server.roots[0] / "kept", copy_function=shutil.copyfile))
    client = server.connect()
    other = {**TINY, "lift": {"encoder": "captions", "codec": {"dim": 2}}}
    before = (run / "run.json").read_bytes()
    for submit in (
        lambda **more: train(client, "kept", other, **more),
        lambda **more: str(client.ask("lift", run="kept", settings=other["lift"], **more)["job"]),
    ):
        with pytest.raises(RefusedError) as refused:
            submit()
        assert refused.value.code == "differs" and "lift.codec.dim" in refused.value.message
        assert [(one["key"], one["now"]) for one in refused.value.body["differences"]] == [("lift.codec.dim", 2)]
    assert "copy of the run" in refused.value.hint and "--out" not in refused.value.hint  # a lift has no --out
    assert (run / "run.json").read_bytes() == before
    job = train(client, "kept", other, again=True)
    watch(client, job)
    assert client.answer["error"] is None
    made = Run.open(run)
    assert made.moving_codes(0)[0].shape[1] == 2 and made.info["again"] == job
    assert made.stages["tracking"].seconds == Run.open(undisturbed).stages["tracking"].seconds
    # The job of another client, on other footage: only the footage itself tells.
    changed = Path(shutil.copytree(run, run.with_name("other")))
    listing = json.loads((changed / "footage.json").read_text())
    listing["footage"]["ims/0/000001.jpg"] = "0" * 32
    (changed / "footage.json").write_text(json.dumps(listing))
    watch(client, str(client.ask("lift", run="other", settings=other["lift"])["job"]))
    error: dict[str, Any] = client.answer["error"] or {}
    assert error["code"] == "differs" and "footage: 1 file differs: ims/0/000001.jpg" in error["message"]
