"""OpenCV, which the helpers without learned weights are made of; not everybody has it."""

from __future__ import annotations

from types import ModuleType

from legs4d.errors import Legs4dError


def opencv(purpose: str) -> ModuleType:
    """The module. Raises Legs4dError where it is not installed."""
    try:
        import cv2
    except ImportError as error:
        fix = "install it with `pip install 'legs4d[readers]'`"
        raise Legs4dError(f"{purpose} needs the package opencv-python-headless", where="priors", fix=fix) from error
    return cv2
