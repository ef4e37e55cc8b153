"""The queue: order, pausing, retrying, tickets, devices, and the jobs that need no device."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from plyfile import PlyData
from pydantic import BaseModel
from typer.testing import Result

from backend.jobs.devices import choose_devices
from backend.jobs.store import Job, JobStore
from backend.jobs.training import FILE_SETTINGS
from backend.service.errors import BackendError
from legs4d import pipeline
from legs4d.config import TrainSettings
from legs4d.context import Context
from legs4d.gaussians.dynamic3dgs import export_dynamic3dgs
from legs4d.gaussians.store.run import Run
from tests.backend.conftest import LEGS4D, REPOSITORY, ServerProcess, legs4d, serving, write_small_run
from tests.backend.jobs.test_jobs import ENDLESS, TINY, in_stage, watch, workers_of
from tests.backend.plain_client import PlainClient, RefusedError
from tests.synthetic import Scene, write_dataset


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene = Scene(num_frames=2, width=48, height=32, num_train=4, num_test=1)
    return write_dataset(tmp_path_factory.mktemp("footage") / "ball", scene)


def started(home: Path, footage: Path) -> AbstractContextManager[ServerProcess]:
    """A server of two devices, a small run `shot`, and a dataset `ball`."""
    config = home / "server.toml"
    config.write_text('devices = ["cpu:0", "cpu:1"]\n')
    write_small_run(home / "root" / "shot")
    return serving(home, footage.parent, options=[f"--config={config}"])


@pytest.fixture(scope="module")
def server(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One for all tests that do not kill it; each writes to places of its own."""
    with started(tmp_path_factory.mktemp("queue"), footage) as server:
        yield server


@pytest.fixture
def mortal_server(footage: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    with started(tmp_path, footage) as server:
        yield server


def endless(client: PlainClient, out: str, **more: Any) -> str:
    return str(client.ask("train", dataset="ball", out=out, settings=ENDLESS, **more)["job"])


def wait_for(client: PlainClient, job: str, state: str, seconds: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while (found := client.ask("job", job=job))["state"] != state:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def test_a_worker_per_device_priorities_pause_and_cancel(mortal_server: ServerProcess) -> None:
    server = mortal_server
    client = server.connect()
    one, two = endless(client, "one"), endless(client, "two", device="cpu:1")
    running = {wait_for(client, job, "running")["device"] for job in (one, two)}
    assert running == {"cpu:0", "cpu:1"} and len(workers_of(server)) == 2
    later, urgent = endless(client, "later"), endless(client, "urgent", priority=5)
    patient = endless(client, "patient", priority=-5)
    status = client.ask("status")
    assert [device["job"] for device in status["devices"]] == [one, two] and status["queued"] == 3

    watch(client, one, in_stage("first_frame", 1))
    assert client.ask("pause_job", job=one)["state"] == "pausing"
    wait_for(client, one, "paused", 8)
    wait_for(client, urgent, "running")
    assert client.ask("prioritise_job", job=patient, priority=50)["priority"] == 50
    asked = time.monotonic()
    assert client.ask("cancel_job", job=urgent)["state"] == "cancelling"
    wait_for(client, urgent, "cancelled", 5)
    assert time.monotonic() - asked < 1.5  # the machine may be busy; tests/backend/faults.py tells how long it takes
    wait_for(client, patient, "running")
    assert client.ask("job", job=later)["state"] == "queued"

    server.kill()
    server.start()
    client = server.connect()
    assert client.ask("job", job=one)["state"] == "paused"
    assert client.ask("resume_job", job=one)["state"] == "queued"
    for job in (later, one, two, patient):
        client.ask("cancel_job", job=job)
        with pytest.raises(RefusedError, match=r"not paused|is over"):
            client.ask("resume_job", job=job)


def test_a_ticket_makes_asking_twice_one_job(server: ServerProcess) -> None:
    client = server.connect()
    asked = {"run": "shot", "out": "files/a", "ticket": "t-1"}
    job = client.ask("export", **asked)["job"]
    wait_for(client, job, "done")
    assert client.ask("export", **asked)["job"] == job
    with pytest.raises(RefusedError, match="this ticket is job"):
        client.ask("export", run="shot", out="files/b", ticket="t-1")
    assert [one["job"] for one in client.ask("jobs")["jobs"] if one["request"].get("ticket") == "t-1"] == [job]


def test_files_appear_whole_and_a_killed_export_goes_on(server: ServerProcess) -> None:
    client = server.connect()
    root = server.roots[0]
    job = client.ask("export", run="shot", out="files/shot", frames=[2, 5])["job"]
    assert wait_for(client, job, "done")["result"] == {"out": "files/shot"}
    names = sorted(path.name for path in (root / "files" / "shot").iterdir())
    assert names == [f"frame_{frame:06d}.ply" for frame in range(2, 6)]
    vertices = PlyData.read(root / "files" / "shot" / "frame_000004.ply")["vertex"]
    stored = Run.open(root / "shot").frame(4)
    np.testing.assert_array_equal(np.stack([vertices[axis] for axis in "xyz"], 1), stored.means)
    assert not list((root / "files").glob(".*"))

    with pytest.raises(RefusedError, match="is there already"):
        client.ask("export", run="shot", out="files/shot")
    for body, code in (
        ({"run": "none", "out": "x"}, "run"),
        ({"run": "shot", "out": "x", "frames": [3, 99]}, "run"),
        ({"run": "shot", "out": "x", "format": "spz", "prompt": "a ball"}, "body"),
        ({"run": "shot", "out": "../x"}, "path"),
        ({"run": "shot", "out": "x", "format": "exe"}, "body"),
    ):
        with pytest.raises(RefusedError) as refused:
            client.ask("export", **body)
        assert refused.value.code == code


def test_a_capture_of_dynamic3dgs_becomes_a_run(server: ServerProcess) -> None:
    client = server.connect()
    root = server.roots[0]
    export_dynamic3dgs(Run.open(root / "shot"), root / "params.npz", range(1, 2))
    job = client.ask("import-d3dgs", params="params.npz", out="again", fps=25.0)["job"]
    assert wait_for(client, job, "done")["device"] == "host"
    opened = client.ask("open", run="again")
    assert (opened["frames"], opened["static"], opened["dynamic"], opened["fps"]) == (1, 0, 27, 25.0)
    with pytest.raises(RefusedError, match="'sequence'"):
        client.ask("import-4legs", folder="shot", out="other")
    (root / "bad.npz").write_bytes(b"no")
    failed = client.ask("import-d3dgs", params="bad.npz", out="bad")["job"]
    assert wait_for(client, failed, "failed")["error"]["code"] == "run"
    assert client.ask("retry_job", job=failed)["state"] in ("queued", "running")
    assert wait_for(client, failed, "failed")["attempts"] == 2
    assert not (root / "bad").exists()


def test_objects_of_footage_are_found_beside_it(server: ServerProcess) -> None:
    client = server.connect()
    root = server.roots[0]
    clip = write_dataset(root / "clips/clip", Scene(num_frames=5, width=64, height=48, num_train=4, num_test=1))
    shutil.rmtree(clip / "objects")
    result = wait_for(client, client.ask("objects", dataset="clips/clip")["job"], "done")["result"]
    assert result["folder"] == "clips/clip.objects" and result["objects"][0]["name"] == "thing"
    assert len(list((root / "clips/clip.objects/objects").rglob("*.png"))) == 20
    again = wait_for(client, client.ask("objects", dataset="clips/clip")["job"], "done")["result"]
    assert again["objects"] == result["objects"]
    other = client.ask("objects", dataset="clips/clip", scale=0.5)["job"]
    assert "found in other footage, or otherwise" in wait_for(client, other, "failed")["error"]["message"]
    for body, told in (({"dataset": "no"}, "no such folder"), ({"dataset": "clips", "out": "clips"}, "something else")):
        with pytest.raises(RefusedError, match=told):
            client.ask("objects", **body)
    assert sorted(path.name for path in (root / "clips").iterdir()) == ["clip", "clip.objects"]


def test_splats_become_a_run_and_links_out_of_the_roots_are_not_followed(server: ServerProcess, tmp_path: Path) -> None:
    client = server.connect()
    root = server.roots[0]
    job = client.ask("export", run="shot", out="files/splats", frames=[2, 5])["job"]
    wait_for(client, job, "done")
    job = client.ask("import-splats", paths=["files/splats"], out="splats", fps=25.0, up=[0.0, 0.0, 1.0])["job"]
    result = wait_for(client, job, "done")["result"]
    stored = Run.open(root / "shot")
    assert result["run"] == "splats" and result["gaussians"] == [stored.num_gaussians] * 4
    assert (result["identity"], result["up"]) == ("kept", [0.0, 0.0, 1.0])
    opened = client.ask("open", run="splats")
    assert (opened["frames"], opened["dynamic"], opened["fps"]) == (4, stored.num_gaussians, 25.0)
    outside = tmp_path / "outside.ply"
    outside.write_bytes((root / "files/splats/frame_000002.ply").read_bytes())
    (root / "linked").mkdir()
    (root / "linked/0.ply").symlink_to(outside)
    job = client.ask("import-splats", paths=["linked"], out="stolen")["job"]
    assert "outside the roots" in wait_for(client, job, "failed")["error"]["message"]
    assert not (root / "stolen").exists()


def test_what_a_dead_server_left_is_told_by_the_disk(mortal_server: ServerProcess) -> None:
    """The worker finished while no server was there to hear it: the job is done, not done again."""
    server = mortal_server
    client = server.connect()
    job = client.ask("export", run="shot", out="files/a")["job"]
    wait_for(client, job, "done")
    server.kill()
    database = sqlite3.connect(server.state_dir / "jobs.sqlite")
    database.execute("UPDATE jobs SET state = 'running', record = json_set(record, '$.state', 'running')")
    database.commit()
    database.close()
    (server.state_dir / "jobs" / job / "worker.lock").write_text("")
    server.start()
    found = wait_for(server.connect(), job, "done")
    assert found["attempts"] == 1


def test_language_is_extracted_and_lifted_onto_a_run(server: ServerProcess, footage: Path) -> None:
    client = server.connect()
    pipeline.train(footage, server.roots[0] / "new", TrainSettings.model_validate(TINY), Context("cpu"))
    again = client.ask("lift", run="new", encoder="captions")["job"]
    assert wait_for(client, again, "done", 120)["result"] == {"run": "new"}
    (server.roots[0] / "weights.pt").write_bytes(b"no weights")
    blind = client.ask("extract", run="new", encoder="viclip", weights="weights.pt", device="cpu:1")["job"]
    failed = wait_for(client, blind, "failed", 120)
    assert "weights.pt" in failed["error"]["message"] and failed["device"] == "cpu:1"
    for body, code in (
        ({"run": "none", "encoder": "viclip"}, "run"),
        ({"run": "new", "encoder": "viclip", "weights": "/etc/passwd"}, "path"),
        ({"run": "new", "encoder": "viclip", "settings": {"every": 0}}, "body"),
        ({"run": "new", "every": 0}, "body"),
    ):
        with pytest.raises(RefusedError) as refused:
            client.ask("extract", **body)
        assert refused.value.code == code


def test_devices_are_named(tmp_path: Path) -> None:
    names = [device.name for device in choose_devices(["cpu:0", "cpu:1", "cpu", "cpu"])]
    assert names == ["cpu:0", "cpu:1", "cpu"]
    with pytest.raises(BackendError, match="no device 'tpu'"):
        choose_devices(["tpu"])


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    job = Job("a", "train", {}, {}, "/x", "auto", 1.0)
    store.put(job)
    store._database.execute("PRAGMA max_page_count = 1")  # SQLite's way to have a full disk
    job.request = {"long": "x" * 100_000}
    with pytest.raises(BackendError, match=r"no space is left for the list of jobs; free some"):
        store.put(job)
    found = store.get("a")
    assert found is not None and found.request == {}


def test_a_list_of_jobs_from_before_tickets_is_brought_up_to_date(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "jobs.sqlite")
    database.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, created REAL, state TEXT NOT NULL, record TEXT NOT NULL)")
    record = '{"id": "a", "kind": "train", "request": {}, "spec": {}, "writes": "/x", "wanted": "auto", "created": 1}'
    database.execute("INSERT INTO jobs VALUES ('a', 1.0, 'queued', ?)", (record,))
    database.execute("PRAGMA user_version = 1")
    database.commit()
    database.close()
    for _ in range(2):
        store = JobStore(tmp_path)
        assert [job.id for job in store.unfinished()] == ["a"]
        store.close()


def test_the_command_line_follows_and_steers(server: ServerProcess) -> None:
    def run(command: str, *options: str) -> Result:
        return legs4d(command, f"--state-dir={server.state_dir}", *options)

    client = server.connect()
    job = client.ask("export", run="shot", out="files/told")["job"]
    followed = run("jobs", "follow", job[:6])
    assert followed.exit_code == 0 and "done" in followed.stderr and "ends: done" in run("jobs", "log", job).stdout
    listed = run("jobs")
    assert job in listed.stdout and "files/told" in listed.stdout
    assert "cpu:1    free" in run("status").stdout
    refused = run("jobs", "cancel", job)
    assert refused.exit_code == 1 and "is over already" in refused.stderr
    assert "no job begins with" in run("jobs", "pause", "zzz").stderr


def test_it_stops_with_the_program_that_started_it(tmp_path: Path) -> None:
    options = [f"--root={tmp_path}", f"--state-dir={tmp_path / 'state'}", "--stop-with-stdin"]
    command = [*LEGS4D, "serve", *options]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        assert b"listens on" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(20) == 0
    assert not (tmp_path / "state" / "server.json").exists()


def test_settings_name_no_file_outside_the_roots(server: ServerProcess) -> None:
    client = server.connect()
    for weights in ("/etc/passwd", "../../x", "a\\b"):
        settings = {"lift": {"codec": {"name": "autoencoder", "weights": weights}}}
        with pytest.raises(RefusedError) as refused:
            client.ask("train", dataset="ball", out="confined", settings=settings)
        assert refused.value.code == "path"


def test_no_setting_is_a_file_that_nobody_confines() -> None:
    """Free text among the settings is either no file (an encoder, cameras by name, offsets), or known as one."""
    assert set(texts_of(TrainSettings)) - FILE_SETTINGS <= {"encoder", "cameras", "leave_out", "offsets"}


def texts_of(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        kinds = {field.annotation, *get_args(field.annotation)}
        if kinds & {str, Path}:
            yield name
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from texts_of(kind)
