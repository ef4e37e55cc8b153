"""The page of `legs4d view` without a browser: what it shows, when, and who may see it."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from backend.viewer.page import Page
from backend.viewer.playback import Playback
from backend.viewer.scene import ShownRun, covariances
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.grounding import query
from tests.synthetic import Scene, write_run

SCENE = Scene(num_frames=12, width=48, height=32, num_train=4, num_test=1)
FLYING = "the ball is flying through the air"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("runs") / "thrown", SCENE)


@pytest.fixture
def page(run: Run) -> Iterator[Page]:
    shown = Page(run)
    yield shown
    shown.close()


# -- what is drawn -----------------------------------------------------------------------------------------------------


def test_covariances_are_those_of_turned_ellipsoids() -> None:
    # A quarter turn about z takes the long axis from x to y.
    quarter = np.array([[np.sqrt(0.5), 0, 0, np.sqrt(0.5)]], np.float32)
    found = covariances(quarter, np.array([[3, 2, 1]], np.float32))
    np.testing.assert_allclose(found[0], np.diag([4, 9, 1]), atol=1e-5)
    turned = np.array([[0.5, 0.5, 0.5, 0.5]], np.float32)  # x → y → z → x
    np.testing.assert_allclose(covariances(turned, np.array([[3, 2, 1]], np.float32))[0], np.diag([1, 9, 4]), atol=1e-5)


def test_up_is_the_runs(run: Run) -> None:
    # The synthetic cameras look down on the scene, whose own y axis points down.
    np.testing.assert_allclose(ShownRun(run).up, (0, -1, 0), atol=1e-3)


def test_splats_are_those_of_the_frame(run: Run) -> None:
    shown = ShownRun(run)
    for frame in (0, 5):
        splats, truth = shown.moving(frame), run.dynamic(frame)
        np.testing.assert_array_equal(splats.centers, truth.means)
        np.testing.assert_allclose(splats.rgbs, np.clip(truth.rgb, 0, 1))
        assert splats.opacities.shape == (run.num_dynamic, 1)


def test_a_prompt_lights_its_gaussians_while_it_holds(run: Run) -> None:
    shown = ShownRun(run)
    shown.light_up(query(run, [FLYING])[0])
    first, last = SCENE.flight or (0, 0)
    held = shown.moving(first + 1)
    plain = np.clip(run.dynamic(first + 1).rgb, 0, 1)
    np.testing.assert_allclose(held.rgbs, plain + 0.45 * (np.array([1.0, 0.62, 0.1]) - plain), atol=1e-5)
    assert shown.amount(0) == 0
    np.testing.assert_allclose(shown.moving(0).rgbs, np.clip(run.dynamic(0).rgb, 0, 1))
    grey = shown.static_rgbs(first)
    np.testing.assert_allclose(np.ptp(grey, axis=1) < 0.12, True)  # 85 % of the colour is gone
    assert shown.amount(first) == shown.amount(last) == 1
    shown.strength = 0.0
    np.testing.assert_allclose(shown.static_rgbs(first), np.clip(run.static().rgb, 0, 1), atol=1e-6)
    shown.strength = 1.0
    shown.clear()
    np.testing.assert_allclose(shown.moving(first + 1).rgbs, plain)


def test_the_page_goes_where_the_answer_is_most(page: Page) -> None:
    first, last = SCENE.flight or (0, 0)
    answer = page.ask(FLYING)
    assert answer is not None and page.frame == answer.intervals[0].peak
    assert f"frames {first} to {last}" in page._answer.content
    assert "**holds**" in page._status.content
    page.show(0)
    assert page._slider.value == page.frame == 0
    page.clear()
    assert page._answer.content == "" and "relevancy" not in page._status.content


def test_what_is_wrong_is_said_on_the_page(page: Page, tmp_path: Path) -> None:
    assert page.ask("  ") is None
    assert "the prompt is empty" in page._answer.content
    assert page.ask("<img src=x>") is not None
    assert "<img" not in page._answer.content
    mute = Page(write_run(tmp_path / "mute", SCENE, language=False))
    try:
        assert mute.ask(FLYING) is None
        assert "has no language yet" in mute._answer.content
    finally:
        mute.close()


def test_frames_that_training_has_not_reached(run: Run, tmp_path: Path) -> None:
    growing = Run.create(tmp_path / "growing")
    with growing.lock():
        growing.begin_stage("first_frame", "x")
        growing.write_geometry(run.static(), run.dynamic(0), 3)
        shown = Page(Run.open(growing.path))
        try:
            with pytest.raises(Legs4dError, match="frame 1 is not reconstructed yet"):
                shown.show(1)
            second = run.dynamic(1)
            growing.write_frame(1, second.means, second.quats, second.colors)
            shown.show(1)
            assert shown.frame == 1
        finally:
            shown.close()


def test_memory_does_not_grow_with_what_was_shown(page: Page) -> None:
    buffer = page._server._websock_server._broadcast_buffer
    page.ask(FLYING)
    page.show(0)
    before = len(buffer.message_from_id)
    for turn in range(60):
        page.show(turn % SCENE.num_frames)
    assert len(buffer.message_from_id) <= before


# -- playing -----------------------------------------------------------------------------------------------------------


def test_playback_follows_the_clock_and_loops() -> None:
    seen: list[int] = []
    enough = threading.Event()
    seen_to_fail: list[Legs4dError] = []

    def show(frame: int) -> None:
        seen.append(frame)
        if len(seen) >= 8:
            enough.set()

    playback = Playback(5, 200.0, show, seen_to_fail.append)
    try:
        playback.play(3)
        assert enough.wait(10)
        playback.pause()
        assert seen[0] in (3, 4) and set(seen) <= set(range(5)) and min(seen) < 3
        assert not seen_to_fail
    finally:
        playback.close()


def test_playback_stops_where_a_frame_cannot_be_shown() -> None:
    told = threading.Event()

    def show(frame: int) -> None:
        raise Legs4dError("is not there")

    playback = Playback(5, 100.0, show, lambda error: told.set())
    try:
        playback.play(0)
        assert told.wait(10) and not playback.playing
    finally:
        playback.close()


# -- who may see it ----------------------------------------------------------------------------------------------------


def get(page: Page, path: str, **headers: str) -> http.client.HTTPResponse:
    port = page._server.get_port()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    return answer


def test_only_the_printed_address_opens_the_page(page: Page) -> None:
    assert get(page, "/").status == 403
    assert get(page, "/?token=wrong").status == 403
    assert get(page, "/index.html", Cookie="legs4d-view-1=x").status == 403
    path = page.address[page.address.index("/?") :]
    answer = get(page, path)
    assert answer.status == 303 and answer.headers["Location"] == "/"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    entered = get(page, "/", Cookie=cookie.split(";")[0])
    assert entered.status == 200
    assert get(page, "/../page.py", Cookie=cookie.split(";")[0]).status == 404


def test_a_page_of_strangers_cannot_listen(page: Page) -> None:
    port = page._server.get_port()
    cookie = get(page, page.address[page.address.index("/?") :]).headers["Set-Cookie"].split(";")[0]
    protocol = [Subprotocol(f"viser-v{version()}")]

    def try_from(origin: str, **headers: str) -> None:
        with connect(
            f"ws://127.0.0.1:{port}", origin=Origin(origin), subprotocols=protocol, additional_headers=headers
        ) as socket:
            assert socket.recv(timeout=10)

    for origin, headers in (("http://evil.example", {"Cookie": cookie}), (f"http://127.0.0.1:{port}", {})):
        with pytest.raises(InvalidStatus, match="403"):
            try_from(origin, **headers)
    try_from(f"http://127.0.0.1:{port}", Cookie=cookie)


def version() -> str:
    import viser

    return viser.__version__


def test_it_listens_on_this_machine_only(page: Page) -> None:
    port = f"{page._server.get_port():04X}"
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line]
    assert [address for address in listening if address.endswith(port)] == [f"0100007F:{port}"]


def test_nobody_can_ask_for_a_tunnel(page: Page) -> None:
    page._server.request_share_url()
    assert page._server._share_tunnel is None


def test_a_taken_port_is_said(page: Page, run: Run) -> None:
    port = page._server.get_port()
    with pytest.raises(Legs4dError, match=f"port {port} is taken"):
        Page(run, port)


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_says_where_to_look_and_ends_on_interrupt(run: Run) -> None:
    command = [sys.executable, "-m", "legs4d", "view", str(run.path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None and process.stdout is not None
        line = process.stderr.readline()
        assert re.search(r"open http://127\.0\.0\.1:\d+/\?token=\S{20,} in a browser", line), line
        process.send_signal(2)
        assert process.wait(20) == 130
        assert process.stdout.read() == ""


def test_without_the_extra_it_says_what_to_install(run: Run) -> None:
    code = "import sys; sys.modules['viser'] = None; sys.argv[0] = 'legs4d'; from legs4d.cli import app; app()"
    done = subprocess.run([sys.executable, "-c", code, "view", str(run.path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "legs4d[view]" in done.stderr and done.stderr.count("\n") == 1, done.stderr
