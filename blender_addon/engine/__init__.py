"""The render engine "4-LEGS splats": Blender's cameras and passes, the backend's rasteriser."""

from __future__ import annotations

from ..link import session
from . import composite, economy, guard, panel, preview, properties
from .engine import CLASSES as ENGINE_CLASSES
from .engine import ENGINE, ask, disconnect

__all__ = ["CLASSES", "ENGINE", "ask", "disconnect", "preview", "register", "unregister"]

CLASSES = (*properties.CLASSES, *ENGINE_CLASSES, *composite.CLASSES, *panel.CLASSES)


def register() -> None:
    """After the classes are registered."""
    panel.adopt()
    economy.register()
    composite.register()
    guard.register()
    session.current.link.on_ready.append(preview.redraw)
    session.current.expecting.append(preview.busy)


def unregister() -> None:
    """Before the classes are unregistered."""
    preview.forget()
    disconnect()
    economy.unregister()
    composite.unregister()
    guard.unregister()
    panel.release()
