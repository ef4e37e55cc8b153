"""Objects that move, made by the backend of videos and pictures that are chosen in the file browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy

from .. import declare
from ..link import session
from ..link.operators import NeedsBackend
from ..link.types import Failure
from ..link.upload import Upload
from ..ui.operators import refuse

PATTERN = "*.mp4;*.mov;*.mkv;*.m4v;*.avi;*.webm;*.png;*.jpg;*.jpeg;*.webp;*.tif;*.tiff"
PRIORS = (
    ("auto", "Best", "The best that the file allows: a turntable's round, a solid of revolution, a relief"),
    ("turntable", "Turntable", "A video of one even round of a thing that does not move otherwise"),
    ("revolve", "Revolved", "A solid of revolution: vases, bottles"),
    ("inflate", "Relief", "The silhouette blown up and mirrored; a preview"),
)

_under_way: list[Upload] = []
"""Files on their way to a backend that does not see this machine's disk."""


class LEGS4D_OT_make_objects(NeedsBackend, bpy.types.Operator):
    """Have the backend make an object that moves of each video or picture that is chosen; each becomes a run in the \
list, and what no picture shows of it is a guess"""

    bl_idname = "legs4d.make_objects"
    bl_label = "Object from Video / Picture"

    filter_glob = declare.string(default=PATTERN, options={"HIDDEN"})
    directory = declare.string(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files = declare.collection(bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})
    prior = declare.enum("Shape", "Where the object's shape comes from", PRIORS)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        declare.windows().fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> declare.Result:
        chosen = [Path(self.directory) / one.name for one in self.files if one.name]
        missing = [path for path in chosen if not path.is_file()]
        if not chosen or missing:
            return refuse(self, f"'{missing[0]}' is no file." if missing else "Choose videos or pictures.")
        for path in chosen:
            make(path, self.prior)
        return {"FINISHED"}


def make(path: Path, prior: str) -> None:
    """Have a run made of a file, which is sent first where it lies under none of the backend's folders."""
    out = f"{path.stem}-object"
    when_seen(path, lambda name: session.current.jobs.make_object(name, out, prior))


def when_seen(path: Path, then: Callable[[str], None]) -> None:
    """Call `then` with what the backend calls a file: at once where it lies under one of its folders, else when it has
    been sent."""
    link, file = session.current.link, path.resolve()
    for root in (Path(root) for root in link.server.get("roots", ())):
        if file.is_relative_to(root.resolve()):
            then(file.relative_to(root.resolve()).as_posix())
            return
    if link.client is None:
        return

    def arrived(name: str) -> None:
        _under_way.remove(sending)
        then(name)

    def failed(failure: Failure) -> None:
        _under_way.remove(sending)
        link.say_failure(failure)

    sending = Upload(link.client, file, arrived, failed)
    _under_way.append(sending)
    link.message = f"Sending {file.name}."
    sending.begin()


CLASSES = (LEGS4D_OT_make_objects,)
