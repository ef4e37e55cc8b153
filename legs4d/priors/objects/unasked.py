"""Objects of footage without masks, which `train` finds by itself where the helpers are there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from legs4d.context import Context
from legs4d.errors import DatasetError
from legs4d.priors.cache import is_there, priors_folder
from legs4d.priors.objects.find import HELPERS, find_objects, open_helpers
from legs4d.priors.objects.folder import default_folder
from legs4d.priors.objects.places import LEAST_CAMERAS
from legs4d.priors.objects.tracks import SHORTEST
from legs4d.priors.registry import find_prior
from legs4d.scene.readers import open_finer
from legs4d.scene.sequence import Sequence

if TYPE_CHECKING:
    import torch

ENOUGH_PIXELS = 1_000_000
"""Of a picture, for the networks, which look at 416 and 320 pixels a side."""


def find_unasked(sequence: Sequence, dataset: Path, out: Path, device: torch.device, context: Context) -> Path | None:
    """The folder of objects that are found in footage without masks, made if need be.

    Nothing is fetched: it is said what would be. The folder lies beside the dataset, or beside the run where nothing
    may be written there.

    Args:
        sequence: the footage, as it is to be reconstructed; objects are looked for in larger pictures.
        out: of the run.
        device: where the networks run.

    Returns:
        None where there are too few cameras, helpers are missing, or nothing is found, all but the first of which is
        told.

    Raises:
        Stopped: it was told to stop; the same call goes on.
        RunError: another process looks for them.
    """
    cameras = [len(sequence.cameras("train", frame)) for frame in range(sequence.num_frames)]
    if min(cameras) < LEAST_CAMERAS or len(cameras) < SHORTEST:
        return None
    missing = [name for name in HELPERS if not is_there(find_prior(name), priors_folder())]
    if missing:
        context.tell(
            f"The footage has no masks. `legs4d priors get {' '.join(missing)}` fetches what would find the objects "
            "in it; until then what moves is its foreground."
        )
        return None
    beside = default_folder(dataset)
    folder = beside if os.access(beside.parent, os.W_OK) else out.absolute().with_name(f"{out.name}.objects")
    context.tell(f"The footage has no masks: its objects are looked for, as by `legs4d objects`, and kept in {folder}.")
    try:
        find_objects(open_finer(sequence, ENOUGH_PIXELS), folder, open_helpers(device), context)
    except DatasetError as error:
        context.tell(f"No objects: {error.what}. What moves is the footage's foreground.")
        return None
    return folder
