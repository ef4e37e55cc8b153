"""The one session of this Blender: a connection and everything that goes over it, driven by a timer.

All of it runs on the main thread, in `pump`: a timer calls it in a window, tests and scripts call it themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
from bpy.app.handlers import persistent

from .. import declare
from ..sequence import handlers
from ..splats.imports import Imports
from ..splats.sending import Sendings
from ..ui import preferences
from ..ui.tasks import Tasks
from .connection import Link
from .jobs import Jobs
from .questions import Questions
from .runs import Runs
from .things import Things
from .transfers import Transfers
from .types import State

BUSY_SECONDS, IDLE_SECONDS = 0.02, 0.25
"""How often the timer looks: while answers are expected, and otherwise."""
PUMP_SECONDS = 0.01
"""How long one look may keep the interface waiting, but for the call that is under way then."""


class Session:
    """A connection, and what goes over it: lists of runs, frames, prompts, jobs."""

    def __init__(self) -> None:
        self.link = Link()
        self.transfers = Transfers(self.link)
        self.tasks = Tasks()
        self.runs = Runs(self.link, self.transfers, self.tasks)
        self.things = Things(self.link)
        self.runs.on_opened.append(self.things.fetch)
        self.imports = Imports(self.runs, self.tasks)
        self.sendings = Sendings(self.link, self.runs)
        self.questions = Questions(self.link)
        self.jobs = Jobs(self.link, self.runs, self.things)
        self.expecting: list[Callable[[], bool]] = []
        """Whoever else waits for answers, so that they are looked for often."""
        self.link.on_ready = [self.runs.refresh, self.jobs.watch, self.transfers.resume, self.questions.resume]

    @property
    def busy(self) -> bool:
        """Whether something is expected soon."""
        connecting = self.link.status.state is State.CONNECTING
        reading = self.imports.busy or self.sendings.busy
        waiting = reading or self.runs.opening or self.transfers.busy or self.questions.busy or self.things.busy
        if any(waits() for waits in self.expecting):
            return True
        return bool(connecting or self.tasks.busy or waiting)

    def pump(self, seconds: float = PUMP_SECONDS) -> bool:
        """Do what is due; whether there was anything."""
        arrived = self.imports.pump()
        # In turn: all together would be too long.
        changed = arrived or self.tasks.pump(seconds) or self.link.pump(seconds)
        if self.link.ready:
            self.transfers.aim()
        return changed


current = Session()


def register() -> None:
    """Start the timer; connect if the preferences say so and somebody is looking."""
    handlers.add(_HANDLERS)
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=IDLE_SECONDS, persistent=True)
    chosen = preferences.get()
    if not bpy.app.background and chosen.connection == "LOCAL" and chosen.connect_at_start:
        current.link.connect()


def unregister() -> None:
    """Stop the timer, the connection, and the backend if it was started here."""
    global current
    handlers.remove(_HANDLERS)
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    current.imports.close()
    current.link.close()
    current = Session()


def _tick() -> float:
    if current.pump():
        _redraw_panels()
    return BUSY_SECONDS if current.busy else IDLE_SECONDS


@persistent
def _legs4d_session_load(*_: Any) -> None:
    """The file that was opened may show runs that were moved since."""
    if current.link.ready:
        current.runs.refresh()


_HANDLERS = (("load_post", _legs4d_session_load),)


def _redraw_panels() -> None:
    """Of the sidebars only: the view itself is drawn again when points change, and may take long."""
    for window in declare.windows().windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
