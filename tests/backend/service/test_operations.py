"""What the server's keeper sees and does: metrics, health, logs, keys, who is connected, and lists of any length."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from backend import wire
from backend.jobs.devices import choose_devices
from backend.jobs.store import Job, JobStore
from backend.jobs.worker import progress_line
from backend.runs.library import Library
from backend.runs.paths import Roots
from backend.service import metrics
from backend.service.client import Client, find_server
from backend.service.config import Limits, ServerConfig, make_config
from backend.service.errors import BackendError
from backend.service.keys import new_pair
from backend.service.logs import start_logging
from backend.service.metrics import Metrics
from backend.service.server import Server
from legs4d.progress import Progress
from tests.backend.conftest import REPOSITORY, ServerProcess, legs4d, serving, write_small_run
from tests.backend.plain_client import RefusedError
from tests.synthetic import Scene, write_dataset


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Twelve clients at most, metrics, a log file, and four runs of which one is damaged."""
    home = tmp_path_factory.mktemp("operations")
    for name in ("a", "b/one", "b/two"):
        write_small_run(home / "root" / name, num_frames=2)
    (home / "root/broken").mkdir()
    (home / "root/broken/run.json").write_text("{")
    write_dataset(home / "root/ball", Scene(num_frames=2, width=48, height=32, num_train=4, num_test=1))
    config = home / "server.toml"
    config.write_text('metrics = "127.0.0.1:0"\nlog_file = "logs/server.log"\n[limits]\nclients = 12\n')
    with serving(home, options=[f"--config={config}"]) as server:
        yield server


def fetch(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metrics_of(server: ServerProcess) -> dict[tuple[str, ...], float]:
    (address,) = re.findall(r"metrics at +(http://127\.0\.0\.1:\d+)/metrics", server.log)
    code, text = fetch(f"{address}/metrics")
    assert code == 200 and fetch(f"{address}/healthz") == (200, "ok\n") and fetch(f"{address}/x")[0] == 404
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_what_clients_do(server: ServerProcess) -> None:
    with server.connect() as client:
        before = metrics_of(server)
        client.ask("runs")
        with pytest.raises(RefusedError):
            client.ask("open", run="none")
        client.send("nonsense")
        client.ask("status")
        after = metrics_of(server)
    grown = {key: value - before.get(key, 0) for key, value in after.items()}
    assert after["legs4d_clients",] >= 1 and after["legs4d_connections",] >= 1
    assert grown["legs4d_requests_total", "runs", "ok"] == 1
    assert grown["legs4d_requests_total", "open", "run"] == 1
    assert grown["legs4d_requests_total", "unknown", "unknown_kind"] == 1
    assert grown["legs4d_request_seconds_count", "runs"] == 1
    assert grown["legs4d_sent_bytes_total",] > 500 and grown["legs4d_received_bytes_total",] > 200
    assert after["legs4d_device_busy", "cpu"] == 0 and 2**24 < after["legs4d_memory_bytes",] < 2**32
    assert after["legs4d_queued_jobs",] == 0 == after["legs4d_waiting_messages",]


def test_health_tells_who_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose socket thread does not run: nobody calls `run`."""
    monkeypatch.setattr(metrics, "ANSWER_SECONDS", 0.2)
    config = ServerConfig(metrics="127.0.0.1:0", limits=Limits())
    stuck = Server(config, Roots([tmp_path]), tmp_path, choose_devices(["cpu"]))
    assert stuck.metrics
    try:
        assert fetch(f"{stuck.metrics.address}/healthz") == (503, "the socket thread has not answered for 0.2 s\n")
        assert fetch(f"{stuck.metrics.address}/metrics")[0] == 503
    finally:
        stuck._close()


@pytest.mark.parametrize(
    ("address", "says"),
    [("0.0.0.0:0", "can be reached from other machines"), ("here", "is no address"), ("gpu7:1", "write numbers")],
)
def test_metrics_stay_on_this_machine(address: str, says: str) -> None:
    with pytest.raises(BackendError, match=says):
        Metrics(address, False, lambda seconds: pytest.fail("asked"))
    Metrics("0.0.0.0:0", True, lambda seconds: pytest.fail("asked")).close()


def test_clients_that_leave_are_signed_off_and_nobody_is_evicted(server: ServerProcess) -> None:
    with server.connect() as stays:
        events = stays.send("subscribe")
        for _ in range(50):  # four times as many as there may be clients
            with server.connect() as leaves:
                leaves.ask("status")
        deadline = time.monotonic() + 5
        while stays.ask("status")["clients"] > 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        stays.ask("cancel", request=events)  # it was never forgotten
    assert "idle longest" not in server.log


def test_who_says_hello_and_leaves_at_once_is_signed_off_too(server: ServerProcess) -> None:
    for _ in range(20):
        with server.connect(say_hello=False) as hasty:
            hasty.socket.linger = 1000
            hasty.send("hello", client="hasty", version="1")
            hasty.socket.close()
    with server.connect() as stays:
        deadline = time.monotonic() + 15
        while stays.ask("status")["clients"] > 1:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_lists_come_in_pages(server: ServerProcess) -> None:
    with server.connect() as client:
        first = client.ask("runs", limit=2)
        assert [run["name"] for run in first["runs"]] == ["a", "b/one"] and first["next"] == "b/one"
        rest = client.ask("runs", after=first["next"], limit=2)
        assert [run["name"] for run in rest["runs"]] == ["b/two"] and rest["next"] is None
        assert [problem["name"] for problem in rest["problems"]] == ["broken"]
        assert client.ask("datasets") == {"datasets": [{"name": "ball", "layout": "panoptic"}], "next": None}
    with Client(find_server(server.state_dir)) as client:
        assert [run["name"] for run in client.listed("runs")] == ["a", "b/one", "b/two"]


def test_jobs_come_in_pages(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    for number in range(5):
        store.put(Job(f"j{number}", "train", {}, {}, "/x", "auto", float(number // 2)))
    assert [job.id for job in store.newest(2)] == ["j4", "j3"]
    assert [job.id for job in store.newest(2, "j3")] == ["j2", "j1"]
    assert [job.id for job in store.newest(9, "j0")] == [] == store.newest(9, "none")
    assert store.counts() == {"queued": 5}
    store.close()


def test_datasets_of_every_layout_are_listed(tmp_path: Path) -> None:
    for name, files in {
        "p": ("train_meta.json",),
        "n": ("transforms.json",),
        "d": ("transforms_train.json",),
        "v": ("cameras.json", "cam0.mp4"),
        "neu": ("poses_bounds.npy", "cam00.mp4"),
        "c": ("sparse/0/cameras.bin", "sparse/0/images.bin"),
        "run": ("run.json", "cameras.json"),
        "pictures": ("1.png",),
        "deep/er": ("train_meta.json",),
    }.items():
        for file in files:
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).touch()
    found, more = Library(Roots([tmp_path])).datasets()
    assert {one["name"]: one["layout"] for one in found} == {
        **{"p": "panoptic", "n": "nerf", "d": "nerf", "v": "videos", "neu": "neu3d", "c": "colmap"},
        "deep/er": "panoptic",
    }
    assert more is None


def test_status_of_a_dead_server_is_told_at_once(server: ServerProcess, tmp_path: Path) -> None:
    dead = tmp_path / "dead"
    dead.mkdir()
    shutil.copy(server.state_dir / "server.json", dead)
    found = server.access()
    for endpoint in ("tcp://127.0.0.1:9", "tcp://192.0.2.1:47404"):  # refused; nobody answers (RFC 5737)
        (dead / "server.json").write_text(json.dumps({**found, "endpoint": endpoint}))
        began = time.monotonic()
        with pytest.raises(BackendError, match="no server answers"):
            Client(find_server(dead))
        assert time.monotonic() - began < 1
    assert server.process
    server.process.send_signal(signal.SIGSTOP)  # its connections are accepted by the system
    try:
        began = time.monotonic()
        with pytest.raises(BackendError, match="no server answers"):
            Client(find_server(server.state_dir))
        assert time.monotonic() - began < 1
    finally:
        server.process.send_signal(signal.SIGCONT)
    (dead / "server.json").write_text(json.dumps({**found, "endpoint": "tcp://127.0.0.1:9"}))
    said = legs4d("status", f"--state-dir={dead}")
    assert said.exit_code == 1 and said.stderr.count("\n") == 1 and "no server answers" in said.stderr


def test_both_versions_are_said_when_they_differ(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "PROTOCOL_VERSION", 1)
    with pytest.raises(BackendError, match=r"version 2.* version 1"):
        Client(find_server(server.state_dir))


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    made = legs4d("keys", "new", "--state-dir", tmp_path)
    refused = legs4d("status", "--server", "gpu7", "--server-key", "server", "--state-dir", tmp_path)
    assert made.exit_code == 0 and refused.exit_code == 1 and refused.stderr.count("\n") == 1
    assert "--server-key: 'server' is no public key" in refused.stderr


def test_keys_need_no_quotes() -> None:
    for key in (new_pair().public, new_pair().public):
        assert (
            shlex.quote(key) == key and len(key) == 40 and not set(key) & set("^!*?&<>()[]{}%$#") and key[0].isalnum()
        )


def test_logs_are_for_people_and_do_not_grow_for_ever(server: ServerProcess, tmp_path: Path) -> None:
    lines = (server.state_dir.parent / "logs/server.log").read_text().splitlines()
    assert any(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO client .* connected", line) for line in lines)
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        start_logging("text", tmp_path / "server.log", mib=0.01, files=2)
        for number in range(1000):
            logging.getLogger("legs4d.backend").warning("line %d", number)
        (handler,) = root.handlers
        handler.close()
    finally:
        root.handlers = before
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"server.log", "server.log.1", "server.log.2"} and max(sizes.values()) <= 0.01 * 2**20
    assert "line 999" in (tmp_path / "server.log").read_text()
    assert progress_line(Progress("first_frame", 120, 500, 0.04123, 200.0)) == (
        "first frame 120/500, 3 min 20 s left, loss 0.0412"
    )


def test_wrong_settings_of_the_server_name_the_nearest() -> None:
    for values, says in (
        ({"metric": "x"}, "'metric' is unknown; the nearest is 'metrics'"),
        ({"limits": {"client": 3}}, "'limits.client' is unknown; the nearest is 'limits.clients'"),
        ({"port": 99_999}, "'port' is wrong"),
    ):
        with pytest.raises(Exception, match=says):
            make_config(values)


def test_a_process_that_ends_at_once_leaves_no_names_behind() -> None:
    """Where multiprocessing does not fork, as by default from Python 3.14 on, a lock has a name in the system."""
    code = "import multiprocessing as m; lock = m.get_context('spawn').RLock(); "
    leaking = subprocess.run([sys.executable, "-c", code + "import os; os._exit(3)"], capture_output=True, text=True)
    assert "leaked" in leaking.stderr
    code += "from backend.jobs.process import leave; leave(3)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert (done.returncode, done.stderr) == (3, "")


def test_ctrl_c_ends_the_server_without_a_report(tmp_path: Path) -> None:
    write_small_run(tmp_path / "root/shot", num_frames=2)
    server = ServerProcess([tmp_path / "root"], tmp_path / "state").start()
    with server.connect() as client:
        client.ask("open", run="shot")
    assert server.stop(signal.SIGINT) == 0
    assert "leaked" not in server.log and "Traceback" not in server.log and server.log.rstrip().endswith("stopped")
    assert not os.path.exists(server.state_dir / "server.json")
