"""Reads what torch.save wrote: tensors, numbers, text and what they are kept in. Nothing in a file is ever executed."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError),
    *(TypeError, ValueError, struct.error),
)
"""What PyTorch's reader stumbles over in files that torch.save did not write, or that were cut or changed since."""


class UnreadableTensorsError(ValueError):
    """A file is damaged, or holds more than tensors; its text says which, without a path."""


def load_tensors(path: Path, also: Sequence[Any] = ()) -> Any:
    """The content of a file of torch.save, on the CPU.

    Args:
        also: classes and functions that may be built from, beside tensors; see `torch.serialization.safe_globals`.

    Raises:
        FileNotFoundError: there is none.
        UnreadableTensorsError: it is damaged, or holds anything else.
    """
    import torch

    try:
        with torch.serialization.safe_globals(list(also)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except pickle.UnpicklingError as error:
        # PyTorch's own text advises to load it with code and all.
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise UnreadableTensorsError(f"more than tensors, {named[1]}" if named else "damaged") from error
    except DAMAGE as error:
        raise UnreadableTensorsError("damaged") from error
