"""Prompts answered over the wire: the same as the library's, streamed, superseded and cancelled."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from backend.runs.answers import Prompter
from backend.runs.library import Library
from backend.runs.paths import Roots
from legs4d.gaussians.selections import Selection, read_selection, undone, write_selection
from legs4d.gaussians.store.run import Run
from legs4d.grounding import query
from legs4d.progress import Stopped
from legs4d.segment.segments import Segments, write_segments
from tests.backend.conftest import ServerProcess, serving, write_small_run
from tests.backend.plain_client import PlainClient, RefusedError
from tests.synthetic import CAPTION_FLYING, Scene, write_run

PROMPT = CAPTION_FLYING


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves `ball`, a run with language, and `mute`, one without."""
    home = tmp_path_factory.mktemp("queries")
    write_run(home / "root" / "ball", Scene())
    write_small_run(home / "root" / "mute")
    with serving(home) as server:
        yield server


def test_an_answer_is_the_librarys(client: PlainClient, shared_server: ServerProcess) -> None:
    run = Run.open(shared_server.roots[0] / "ball")
    (expected,) = query(run, [PROMPT])
    request = client.send("query", run="ball", prompt=PROMPT, around=3)
    first, *frames = client.events(request)
    assert first.kind == "answer" and first.body["prompt"] == PROMPT
    assert first.body["intervals"] == [
        {"start": i.start, "end": i.end, "peak": i.peak, "score": i.score} for i in expected.intervals
    ]
    assert Scene().flight == (first.body["intervals"][0]["start"], first.body["intervals"][0]["end"])
    assert first.body["threshold"] == pytest.approx(expected.threshold)
    np.testing.assert_allclose(first.arrays["relevancy"], expected.relevancy, atol=1e-6)
    np.testing.assert_allclose(first.arrays["static"] / 255, expected.static, atol=0.5 / 255 + 1e-6)
    assert [event.body["frame"] for event in frames] == [3, 4, 2, 5, 1, 0]
    for event in frames:
        assert event.arrays["relevancy"].dtype == np.uint8
        relevancy = expected.dynamic(event.body["frame"])
        np.testing.assert_allclose(event.arrays["relevancy"] / 255, relevancy, atol=0.5 / 255 + 1e-6)
    assert client.answer["sent"] == 6 and client.answer["intervals"] == first.body["intervals"]


def test_the_curve_alone(client: PlainClient) -> None:
    request = client.send("query", run="ball", prompt=PROMPT, per_gaussian=False)
    (answer,) = client.events(request)
    assert set(answer.arrays) == {"relevancy"} and answer.arrays["relevancy"].shape == (6,)
    assert client.answer["sent"] == 0


@pytest.mark.parametrize("kind", ["query", "meant", "frames"])
def test_a_run_that_is_another_by_now_is_not_asked(client: PlainClient, kind: str) -> None:
    now = client.ask("open", run="ball")["revision"]
    body = {"run": "ball"} if kind == "frames" else {"run": "ball", "prompt": PROMPT}
    with pytest.raises(RefusedError, match=r"trained anew .*import it again") as refused:
        client.ask(kind, **body, revision="of yesterday")
    assert refused.value.code == "run"
    if kind != "meant":  # it has no segments
        client.ask(kind, **body, revision=now)


def test_an_opened_run_says_that_it_has_language(client: PlainClient) -> None:
    body = client.ask("open", run="ball")
    assert body["language"] and body["encoder"] == "captions"
    listed = {run["name"]: run["language"] for run in client.ask("runs")["runs"]}
    assert listed == {"ball": True, "mute": False}


def test_things_travel_and_words_mean_segments(client: PlainClient, shared_server: ServerProcess) -> None:
    assert client.ask("things", run="mute") == {
        "revision": client.ask("open", run="mute")["revision"],
        "segments": [],
        "selections": [],
    }
    run = Run.open(shared_server.roots[0] / "ball")
    moves = np.arange(run.num_gaussians) >= run.num_static
    share = np.stack([0.6 * moves, ~moves], 1).astype(np.float32)
    with run.lock():
        scale, mass = np.array([1, 9], np.float32), np.ones(len(moves), np.float32)
        parent = np.array([1, -1], np.int32)
        write_segments(run, Segments(scipy.sparse.csc_array(share), parent, scale, mass, ("ball", "")))
        write_selection(run, Selection("all", np.ones(len(moves), np.float32)))
    told = client.reply(client.send("things", run="ball"))
    body, arrays = told.body, told.arrays
    assert body["segments"] == [{"name": "ball", "parent": 1, "scale": 1.0}, {"name": "", "parent": -1, "scale": 9.0}]
    assert body["selections"] == ["all"]
    assert arrays["segment_start"].tolist() == [0, moves.sum(), len(moves)]
    assert arrays["segment_index"].tolist() == [*np.flatnonzero(moves), *np.flatnonzero(~moves)]
    assert set(arrays["segment_weight"][: moves.sum()].tolist()) == {153}
    assert arrays["selection_index"].tolist() == list(range(len(moves)))
    meant = client.ask("meant", run="ball", prompt=PROMPT)
    assert meant["segments"] == meant["answering"] == [0] and meant["scores"][0] > 0.6
    for run_name, prompt, code in (("mute", PROMPT, "run"), ("ball", "a wooden box stands", "failed")):
        with pytest.raises(RefusedError) as refused:
            client.ask("meant", run=run_name, prompt=prompt)
        assert refused.value.code in (code, "prompt"), refused.value


def test_a_selection_is_kept_in_the_run_and_replaces_none_unasked(
    client: PlainClient, shared_server: ServerProcess
) -> None:
    run = Run.open(shared_server.roots[0] / "mute")
    revision = client.ask("open", run="mute")["revision"]
    chosen = np.zeros(run.num_gaussians, bool)
    chosen[[1, run.num_gaussians - 1]] = True

    def bits(values: np.ndarray) -> bytes:
        return zlib.compress(np.packbits(values).tobytes())

    def keep(**changed: object) -> dict[str, Any]:
        body = {"run": "mute", "revision": revision, "name": "two", "points": bits(chosen)}
        return client.ask("keep", **{**body, **changed})

    assert keep() == {"name": "two", "gaussians": 2, "share": round(2 / len(chosen), 4), "selections": ["two"]}
    stored = read_selection(run, "two")
    assert np.flatnonzero(stored.weights).tolist() == np.flatnonzero(chosen).tolist()
    assert stored.made["steps"][0]["client"] == "plain 1"
    for changed, code in (
        ({}, "differs"),
        ({"revision": "another", "again": True}, "run"),
        ({"points": b"none", "again": True}, "body"),
        ({"points": bits(chosen[:-9]), "again": True}, "body"),
        ({"points": bits(~chosen & chosen), "again": True}, "failed"),
        ({"name": "  "}, "run"),
    ):
        with pytest.raises(RefusedError) as refused:
            keep(**changed)
        assert refused.value.code == code, (changed, refused.value)
    with run.lock(), pytest.raises(RefusedError, match="is being written"):
        keep(again=True)
    assert read_selection(run, "two").weights.sum() == 2
    assert keep(points=bits(~chosen), again=True)["gaussians"] == len(chosen) - 2
    with run.lock():
        assert undone(run, "two").weights.sum() == 2  # what was replaced is not lost


def test_prompts_that_cannot_be_answered(client: PlainClient) -> None:
    for run, prompt, code in (("mute", PROMPT, "run"), ("ball", "   ", "prompt"), ("none", PROMPT, "run")):
        with pytest.raises(RefusedError) as refused:
            client.reply(client.send("query", run=run, prompt=prompt))
        assert refused.value.code == code


def test_a_newer_query_of_a_layer_takes_the_older_ones_place(client: PlainClient) -> None:
    older = client.send("query", run="ball", prompt="a wooden box", layer="a", window=1)
    other = client.send("query", run="ball", prompt="a floor", layer="b", per_gaussian=False)
    newer = client.send("query", run="ball", prompt=PROMPT, layer="a")
    with pytest.raises(RefusedError) as refused:
        client.reply(older)
    assert refused.value.code == "superseded"
    assert client.reply(other).body["prompt"] == "a floor"
    assert [event.kind for event in client.events(newer)] == ["answer"] + ["frame"] * 6


def test_a_query_that_streams_is_superseded_too(client: PlainClient) -> None:
    older = client.send("query", run="ball", prompt=PROMPT, layer="a", window=1)
    assert client.receive(older).kind == "answer"
    assert client.receive(older).kind == "frame"
    newer = client.send("query", run="ball", prompt=PROMPT, layer="a", per_gaussian=False)
    with pytest.raises(RefusedError) as refused:
        client.reply(older)
    assert refused.value.code == "superseded"
    client.reply(newer)


def test_layers_of_two_clients_are_their_own(client: PlainClient, shared_server: ServerProcess) -> None:
    with shared_server.connect() as other:
        mine = client.send("query", run="ball", prompt=PROMPT, layer="a", per_gaussian=False)
        theirs = other.send("query", run="ball", prompt=PROMPT, layer="a", per_gaussian=False)
        assert client.reply(mine).body["prompt"] == other.reply(theirs).body["prompt"] == PROMPT


def test_a_query_is_cancelled_before_and_after_its_answer(client: PlainClient) -> None:
    blocking = client.send("query", run="ball", prompt=PROMPT, layer="x", per_gaussian=False)
    queued = client.send("query", run="ball", prompt=PROMPT, layer="y")
    assert client.ask("cancel", request=queued) == {"cancelled": True}
    streaming = client.send("query", run="ball", prompt=PROMPT, layer="z", window=1)
    client.reply(blocking)
    assert client.receive(streaming).kind == "answer"
    assert client.ask("cancel", request=streaming) == {"cancelled": True}
    for request in (queued, streaming):
        with pytest.raises(RefusedError) as refused:
            client.reply(request)
        assert refused.value.code == "cancelled"
    assert client.quiet(0.3)


def test_small_requests_do_not_wait_for_a_query(client: PlainClient) -> None:
    request = client.send("query", run="ball", prompt="something that nobody asked yet", per_gaussian=False)
    client.send("jobs")
    assert client.receive_any().body.get("jobs") is not None
    client.reply(request)


def test_the_server_process_has_no_torch(client: PlainClient, shared_server: ServerProcess) -> None:
    """It would cost half a gigabyte and five seconds of every start."""
    client.reply(client.send("query", run="ball", prompt=PROMPT, per_gaussian=False))
    assert shared_server.process is not None
    mapped = Path(f"/proc/{shared_server.process.pid}/maps").read_text()
    assert "libtorch" not in mapped


def test_relevancy_is_compressed_on_request(client: PlainClient, shared_server: ServerProcess) -> None:
    plain = list(client.events(client.send("query", run="ball", prompt=PROMPT)))
    packed = list(client.events(client.send("query", run="ball", prompt=PROMPT, compress="zstd")))
    assert client.compressed > 0
    assert [event.body["frame"] for event in plain[1:]] == [event.body["frame"] for event in packed[1:]]
    for one, other in zip(plain, packed, strict=True):
        for name, values in one.arrays.items():
            np.testing.assert_array_equal(values, other.arrays[name])


def test_a_query_that_nobody_waits_for_ends_between_two_frames(shared_server: ServerProcess) -> None:
    opened = Library(Roots(shared_server.roots)).open("ball")
    asked: list[int] = []

    def wanted() -> bool:
        asked.append(1)
        return len(asked) < 3

    prompter = Prompter()
    with pytest.raises(Stopped):
        prompter.answer(opened, PROMPT, wanted)
    assert len(asked) == 3
    assert prompter.answer(opened, PROMPT, lambda: True).intervals
