"""Animated settings of layers in a baked file: the extension's own properties are not there, so the empty has keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy

from .. import look, names
from ..layers import curves, layers
from ..sequence.sequence import Sequence

GROUP = "4-LEGS settings"
_WIDTH = {"enabled": 1, "threshold": 1, "softness": 1, "color": 3}


class KeyedSettings:
    """What a sequence's layers have animated: noted frame by frame, then keyed, and what follows it turned there.

    Args:
        shown: the sequence, with its layers as they are to be baked.
    """

    def __init__(self, shown: Sequence) -> None:
        self._shown = shown
        keyed = curves.animated_paths(shown.empty, layers.LAYERS_PATH)
        self._paths = {
            (number, name): layers.setting_path(number, name)
            for number in range(len(shown.layers))
            for name in _WIDTH
            if layers.setting_path(number, name) in keyed
        }
        self._frames: list[float] = []
        self._values: dict[tuple[int, str], list[tuple[float, ...]]] = {which: [] for which in self._paths}

    def note(self, clock: float, depsgraph: bpy.types.Depsgraph) -> None:
        """Remember the settings as they were evaluated, at a scene frame as F-curves count."""
        self._frames.append(clock)
        evaluated = Sequence(self._shown.empty.evaluated_get(depsgraph))
        for (number, name), values in self._values.items():
            value: Any = getattr(evaluated.layers[number], name)
            values.append(tuple(map(float, value)) if name == "color" else (float(value),))

    def make_native(self, undo: list[Callable[[], object]]) -> None:
        """Key custom properties of the empty, and have the node group follow those; `undo` takes it back."""
        for which, path in self._paths.items():
            self._key(*which, path, undo)

    def _key(self, number: int, name: str, path: str, undo: list[Callable[[], object]]) -> None:
        empty, width = self._shown.empty, _WIDTH[name]
        prop = names.curve_property(self._shown.layers[number].layer_id, name)
        place, rows = f'["{prop}"]', self._values[number, name]
        empty[prop] = rows[0] if width > 1 else rows[0][0]
        undo.append(lambda: empty.pop(prop, None))
        kind = "CONSTANT" if name == "enabled" else "LINEAR"
        for index in range(width):
            curves.write(empty, place, self._frames, [row[index] for row in rows], kind, GROUP, index)
            undo.append(lambda index=index: curves.remove(empty, place, index))  # type: ignore[misc]
        for variable in self._followers(path):
            before = variable.data_path
            variable.data_path = place + before.removeprefix(path)
            undo.append(lambda variable=variable, before=before: setattr(variable, "data_path", before))  # type: ignore[misc]

    def _followers(self, path: str) -> list[Any]:
        """Targets of the node group's drivers that read this path, or a component of it."""
        modifiers: list[Any] = [child.modifiers.get(look.MODIFIER) for child in self._shown.objects]
        trees = {one.node_group for one in modifiers if one is not None and one.node_group is not None}
        return [
            target
            for tree in trees
            for curve in (tree.animation_data.drivers if tree.animation_data is not None else ())
            for variable in curve.driver.variables
            for target in variable.targets
            if target.data_path == path or target.data_path.startswith(f"{path}[")
        ]
