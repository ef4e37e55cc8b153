"""Writing node trees as formulas: values know their tree, and arithmetic on them adds nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy


@dataclass(frozen=True)
class Value:
    """An output socket, to calculate with: `+ - *` and `/` take values and numbers."""

    tree: bpy.types.NodeTree
    socket: bpy.types.NodeSocket

    def _math(self, operation: str, *operands: Any) -> Value:
        return math(self.tree, operation, *operands)

    def __add__(self, other: Any) -> Value:
        return self._math("ADD", self, other)

    def __sub__(self, other: Any) -> Value:
        return self._math("SUBTRACT", self, other)

    def __rsub__(self, other: Any) -> Value:
        return self._math("SUBTRACT", other, self)

    def __mul__(self, other: Any) -> Value:
        return self._math("MULTIPLY", self, other)

    def __truediv__(self, other: Any) -> Value:
        return self._math("DIVIDE", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self._math("DIVIDE", other, self)

    __radd__, __rmul__ = __add__, __mul__


def put(tree: bpy.types.NodeTree, source: Any, target: bpy.types.NodeSocket) -> None:
    """Feeds an input: a link from a `Value` or socket, else a constant."""
    if isinstance(source, Value):
        source = source.socket
    if isinstance(source, bpy.types.NodeSocket):
        tree.links.new(source, target)
    else:
        target.default_value = source


def node(tree: bpy.types.NodeTree, kind: str, inputs: dict[int | str, Any] | None = None, **settings: Any) -> Any:
    """A new node with its settings, then its inputs by number or name (settings may change which inputs there are)."""
    made = tree.nodes.new(kind)
    for key, value in settings.items():
        setattr(made, key, value)
    for place, source in (inputs or {}).items():
        put(tree, source, made.inputs[place])
    return made


def output(made: bpy.types.Node, place: int | str = 0) -> Value:
    """One output of a node."""
    return Value(made.id_data, made.outputs[place])


def math(tree: bpy.types.NodeTree, operation: str, *operands: Any) -> Value:
    """A Math node."""
    return output(node(tree, "ShaderNodeMath", dict(enumerate(operands)), operation=operation))


def vector_math(tree: bpy.types.NodeTree, operation: str, *operands: Any, **inputs: Any) -> Value:
    """A Vector Math node; its number output for `DOT_PRODUCT` and `LENGTH`, else the vector."""
    made = node(tree, "ShaderNodeVectorMath", {**dict(enumerate(operands)), **inputs}, operation=operation)
    return output(made, "Value" if operation in ("DOT_PRODUCT", "LENGTH") else "Vector")


def mix_colors(tree: bpy.types.NodeTree, share: Any, first: Any, second: Any) -> Value:
    """`first` where `share` is 0, `second` where it is 1."""
    made = node(tree, "ShaderNodeMix", data_type="RGBA")
    for source, target in ((share, made.inputs[0]), (first, made.inputs[6]), (second, made.inputs[7])):
        put(tree, source, target)
    return output(made, 2)


def socket(tree: bpy.types.NodeTree, name: str, kind: str, direction: str = "INPUT", **settings: Any) -> None:
    """A socket of a node group's interface."""
    made = tree.interface.new_socket(name, in_out=direction, socket_type=f"NodeSocket{kind}")
    for key, value in settings.items():
        setattr(made, key, value)


def arrange(tree: bpy.types.NodeTree) -> None:
    """Places nodes in columns by how many links lie behind them, so that a person can read the tree."""
    depth: dict[str, int] = {}
    sources: dict[str, list[str]] = {made.name: [] for made in tree.nodes}
    for link in tree.links:  # once: asking each socket for its links searches them all each time
        sources[link.to_node.name].append(link.from_node.name)

    def column(name: str) -> int:
        if name not in depth:
            depth[name] = 0
            depth[name] = 1 + max((column(source) for source in sources[name]), default=-1)
        return depth[name]

    rows: dict[int, int] = {}
    for made in tree.nodes:
        x = column(made.name)
        made.location = (220 * x, -240 * rows.get(x, 0))
        rows[x] = rows.get(x, 0) + 1
