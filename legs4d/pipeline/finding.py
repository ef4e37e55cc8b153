"""Objects in footage, found before anything is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from legs4d.config import DatasetSettings
from legs4d.context import QUIET, Context
from legs4d.scene.readers import open_sequence


def find_objects(
    dataset: str | Path,
    out: str | Path | None = None,
    context: Context = QUIET,
    *,
    reading: DatasetSettings | None = None,
    prompts: tuple[str, ...] = (),
    priors: Path | None = None,
    again: bool = False,
) -> dict[str, Any]:
    """Find what moves in footage, or what words mean, with names and masks.

    Args:
        out: folder to make; by default DATASET.objects, beside the dataset.
        reading: how the footage is read, as in `train`.
        prompts: what alone is looked for ("a ball"), moving or not, by SAM 3; nothing for all that moves.
        priors: folder of helpers' weights, if not the usual one.
        again: replace what was found otherwise.

    Returns:
        As `priors.objects.find.find_objects`.

    Raises:
        Legs4dError: there are prompts, and the weights of SAM 3 are not there; else as that.
    """
    from legs4d.priors.objects.find import find_objects as find
    from legs4d.priors.objects.find import open_helpers, open_readers
    from legs4d.priors.objects.folder import default_folder
    from legs4d.reconstruct.stages import choose_device

    sequence = open_sequence(dataset, reading or DatasetSettings(), context, found=False)
    device = choose_device(context.engine)
    helpers = open_readers(prompts, device, priors) if prompts else open_helpers(device, priors)
    folder = default_folder(Path(dataset)) if out is None else Path(out)
    return find(sequence, folder, helpers, context, again=again)
