"""Bitmaps of torch.save, as SAGA keeps them: masks of a picture, their scales, and which Gaussians are selected.

    sam_masks/NAME.pt     bool [masks, height, width], of the picture NAME
    NAME.pt               bool [Gaussians], a selection
    labels.pt             int64 [Gaussians], the smallest segment of each, -1 for none

SAGA's mask_scales/ are not read: they swap axes and leave out alpha, so sizes are measured anew (`trained.scales`).
Nothing in a file is ever executed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.gaussians.formats.tensors import UnreadableTensorsError, load_tensors
from legs4d.gaussians.store.files import clear_write_errors, write_file
from legs4d.segment.masks.frame_masks import MOST_MASKS


def read_masks(path: Path) -> NDArray[np.bool_]:
    """[n, h, w]. Raises DatasetError when the file holds anything else."""
    values = _tensor(path)
    if values.ndim == 2:
        values = values[None]
    if values.ndim == 4 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 3:
        raise _wrong(path, f"a tensor of shape {tuple(values.shape)}", "masks [masks, height, width]")
    if len(values) > MOST_MASKS:
        raise _wrong(path, f"{len(values):,} masks of one picture", f"at most {MOST_MASKS:,}")
    return np.asarray((values > 0).numpy())


def read_bitmap(path: Path, count: int) -> NDArray[np.float32]:
    """[count] 0 or 1 (or what lies between) of a selection's file.

    Raises:
        DatasetError: it is of other Gaussians, or of none.
    """
    values = _tensor(path).squeeze()
    if values.ndim != 1 or len(values) != count:
        raise _wrong(
            path, f"a tensor of shape {tuple(values.shape)}", f"a value for each of the run's {count} Gaussians"
        )
    numbers = np.nan_to_num(values.float().numpy())
    if not ((numbers >= 0) & (numbers <= 1)).all() and len(np.unique(numbers)) > 2:
        told = f"numbers from {numbers.min():g} to {numbers.max():g}"
        raise _wrong(path, told, "true and false, or shares of 0 to 1; labels are chosen from by `== NUMBER`")
    found = np.clip(numbers, 0, 1)
    if not (found > 0).any():
        raise DatasetError("selects nothing", where=str(path), fix="give a file with some true values")
    return np.asarray(found, np.float32)


def write_bitmap(path: Path, values: NDArray[np.bool_] | NDArray[np.int64]) -> None:
    """A selection [N] bool, or labels [N] int64, as a file of torch.save."""
    import io

    import torch

    content = io.BytesIO()
    torch.save(torch.from_numpy(np.ascontiguousarray(values)), content)
    with clear_write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content.getvalue())


def _tensor(path: Path) -> Any:
    import torch

    try:
        values = load_tensors(path)
    except FileNotFoundError as error:
        raise DatasetError("there is no such file", where=str(path)) from error
    except UnreadableTensorsError as error:
        raise _wrong(path, str(error), "one tensor, written by torch.save") from error
    if not isinstance(values, torch.Tensor):
        raise _wrong(path, f"a {type(values).__name__}", "one tensor, written by torch.save")
    if values.is_complex():
        raise _wrong(path, "complex numbers", "true and false, or shares")
    return values


def _wrong(path: Path, found: str, expected: str) -> DatasetError:
    return DatasetError(f"holds {found}", where=str(path), fix=f"it must hold {expected}")
