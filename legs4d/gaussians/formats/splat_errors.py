"""Errors of the readers that the extension shares, as the library raises them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from legs4d.errors import DatasetError
from legs4d.portable.splats import SplatFileError

Result = TypeVar("Result")


def told_of(read: Callable[[], Result]) -> Result:
    """What `read` returns; a SplatFileError becomes a DatasetError of the same words."""
    try:
        return read()
    except SplatFileError as error:
        raise DatasetError(error.what, where=error.where, fix=error.fix) from error
