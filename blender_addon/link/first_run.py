"""What a newcomer has to do next until a backend listens: one thing at a time, with one button each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy

from .. import declare
from ..ui import preferences
from ..ui.operators import refuse
from . import backends, session
from .backends import BackendError
from .types import State

RUN_FILE = "run.json"


@dataclass(frozen=True)
class Step:
    """What is next.

    Attributes:
        sentence: how things stand.
        icon: of the sentence.
        operator: what the one button does; empty where there is nothing to do but wait.
        text: of the button.
        button_icon: of the button.
    """

    sentence: str
    icon: declare.Icon
    operator: str = ""
    text: str = ""
    button_icon: declare.Icon = "NONE"


_STATE_ICONS: dict[State, declare.Icon] = {
    State.OFF: "UNLINKED",
    State.CONNECTING: "SORTTIME",
    State.READY: "CHECKMARK",
    State.LOST: "ERROR",
    State.REFUSED: "ERROR",
}


def step() -> Step:
    """How things stand with the backend, and what comes next."""
    link, chosen = session.current.link, preferences.get()
    status = link.status
    icon = _STATE_ICONS[status.state]
    if link.backend:
        said = status.sentence if link.ready else "The backend starts."
        return Step(said, icon, "legs4d.stop_backend", "Stop Backend", "CANCEL")
    if link.ready:
        return Step(status.sentence, icon, "legs4d.disconnect", "Disconnect", "UNLINKED")
    if chosen.connection != "LOCAL" or status.state is State.REFUSED:
        if link.client is None:
            return Step(status.sentence, icon, "legs4d.connect", "Connect", "LINKED")
        return Step(status.sentence, icon, "legs4d.disconnect", "Stop Trying", "X")
    try:
        command = backends.command(_path(chosen.command), near=_path(chosen.root))
    except BackendError:
        said = "The backend reads captures and answers prompts. It was not found on this machine."
        return Step(said, "INFO", "legs4d.choose_command", "Show Where legs4d Is…", "FILEBROWSER")
    if not chosen.root:
        said = "The backend is there. Which folder has your runs and datasets?"
        return Step(said, "INFO", "legs4d.choose_root", "Choose Folder…", "FILE_FOLDER")
    return Step(
        f"Runs and datasets: {Path(chosen.root).name or chosen.root}, by {_where(command[0])}.",
        "FILE_FOLDER",
        "legs4d.start_backend",
        "Start Backend",
        "PLAY",
    )


class LEGS4D_OT_choose_command(bpy.types.Operator):
    """Show where legs4d is installed: the command itself, its Python environment, or a checkout. It is asked once"""

    bl_idname = "legs4d.choose_command"
    bl_label = "Show Where legs4d Is"

    filepath = declare.string("legs4d", subtype="FILE_PATH", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """Asks for the file or folder."""
        declare.windows().fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Remembers it, if there is a legs4d."""
        try:
            backends.command(self.filepath)
        except BackendError as problem:
            return refuse(self, f"{problem}.")
        preferences.get().command = self.filepath
        return {"FINISHED"}


class LEGS4D_OT_choose_root(bpy.types.Operator):
    """Choose the folder with your runs and datasets, which a backend started here may read and write. A run itself \
may be chosen: it is imported as soon as the backend is there"""

    bl_idname = "legs4d.choose_root"
    bl_label = "Choose Folder"

    directory = declare.string("Folder", subtype="DIR_PATH", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """Asks for the folder."""
        declare.windows().fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Remembers it and starts the backend."""
        chosen = Path(bpy.path.abspath(self.directory)).resolve()
        if not chosen.is_dir():
            return refuse(self, f"{chosen} is no folder.")
        if (chosen / RUN_FILE).is_file():
            session.current.runs.wanted = chosen.name
            chosen = chosen.parent
        preferences.get().root = str(chosen)
        if session.current.link.backend is None and not session.current.link.ready:
            return declare.ops().start_backend()
        return {"FINISHED"}


def _path(chosen: str) -> str:
    return bpy.path.abspath(chosen) if chosen else ""


def _where(command: str) -> str:
    """A command as a person knows it."""
    home = str(Path.home())
    return f"~{command[len(home) :]}" if command.startswith(home) else command


CLASSES = (LEGS4D_OT_choose_command, LEGS4D_OT_choose_root)
