"""The page itself: a viser server on this machine's loopback, its controls, and what they do."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from html import escape

import numpy as np

from backend.viewer.gate import Gate
from backend.viewer.playback import Playback
from backend.viewer.scene import ShownRun, Splats
from backend.viewer.things import Things
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.grounding import query
from legs4d.grounding.query import Grounding

try:
    import viser
    from viser import uplot
except ImportError as error:
    raise Legs4dError(
        f"the browser page needs the package viser ({error})", where="legs4d view", fix="pip install 'legs4d[view]'"
    ) from error

HOST = "127.0.0.1"
SPEEDS = (0.1, 4.0)
FOUND = "#f5a623"
WITHOUT_STRAYS = (0.05, 0.95)
"""Quantiles between which the things of interest lie."""
MAX_JUMPS = 12
"""Intervals with a button of their own; all are listed."""


class _Viser(viser.ViserServer):
    """viser without its tunnel, by which anybody on the page could put the run on the internet."""

    def request_share_url(self, verbose: bool = True) -> None:
        return None


class Page:
    """A run in the browser, until `close`.

    All browsers that have it open see one and the same frame and prompt.

    Args:
        run: with at least its first frame done.
        port: TCP port on the loopback interface; 0 takes a free one.

    Raises:
        Legs4dError: the port is taken.
        RunError: nothing is reconstructed yet.
    """

    def __init__(self, run: Run, port: int = 0) -> None:
        self.shown = ShownRun(run)
        self._lock = threading.RLock()
        self._frame = 0
        self._asked = 0
        self._static_amount = 0.0
        self._gate = Gate()
        with self._gate.guarding(), _quiet():
            self._server = _Viser(HOST, port, label="legs4d", verbose=False)
        if port not in (0, self._server.get_port()):
            self._stop_server()
            raise Legs4dError(f"port {port} is taken", where="--port", fix="choose another, or 0 for a free one")
        self._playback = Playback(self.shown.num_frames, self.shown.fps, self._play_frame, self._tell)
        self._build_scene()
        self._build_timeline()
        self._build_prompt()
        self.things = Things(self._server, self.shown, self._lock, self._redraw, lambda: self._frame)
        self.show(0)

    @property
    def address(self) -> str:
        """Where a browser finds it, token included."""
        return f"http://{HOST}:{self._server.get_port()}/?token={self._gate.token}"

    @property
    def frame(self) -> int:
        """The frame shown."""
        return self._frame

    def show(self, frame: int) -> None:
        """Show a frame, on the slider too. Raises Legs4dError where the run has not got it."""
        with self._lock:
            self._draw(frame)
            self._slider.value = frame  # type: ignore[misc]  # viser's setter stands where mypy misses it

    def ask(self, prompt: str) -> Grounding | None:
        """Light up what a prompt names; what is wrong with it is said on the page, and None returned.

        A later prompt overtakes one that is still being answered.
        """
        with self._lock:
            self._asked += 1
            turn = self._asked
            self._answer.content = "*searching …*"
        try:
            grounding = query(self.shown.run, [prompt])[0]  # not under the lock: playback goes on meanwhile
        except Legs4dError as error:
            self._tell(error)
            return None
        with self._lock:
            if turn == self._asked:
                self._show_answer(grounding)
        return grounding

    def clear(self) -> None:
        """Show the run without a highlight."""
        with self._lock:
            self._asked += 1
            self.shown.clear()
            self._answer.content = ""
            self._drop_answer()
            self._redraw()

    def close(self) -> None:
        """End the server and its threads."""
        self._playback.close()
        self._stop_server()

    # -- building --------------------------------------------------------------------------------------------------

    def _build_scene(self) -> None:
        self._server.scene.set_up_direction(self.shown.up)
        self._server.gui.configure_theme(show_logo=False, show_share_button=False, dark_mode=True)
        self._static = self._add_splats("/static", self.shown.static())
        self._moving = self._add_splats("/moving", self.shown.moving(0))
        self._place_camera()

    def _add_splats(self, name: str, splats: Splats) -> viser.GaussianSplatHandle | None:
        if not len(splats.centers):
            return None
        return self._server.scene.add_gaussian_splats(
            name,
            centers=splats.centers,
            covariances=splats.covariances,
            rgbs=splats.rgbs,
            opacities=splats.opacities,
        )

    def _place_camera(self) -> None:
        """Begin where the first training camera stood, looking where it looked; else outside of what moves."""
        camera, run = self._server.initial_camera, self.shown.run
        if run.has_cameras:
            cameras = run.cameras("train")
            eye, forward = cameras.centers[0], cameras.world_to_camera[0, 2, :3]
            reach = float(np.linalg.norm(np.asarray(run.info.get("center", eye + forward)) - eye))
            camera.position, camera.look_at = eye, eye + forward * reach
            camera.fov = 2 * float(np.arctan(cameras.height / 2 / cameras.intrinsics[0, 1, 1]))
            return
        gaussians, up = run.frame(0), np.array(self.shown.up)
        points = gaussians.means[gaussians.is_foreground] if gaussians.is_foreground.any() else gaussians.means
        if not len(points):
            return
        low, high = np.quantile(points, WITHOUT_STRAYS, axis=0)
        aside = np.cross(up, np.eye(3)[np.abs(up).argmin()])
        camera.look_at = (low + high) / 2
        camera.position = camera.look_at + np.linalg.norm(high - low) * (1.5 * aside + 0.5 * up)

    def _build_timeline(self) -> None:
        gui, last = self._server.gui, self.shown.num_frames - 1
        run = self.shown.run
        kept = " · colours as seen from nowhere in particular" if self.shown.loses_view_dependence else ""
        gui.add_markdown(f"**{escape(run.path.name)}** · {last + 1} frames · {run.count(0)} Gaussians{kept}")
        self._slider = gui.add_slider("Frame", min=0, max=max(last, 1), step=1, initial_value=0, disabled=last == 0)
        self._play_button = gui.add_button("Play", disabled=last == 0)
        speed = gui.add_slider("Speed", min=SPEEDS[0], max=SPEEDS[1], step=0.1, initial_value=1.0)
        self._status = gui.add_markdown("")
        self._slider.on_update(lambda event: self._scrub(event.client_id))
        self._play_button.on_click(lambda _: self._toggle())
        speed.on_update(lambda _: self._playback.set_speed(speed.value))

    def _build_prompt(self) -> None:
        gui = self._server.gui
        with gui.add_form("What happens?") as form:
            self._prompt = gui.add_text("Prompt", "")
            ask = gui.add_button("Find")
        ask.on_click(lambda _: form.submit())
        form.on_submit(lambda _: self._ask_typed())
        strength = gui.add_slider("Highlight", min=0.0, max=1.0, step=0.05, initial_value=1.0)
        strength.on_update(lambda _: self._set_strength(strength.value))
        gui.add_button("Clear").on_click(lambda _: self.clear())
        self._answer = gui.add_markdown("")
        self._curve: viser.GuiUplotHandle | None = None
        self._jumps: viser.GuiButtonGroupHandle | None = None

    # -- what the controls do --------------------------------------------------------------------------------------

    def _scrub(self, client: int | None) -> None:
        if client is None:  # our own playback moved the slider
            return
        try:
            with self._lock:
                frame = self._slider.value  # the newest: a quick hand moves it while we draw
                self._playback.seek(frame)
                self._draw(frame)
        except Legs4dError as error:
            self._tell(error)

    def _toggle(self) -> None:
        if self._playback.playing:
            self._playback.pause()
        else:
            self._playback.play(self._frame)
        self._label_button()

    def _label_button(self) -> None:
        self._play_button.label = "Pause" if self._playback.playing else "Play"

    def _play_frame(self, frame: int) -> None:
        with self._lock:
            # A person who scrubs has the last word, so what is due is asked for again under the lock.
            self.show(self._playback.due())

    def _ask_typed(self) -> None:
        self.ask(self._prompt.value)

    def _set_strength(self, value: float) -> None:
        with self._lock:
            self.shown.strength = value
            self._redraw()

    def _draw(self, frame: int) -> None:
        if not self.shown.reached(frame):
            raise Legs4dError(f"frame {frame} is not reconstructed yet", where=self.shown.run.path.name)
        moving = self.shown.moving(frame)
        # Colours of what stands still change only while a highlight fades in or out: they are most of the bytes.
        amount = self.shown.amount(frame)
        with self._server.atomic():
            if self._static is not None and amount != self._static_amount:
                self._static.rgbs = self.shown.static_rgbs(frame)
                self._static.opacities = self.shown.static_opacities(frame)
            self._show_moving(moving)
            self._status.content = self._describe(frame)
        self._static_amount, self._frame = amount, frame

    def _show_moving(self, moving: Splats) -> None:
        """As many as there are: a frame may have others than the one before, or none."""
        if self._moving is None:
            self._moving = self._add_splats("/moving", moving)
            return
        self._moving.visible = len(moving.centers) > 0
        if self._moving.visible:
            self._moving.set_gaussians(moving.centers, moving.covariances, moving.rgbs, moving.opacities)

    def _redraw(self) -> None:
        """What is shown, after the highlight has changed."""
        self._static_amount = -1.0
        self._draw(self._frame)

    def _jump(self, label: str) -> None:
        self._go_to(int(label.split("–")[0]))

    def _go_to(self, frame: int) -> None:
        self._playback.seek(frame)
        self.show(frame)

    def _tell(self, error: Legs4dError) -> None:
        """Say on the page what is wrong."""
        self._answer.content = f"⚠ {escape(str(error))}"
        self._label_button()

    def _describe(self, frame: int) -> str:
        grounding = self.shown.grounding
        seconds = f"frame {frame} · {frame / self.shown.fps:.2f} s"
        if grounding is None:
            return seconds
        return f"{seconds} · relevancy {grounding.relevancy[frame]:.2f}" + (" · **holds**" * grounding.holds(frame))

    # -- the answer ------------------------------------------------------------------------------------------------

    def _show_answer(self, grounding: Grounding) -> None:
        self.shown.light_up(grounding)
        self._answer.content = _answer_text(grounding)
        self._show_curve(grounding)
        self._show_jumps(grounding)
        self._redraw()
        if grounding.intervals:
            self._go_to(grounding.intervals[0].peak)

    def _show_curve(self, grounding: Grounding) -> None:
        frames = np.arange(self.shown.num_frames, dtype=np.float64)
        holds = np.array([float(grounding.holds(int(frame))) for frame in frames])
        if len(frames) < 2:
            return
        data = (frames, holds, grounding.relevancy.astype(np.float64))
        if self._curve is not None:
            self._curve.data = data
            return
        self._curve = self._server.gui.add_uplot(
            data,
            series=(
                uplot.Series(label="frame"),
                uplot.Series(label="found", fill=FOUND + "66", stroke=FOUND, width=1),
                uplot.Series(label="relevancy", stroke="#7fb2ff", width=2),
            ),
            scales={"x": uplot.Scale(time=False), "y": uplot.Scale(range=(0.0, 1.05))},
            axes=(uplot.Axis(stroke="#aaaaaa"), uplot.Axis(stroke="#aaaaaa")),
            legend=uplot.Legend(show=False),
            height=140,
        )

    def _show_jumps(self, grounding: Grounding) -> None:
        if self._jumps is not None:
            self._jumps.remove()
            self._jumps = None
        labels = [f"{interval.start}–{interval.end}" for interval in grounding.intervals[:MAX_JUMPS]]
        if labels:
            self._jumps = jumps = self._server.gui.add_button_group("Go to", labels)
            jumps.on_click(lambda _: self._jump(jumps.value))

    def _drop_answer(self) -> None:
        for handle in (self._curve, self._jumps):
            if handle is not None:
                handle.remove()
        self._curve = self._jumps = None

    def _stop_server(self) -> None:
        with _quiet():
            self._server.stop()


def _answer_text(grounding: Grounding) -> str:
    found = [f"- frames {i.start} to {i.end}, most at {i.peak}, score {i.score:.2f}" for i in grounding.intervals]
    return "\n".join([f"“{escape(grounding.prompt)}”", "", *(found or ["not found in this run"])])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """viser prints where it listens, without the token that is needed there."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
