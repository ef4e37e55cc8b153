"""The sample that comes with the extension: a run with its answers, to play with before there is a backend.

`scripts/demo/sample.py` makes it of the demo's run; the build puts it into the zip.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import bpy

from .. import declare
from ..cache import storage
from ..cache.frames import MANIFEST, CacheError, RunCache
from ..layers import contrast, layers
from ..link import session
from ..sequence import display
from ..sequence.sequence import Sequence, with_uid
from ..ui import preferences
from ..ui.operators import refuse

MARK = "sample.txt"
"""In the unpacked folder: which sample it is of."""
FILE = Path(__file__).parents[1] / "sample.legs4d"


def is_there() -> bool:
    """Whether this build of the extension has a sample."""
    return FILE.is_file()


def unpack(root: Path) -> RunCache:
    """The sample's cache under `root`, unpacked where it is not there yet, or is that of another version of the
    extension. CacheError if that cannot be written."""
    try:
        with zipfile.ZipFile(FILE) as packed:
            name = next(one.split("/")[0] for one in packed.namelist() if one.endswith(MANIFEST))
            marks = " ".join(f"{one.CRC:08x}" for one in packed.infolist())
            mark = root / name / MARK
            if not mark.is_file() or mark.read_text() != marks:
                shutil.rmtree(root / name, ignore_errors=True)
                root.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=root, prefix=".sample-") as scratch:
                    packed.extractall(scratch)
                    (Path(scratch) / name / MARK).write_text(marks)
                    (Path(scratch) / name).rename(root / name)
    except (OSError, zipfile.BadZipFile, StopIteration) as error:
        raise CacheError(f"The sample {FILE.name} cannot be unpacked into {root} ({error})") from error
    return RunCache.open(root / name)


class LEGS4D_OT_open_sample(bpy.types.Operator):
    """Open a small capture with its prompts answered, to try everything but new prompts. Needs no backend"""

    bl_idname = "legs4d.open_sample"
    bl_label = "Open the Sample"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether there is one."""
        if not is_there():
            cls.poll_message_set("This build of the extension has no sample")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Unpack it, and make its objects beside the interface; without a window, now."""
        try:
            cache = unpack(preferences.cache_root())
        except CacheError as problem:
            return refuse(self, f"{problem}.")
        storage.adopt(cache)
        made: list[int] = []
        tasks = session.current.tasks
        tasks.add(session.current.runs.make_sequence(cache, 1, True, lambda new: made.append(new.empty.session_uid)))
        tasks.add(_answered(made, cache))
        if bpy.app.background:
            while tasks.busy:
                tasks.pump(1.0)
        return {"FINISHED"}


def _answered(made: list[int], cache: RunCache) -> Iterator[None]:
    """Have the sequence's prompts answered, one at a time."""
    for key in sorted(cache.prompt_keys()):
        yield
        shown: Sequence | None = with_uid(made[0]) if made else None
        answer = cache.answer(key)
        if shown is None or answer is None:
            continue
        layer_id = layers.add(shown, answer.prompt)
        scene = shown.empty.users_scene[0]
        layers.take_answer(shown, layer_id, key, answer, scene)
        contrast.choose(shown, layer_id)
        display.update(shown.empty)
        if answer.intervals and len(shown.layers) == 1:  # so that the first thing to be seen is what prompts do
            scene.frame_set(shown.scene_frame(answer.intervals[0][2]))
    if made and (shown := with_uid(made[0])) is not None:
        shown.its.active_layer = 0  # the one that happens at the playhead


CLASSES = (LEGS4D_OT_open_sample,)
