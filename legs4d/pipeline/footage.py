"""The footage of a run, with the objects in it."""

from __future__ import annotations

from pathlib import Path

from legs4d.config import DatasetSettings
from legs4d.context import Context
from legs4d.gaussians.store.footage import found_objects_of
from legs4d.gaussians.store.run import Run
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.found_objects import found_beside
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence


def read_footage(
    dataset: str | Path,
    out: Path,
    there: Run | None,
    reading: DatasetSettings,
    context: Context,
    *,
    objects: str | Path | bool,
    again: bool | str,
) -> Sequence:
    """The footage of a run that is to be made at `out`, with the objects in it; `there` is the run, if it is.

    Args:
        objects, again: as in `pipeline.train`.

    Raises:
        DatasetError: the footage, or the folder of objects, cannot be used.
        Stopped: it was told to stop while it looked for objects.
    """
    if not isinstance(objects, bool):
        return open_sequence(dataset, reading, context, found=Path(objects))
    if objects and there is not None and there.stages and not again:
        objects_then = found_objects_of(there.info)
        beside = found_beside(Path(dataset))
        if objects_then is False and beside is not None:
            context.tell(f"{there.path} was made without the objects in {beside.name}; --again makes it with them.")
        return open_sequence(dataset, reading, context, found=objects_then)
    sequence = open_sequence(dataset, reading, context, found=objects)
    if not objects or not isinstance(sequence, MotionMasks):
        return sequence
    from legs4d.priors.objects.unasked import find_unasked
    from legs4d.reconstruct.stages import choose_device

    folder = find_unasked(sequence, Path(dataset), out, choose_device(context.engine), context)
    return sequence if folder is None else open_sequence(dataset, sequence.reading, context, found=folder)
