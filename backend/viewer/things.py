"""The page's part on things: click on one, choose its scale, name it, see it alone, keep it in the run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.viewer.pointing import Pointing
from backend.viewer.scene import ShownRun
from legs4d.errors import Legs4dError
from legs4d.segment.segments import has_segments
from legs4d.segment.selecting import Mode

if TYPE_CHECKING:
    import viser

FOCAL = 800.0
"""Pixels, of a browser that does not say how it looks."""
MODES: dict[str | None, Mode] = {None: "new", "shift": "add", "cmd/ctrl": "subtract"}
"""What a click means with these keys held."""


class Things:
    """Controls and clicks.

    Args:
        server: of the page.
        shown: what it shows; its `selected` and `alone` are set here.
        lock: held while the page changes.
        redraw: shows the frame anew.
        frame: the one that is shown.
    """

    def __init__(
        self,
        server: viser.ViserServer,
        shown: ShownRun,
        lock: threading.RLock,
        redraw: Callable[[], None],
        frame: Callable[[], int],
    ) -> None:
        self._shown, self._lock, self._redraw, self._frame = shown, lock, redraw, frame
        gui = server.gui
        with gui.add_folder("Things"):
            if not has_segments(shown.run):
                gui.add_markdown("no segments yet: `legs4d segments RUN` makes them")
                return
            self._pointing = Pointing(shown.run)
            shown.selected = self._pointing.at
            gui.add_markdown("click: select · Shift: add · Ctrl: take away")
            self._scale = gui.add_slider("Scale", min=0.0, max=1.0, step=0.01, initial_value=self._pointing.scale)
            with gui.add_form("In words") as form:
                self._words = gui.add_text("Thing", "")
                find = gui.add_button("Select")
            self._alone = gui.add_checkbox("Alone", False)
            undo, clear = gui.add_button("Undo"), gui.add_button("Deselect")
            self._name = gui.add_text("Name", "selection")
            save = gui.add_button("Save")
            self.said = gui.add_markdown("")
        find.on_click(lambda _: form.submit())
        form.on_submit(lambda _: self._do(lambda: self._pointing.ask(self._words.value, "new")))
        self._scale.on_update(lambda _: self._do(lambda: self._pointing.rescale(self._scale.value)))
        self._alone.on_update(lambda _: self.show_alone(self._alone.value))
        undo.on_click(lambda _: self._do(self._undo))
        clear.on_click(lambda _: self._do(self._clear))
        save.on_click(lambda _: self.save(self._name.value))
        for keys in MODES:
            server.scene.on_click(modifier=keys)(self._clicked)  # type: ignore[arg-type]

    def point(self, origin: Any, direction: Any, focal: float = FOCAL, mode: Mode = "new") -> None:
        """Select what is along a ray in the run's axes; what is wrong is said on the page."""
        self._do(lambda: self._pointing.click(self._frame(), np.asarray(origin), np.asarray(direction), focal, mode))

    def rescale(self, scale: float) -> None:
        """Mean what was clicked at another scale, on the slider too."""
        self._scale.value = scale  # type: ignore[misc]  # as in `page`
        self._do(lambda: self._pointing.rescale(scale))

    def show_alone(self, alone: bool) -> None:
        """Show nothing but what is selected, or all."""
        with self._lock:
            self._shown.alone = alone
            self._redraw()

    def save(self, name: str) -> None:
        """Keep what is selected in the run."""
        self._do(lambda: "kept as “{name}”, {gaussians} Gaussians".format(**self._pointing.save(name)))

    def _clicked(self, event: Any) -> None:
        camera = event.client.camera
        height = getattr(camera, "image_height", 0) or 0
        focal = height / 2 / np.tan(camera.fov / 2) if height else FOCAL
        self.point(event.ray_origin, event.ray_direction, float(focal), MODES[event.modifier])

    def _undo(self) -> str:
        self._pointing.undo()
        return self._pointing.describe()

    def _clear(self) -> str:
        self._pointing.clear()
        return self._pointing.describe()

    def _do(self, work: Callable[[], str]) -> None:
        with self._lock:
            try:
                self.said.content = escape(work())
            except Legs4dError as error:
                self.said.content = f"⚠ {escape(str(error))}"
                return
            self._redraw()
