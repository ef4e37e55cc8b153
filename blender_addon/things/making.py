"""Objects that move, made by the backend of videos and pictures that are chosen in the file browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import bpy

from .. import declare
from ..link import session
from ..link.operators import NeedsBackend
from ..link.runs import Placing
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

WAYS = (
    ("roads", "Fitted", "One shape that is bent as the video moves; sharp from the front"),
    (
        "onepass",
        "In One Pass",
        "By a small network that comes with the backend, sixteen frames at once: quick, blurred",
    ),
    ("refined", "In One Pass, Refined", "The same, and a minute more that fits one set of Gaussians to the video"),
)

MADE = {"roads": 1.46, "onepass": 1.1, "refined": 1.1}
"""Longest side of what one camera's pictures make, in the run's units: 0.8 of what a lens sees, of 40° at 2.5 or of
49.1° at 1.5."""
APART = 1.25
"""Of an object's size: from one to the next, where several files are chosen."""
PREVIEW = 8.0
"""Of the chosen file's picture, in buttons."""
THUMBNAILS = (("THUMBNAIL", "Thumbnails", "Pictures of the files", "", 3),)
"""Blender's file browser shows files as an operator's `display_type` says, by this number."""

_under_way: list[Upload] = []
"""Files on their way to a backend that does not see this machine's disk."""


class LEGS4D_OT_make_objects(NeedsBackend, bpy.types.Operator):
    """Have the backend make an object that moves of each video or picture that is chosen; it stands at the 3D cursor \
when it is done, and what no picture shows of it is a guess"""

    bl_idname = "legs4d.make_objects"
    bl_label = "Object from Video / Picture"

    filter_glob = declare.string(default=PATTERN, options={"HIDDEN"})
    directory = declare.string(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files = declare.collection(bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})
    display_type = declare.enum("Display", items=THUMBNAILS, options={"HIDDEN", "SKIP_SAVE"})
    way = declare.enum("Made", "How the object is made", WAYS)
    prior = declare.enum("Shape", "Where the object's shape comes from", PRIORS)
    size = declare.number("Size", "Of its longest side, in the scene", default=1.0, min=1e-4, subtype="DISTANCE")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        self.display_type = "THUMBNAIL"
        declare.windows().fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context: bpy.types.Context) -> None:
        """Beside the files: the one under the mouse's last click, large, and how many are chosen."""
        layout: Any = self.layout
        layout.use_property_split = True
        layout.prop(self, "way")
        if self.way == "roads":
            layout.prop(self, "prior")
        layout.prop(self, "size")
        seen: Any = getattr(context, "active_file", None)
        if seen is not None and seen.preview_icon_id:
            layout.template_icon(icon_value=seen.preview_icon_id, scale=PREVIEW)
            layout.label(text=seen.name)
        chosen = len(getattr(context, "selected_files", ()) or ())
        if chosen > 1:
            layout.label(text=f"{chosen} files: {chosen} objects, side by side")

    def execute(self, context: bpy.types.Context) -> declare.Result:
        chosen = [Path(self.directory) / one.name for one in self.files if one.name]
        missing = [path for path in chosen if not path.is_file()]
        empty = [path for path in chosen if path not in missing and not path.stat().st_size]
        if not chosen or missing or empty:
            wrong = [f"'{path}' is no file." for path in missing] + [f"'{path}' is empty." for path in empty]
            return refuse(self, wrong[0] if wrong else "Choose videos or pictures.")
        scene = context.scene
        assert scene is not None
        first: Any = scene.cursor.location
        for number, (path, out) in enumerate(zip(chosen, runs_of(chosen), strict=True)):
            here = (first[0] + APART * self.size * number, first[1], first[2])
            make(path, out, self.how(), Placing(here, self.size / MADE[self.way]))
        return {"FINISHED"}

    def how(self) -> dict[str, Any]:
        """What the backend is told of it."""
        if self.way == "roads":
            return {"prior": self.prior}
        return {"method": "onepass", "refine": self.way == "refined"}


def runs_of(paths: Sequence[Path]) -> list[str]:
    """A run's name for each of these files; those that differ by their suffix alone are told apart by it."""
    stems = [path.stem.casefold() for path in paths]
    return [
        f"{path.stem}-object" if stems.count(stem) == 1 else f"{path.stem}-{path.suffix[1:]}-object"
        for path, stem in zip(paths, stems, strict=True)
    ]


def make(path: Path, out: str, how: Mapping[str, Any], placing: Placing) -> None:
    """Have the run `out` made of a file, which is sent first where it lies under none of the backend's folders."""
    when_seen(path, lambda name: session.current.jobs.make_object(name, out, how, placing))


def when_seen(path: Path, then: Callable[[str], None]) -> None:
    """Call `then` with what the backend calls a file: at once where it lies under one of its folders, else when it has
    been sent."""
    link, file, known = session.current.link, path.resolve(), called_there(path)
    if known is not None:
        then(known)
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


def called_there(path: Path) -> str | None:
    """What the backend calls a file or folder that lies under one of its own; None where none is above it."""
    here = path.resolve()
    for root in (Path(root).resolve() for root in session.current.link.server.get("roots", ())):
        if here.is_relative_to(root):
            return here.relative_to(root).as_posix()
    return None


CLASSES = (LEGS4D_OT_make_objects,)
