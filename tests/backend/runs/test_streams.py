"""Runs listed, opened and streamed: content as stored, order as asked, and no more than the client has room for."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.runs.streams import FrameOrder
from legs4d.gaussians.store.run import Run
from tests.backend.conftest import ServerProcess, write_small_run
from tests.backend.plain_client import PlainClient, RefusedError
from tests.synthetic import Scene, write_run

StartServer = Callable[..., ServerProcess]


def shown(client: PlainClient, request: int) -> list[int]:
    """The frames of a stream, in the order in which they come."""
    return [event.body["frame"] for event in client.events(request)]


@pytest.fixture
def own(shared_server: ServerProcess, request: pytest.FixtureRequest) -> Path:
    """The folder of a run that this test alone makes, under the name that the server knows it by."""
    return shared_server.roots[0] / request.node.name


def test_runs_are_listed_with_what_they_hold(start_server: StartServer, tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    write_small_run(first / "b" / "deep" / "run")
    write_run(first / "a", Scene(), language=False)
    Run.create(first / "begun")
    write_small_run(second / "a")
    write_small_run(second / "c", num_static=0)
    (second / "broken").mkdir()
    (second / "broken" / "run.json").write_text('{"format": 99}')
    client = start_server(first, second).connect()
    listed = client.ask("runs")
    runs = {run["name"]: run for run in listed["runs"]}
    assert list(runs) == ["a", "b/deep/run", "begun", "c"]
    assert (runs["a"]["static"], runs["a"]["frames"]) == (Run.open(first / "a").num_static, 6)
    assert (runs["c"]["static"], runs["c"]["dynamic"], runs["c"]["frames"]) == (0, 7, 9)
    assert runs["c"]["finished"] and not runs["c"]["language"]
    assert runs["c"]["stages"]["tracking"] == {"done": 8, "finished": True}
    assert not runs["begun"]["finished"] and runs["begun"]["frames"] == 0
    problems = {problem["name"]: problem["message"] for problem in listed["problems"]}
    assert set(problems) == {"a", "broken"}
    assert "earlier root" in problems["a"] and "format 99" in problems["broken"]


def test_datasets_are_listed(start_server: StartServer, tmp_path: Path) -> None:
    (tmp_path / "root" / "footage" / "basketball").mkdir(parents=True)
    (tmp_path / "root" / "footage" / "basketball" / "train_meta.json").write_text("{}")
    client = start_server().connect()
    assert client.ask("datasets")["datasets"] == [{"name": "footage/basketball", "layout": "panoptic"}]


def test_open_gives_everything_that_does_not_move(client: PlainClient, own: Path) -> None:
    run = write_run(own, Scene(), language=False)
    reply = client.reply(client.send("open", run=own.name))
    body, arrays = reply.body, reply.arrays
    assert (body["name"], body["frames"], body["finished"], body["language"]) == (own.name, 6, True, False)
    assert (body["static"], body["dynamic"]) == (run.num_static, run.num_dynamic)
    assert len(body["up"]) == 3 and body["up"][1] < -0.99 and body["fps"] == 10.0 and body["encoder"] == ""
    assert body["available"] == [0, 1, 2, 3, 4, 5]
    static = run.static()
    for name in ("means", "quats", "scales", "opacities", "colors", "is_foreground"):
        np.testing.assert_array_equal(arrays[f"static_{name}"], getattr(static, name))
    first = run.dynamic(0)
    np.testing.assert_array_equal(arrays["dynamic_scales"], first.scales)
    np.testing.assert_array_equal(arrays["dynamic_is_foreground"], first.is_foreground)
    np.testing.assert_array_equal(arrays["born"], run.born)
    np.testing.assert_array_equal(arrays["died"], run.died)
    for split in ("train", "test"):
        cameras = run.cameras(split)
        assert body["cameras"][split] == {"width": 96, "height": 64, "ids": list(cameras.ids)}
        np.testing.assert_array_equal(arrays[f"{split}_viewmats"], cameras.world_to_camera)
        np.testing.assert_array_equal(arrays[f"{split}_Ks"], cameras.intrinsics)


def test_opacities_are_those_of_living_gaussians(client: PlainClient, shared_server: ServerProcess) -> None:
    """One that is not yet born in frame 0 has its opacity there all the same; `born` and `died` say when it holds."""
    arrays = client.reply(client.send("open", run="shot/run")).arrays
    run = Run.open(shared_server.roots[0] / "shot" / "run")
    assert run.dynamic(0).opacities[-1] == 0
    np.testing.assert_array_equal(arrays["dynamic_opacities"][-1:], run.dynamic(1).opacities[-1:])
    assert arrays["born"][-1] == arrays["died"][-1] == 1
    body = client.ask("open", run="shot/run")
    assert body["cameras"] == {"train": None, "test": None}
    assert body["frame_numbers"] == list(range(40, 49))


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_frames_are_what_is_stored(client: PlainClient, shared_server: ServerProcess, precision: str) -> None:
    run = Run.open(shared_server.roots[0] / "shot" / "run")
    request = client.send("frames", run="shot/run", precision=precision)
    seen = set()
    for event in client.events(request):
        stored = run.dynamic(event.body["frame"])
        for name in ("means", "quats", "colors"):
            assert event.arrays[name].dtype == np.dtype(precision)
            np.testing.assert_array_equal(event.arrays[name], getattr(stored, name).astype(precision))
        seen.add(event.body["frame"])
    assert seen == set(range(9))
    assert client.answer["sent"] == 9 and client.answer["missing"] == []


def test_frames_come_nearest_first_the_later_of_two_equal_ones_before(client: PlainClient) -> None:
    assert shown(client, client.send("frames", run="shot/run", around=3)) == [3, 4, 2, 5, 1, 6, 0, 7, 8]
    assert shown(client, client.send("frames", run="shot/run", around=100)) == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert shown(client, client.send("frames", run="shot/run", frames=[8, 0, 3], around=2)) == [3, 0, 8]
    assert shown(client, client.send("frames", run="shot/run", frames=[7, 2, 7, 5])) == [7, 2, 5]
    assert shown(client, client.send("frames", run="shot/run", frames=[])) == []


def test_order_agrees_with_sorting_by_distance() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        frames = sorted(rng.choice(50, size=rng.integers(1, 30), replace=False).tolist())
        around = int(rng.integers(0, 60))
        order = FrameOrder(frames, around)
        taken = [order.take() for _ in range(len(frames))]
        assert taken == sorted(frames, key=lambda frame: (abs(frame - around), -frame))


def test_no_more_than_the_window_is_sent_without_credit(client: PlainClient) -> None:
    request = client.send("frames", run="shot/run", window=3, around=0)
    for expected in (0, 1, 2):
        assert client.receive(request).body["frame"] == expected
    assert client.quiet(0.4)
    client.ask("credit", request=request, frames=2)
    for expected in (3, 4):
        assert client.receive(request).body["frame"] == expected
    assert client.quiet(0.2)
    with pytest.raises(RefusedError, match="3 are under way"):
        client.ask("credit", request=request, frames=4)
    client.ask("credit", request=request, frames=3)
    assert [client.receive(request).body["frame"] for _ in range(3)] == [5, 6, 7]
    client.ask("credit", request=request, frames=1)
    assert client.receive(request).body["frame"] == 8
    assert client.reply(request).body["sent"] == 9
    assert client.ask("credit", request=request, frames=3) == {}


def test_a_playhead_that_moves_changes_what_comes_next(client: PlainClient) -> None:
    request = client.send("frames", run="shot/run", window=1, around=0)
    assert client.receive(request).body["frame"] == 0
    assert client.ask("aim", request=request, around=7)["left"] == 8
    client.ask("credit", request=request, frames=1)
    assert shown(client, request) == [7, 8, 6, 5, 4, 3, 2, 1]
    assert client.ask("aim", request=request, around=3) == {"left": 0}


def test_a_given_order_can_be_re_aimed(client: PlainClient) -> None:
    request = client.send("frames", run="shot/run", window=1, frames=[8, 0, 5, 3])
    assert client.receive(request).body["frame"] == 8
    client.ask("aim", request=request, around=4)
    client.ask("credit", request=request, frames=1)
    assert shown(client, request) == [5, 3, 0]


def test_a_stream_is_cancelled(client: PlainClient) -> None:
    request = client.send("frames", run="shot/run", window=2)
    client.receive(request)
    assert client.ask("cancel", request=request) == {"cancelled": True}
    with pytest.raises(RefusedError) as refused:
        client.reply(request)
    assert refused.value.code == "cancelled"
    assert client.quiet(0.2)
    assert client.ask("cancel", request=request) == {"cancelled": False}


def test_two_streams_of_one_client_both_arrive(client: PlainClient) -> None:
    one = client.send("frames", run="shot/run", window=1, around=0)
    two = client.send("frames", run="shot/run", window=1, around=8)
    assert shown(client, one) == list(range(9))
    assert shown(client, two) == list(range(8, -1, -1))


def test_bad_frames_and_runs_are_named(client: PlainClient) -> None:
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"run": "shot/run", "frames": [3, 9]}, "run", "no frame 9"),
        ({"run": "shot"}, "run", "not there"),
        ({"run": "shot/run", "revision": "old"}, "run", "replaced"),
    ]
    for body, code, says in cases:
        with pytest.raises(RefusedError, match=says) as refused:
            client.reply(client.send("frames", **body))
        assert refused.value.code == code


def test_frames_of_an_unfinished_run(client: PlainClient, own: Path) -> None:
    """What is done can be streamed, what is not is named; nothing is passed off as trained."""
    run = write_small_run(own)
    moved = run.dynamic(1)
    run.forget_stage("tracking")
    run.begin_stage("tracking", "again")
    run.write_frame(1, moved.means, moved.quats, moved.colors)
    run.frame_done("tracking", 1, 1.0)
    opened = client.ask("open", run=own.name)
    assert (opened["available"], opened["finished"]) == ([0, 1], False)
    request = client.send("frames", run=own.name, frames=[0, 1, 2, 5], revision=opened["revision"])
    assert shown(client, request) == [0, 1]
    assert client.answer["missing"] == [2, 5]
    run.write_frame(2, moved.means, moved.quats, moved.colors)
    run.frame_done("tracking", 2, 1.0)
    later = client.ask("open", run=own.name)
    assert later["available"] == [0, 1, 2] and later["revision"] == opened["revision"]


def test_a_run_that_is_removed_while_open(client: PlainClient, own: Path) -> None:
    write_small_run(own)
    request = client.send("frames", run=own.name, window=1)
    client.receive(request)
    shutil.rmtree(own)
    client.send("credit", request=request, frames=1)
    with pytest.raises(RefusedError) as refused:
        shown(client, request)
    assert refused.value.code == "run" and "removed" in refused.value.message
    with pytest.raises(RefusedError, match="removed"):
        client.ask("open", run=own.name)
    assert own.name not in [run["name"] for run in client.ask("runs")["runs"]]


def test_a_run_that_is_replaced_while_open(client: PlainClient, own: Path) -> None:
    write_small_run(own)
    before = client.ask("open", run=own.name)["revision"]
    request = client.send("frames", run=own.name, window=1)
    client.receive(request)
    shutil.rmtree(own)
    write_small_run(own, seed=1)
    client.send("credit", request=request, frames=1)
    with pytest.raises(RefusedError) as refused:
        shown(client, request)
    assert refused.value.code == "run" and "replaced" in refused.value.message
    assert client.ask("open", run=own.name)["revision"] != before


def test_a_damaged_frame_is_named_and_the_server_goes_on(client: PlainClient, own: Path) -> None:
    write_small_run(own)
    (chunk,) = (own / "run.zarr" / "dynamic" / "means").glob("c.3.*")
    chunk.write_bytes(b"short")
    with pytest.raises(RefusedError, match="damaged"):
        client.reply(client.send("frames", run=own.name, frames=[3]))
    assert shown(client, client.send("frames", run=own.name, frames=[4])) == [4]


def test_coordinates_too_large_for_half_precision_are_said(client: PlainClient, own: Path) -> None:
    run = write_small_run(own)
    moved = run.dynamic(2)
    run.write_frame(2, moved.means * 1e6, moved.quats, moved.colors)
    with pytest.raises(RefusedError, match="ask for float32"):
        client.reply(client.send("frames", run=own.name, frames=[2], precision="float16"))
    assert shown(client, client.send("frames", run=own.name, frames=[2])) == [2]


def test_a_client_that_never_gives_credit_costs_little_memory(start_server: StartServer, tmp_path: Path) -> None:
    """200 frames of 4 MB, of which 64 MiB may be under way to each client, however large its window."""
    write_big_frames(tmp_path / "root" / "run", 100_000, num_frames=200)
    server = start_server()
    greedy, polite = server.connect(), server.connect()
    before = server.memory()
    request = greedy.send("frames", run="run", window=64)
    time.sleep(1.5)
    assert server.memory() - before < 64 * 2**20 + 60 * 2**20
    started = time.monotonic()
    assert polite.ask("open", run="run")["frames"] == 200
    assert time.monotonic() - started < 1.0
    received = 0
    while not greedy.quiet(0.5):
        assert greedy.receive(request).kind == "frame"
        received += 1
    assert 15 <= received <= 20


def write_big_frames(folder: Path, count: int, num_frames: int) -> None:
    """A run of `count` moving Gaussians, all frames the same file."""
    run = write_small_run(folder, num_frames=2, num_dynamic=count)
    geometry = run.dynamic(1)
    run.write_geometry(run.static(), geometry, num_frames)
    for name in ("means", "quats", "colors"):
        array = folder / "run.zarr" / "dynamic" / name
        (first,) = array.glob("c.0.*")
        for frame in range(1, num_frames):
            os.link(first, array / first.name.replace("c.0.", f"c.{frame}.", 1))


def test_positions_in_65536_steps_are_finer_than_halves(client: PlainClient, shared_server: ServerProcess) -> None:
    run = Run.open(shared_server.roots[0] / "shot" / "run")
    for event in client.events(client.send("frames", run="shot/run", precision="uint16", frames=[4, 5])):
        stored = run.dynamic(event.body["frame"])
        for name in ("means", "quats", "colors"):
            low, step = event.body["low"][name], event.body["step"][name]
            assert event.arrays[name].dtype == np.uint16
            shown = low + step * event.arrays[name]
            assert np.abs(shown - getattr(stored, name)).max() <= 0.51 * step < 1e-4


def test_a_copy_of_a_run_is_the_same_run(start_server: StartServer, tmp_path: Path) -> None:
    """What was imported from one plays from the other: neither the times of files nor their place count."""
    run = write_small_run(tmp_path / "root" / "run")
    shutil.copytree(run.path, tmp_path / "root" / "copy", copy_function=shutil.copyfile)
    old = Path(__file__).parents[2] / "data" / "run_format_1"  # of a version that gave runs no mark
    for name in ("old", "old copy"):
        shutil.copytree(old, tmp_path / "root" / name, copy_function=shutil.copyfile)
    client = start_server().connect()
    revisions = {name: client.ask("open", run=name)["revision"] for name in ("run", "copy", "old", "old copy")}
    assert revisions["run"] == revisions["copy"] != revisions["old"] == revisions["old copy"]
