"""Writing node trees as formulas: values know their tree, and arithmetic on them adds nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import bpy

from ..portable.look import LEAST_GAMMA

_VERSION, _SHARED = "legs4d:version", "legs4d:shared"
COLUMN, ROW, GAP = 220.0, 240.0, 120.0
"""Of arranged nodes: distances between columns, rows and frames."""


@dataclass(frozen=True)
class Value:
    """An output socket, to calculate with: `+ - *` and `/` take values and numbers."""

    tree: bpy.types.NodeTree
    socket: Any

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


def cycles_of(owner: Any) -> Any:
    """What Cycles keeps of a scene or material: it is an add-on itself, which the stubs do not know."""
    return owner.cycles


def constant(owner: bpy.types.NodeTree, name: str, value: float) -> None:
    """Set what the Value node of this name gives; nothing where it gives that."""
    socket: Any = owner.nodes[name].outputs[0]
    if abs(socket.default_value - value) > 1e-9:
        socket.default_value = value


def put(tree: bpy.types.NodeTree, source: Any, target: Any) -> None:
    """Feeds an input: a link from a `Value` or socket, else a constant."""
    if isinstance(source, Value):
        source = source.socket
    if isinstance(source, bpy.types.NodeSocket):
        tree.links.new(source, target)
    else:
        target.default_value = source


def node(tree: bpy.types.NodeTree, kind: str, inputs: Mapping[Any, Any] | None = None, **settings: Any) -> Any:
    """A new node with its settings, then its inputs by name, or by number among those that its settings leave it: what
    Blender hides before them differs (5.3 has an input more in Vector Transform)."""
    made = tree.nodes.new(kind)
    for key, value in settings.items():
        setattr(made, key, value)
    for place, source in (inputs or {}).items():
        put(tree, source, _at(made.inputs, place))
    return made


def output(made: Any, place: int | str = 0) -> Value:
    """One output of a node, by name, or by number among those that its settings leave it."""
    return Value(made.id_data, _at(made.outputs, place))


def _at(sockets: Any, place: int | str) -> Any:
    return sockets[place] if isinstance(place, str) else [one for one in sockets if not one.is_unavailable][place]


def math(tree: bpy.types.NodeTree, operation: str, *operands: Any) -> Value:
    """A Math node."""
    return output(node(tree, "ShaderNodeMath", dict(enumerate(operands)), operation=operation))


def vector_math(tree: bpy.types.NodeTree, operation: str, *operands: Any, **inputs: Any) -> Value:
    """A Vector Math node; its number output for `DOT_PRODUCT` and `LENGTH`, else the vector."""
    made = node(tree, "ShaderNodeVectorMath", {**dict(enumerate(operands)), **inputs}, operation=operation)
    return output(made, "Value" if operation in ("DOT_PRODUCT", "LENGTH") else "Vector")


def with_color(tree: bpy.types.NodeTree, geometry: Value, name: str, vector: Value, alpha: Value) -> Value:
    """The geometry whose points have a FLOAT_COLOR attribute of this name: a vector, and a fourth number."""
    split = node(tree, "ShaderNodeSeparateXYZ", {0: vector})
    packed = node(tree, "FunctionNodeCombineColor", {**{i: split.outputs[i] for i in range(3)}, "Alpha": alpha})
    stored = node(
        tree,
        "GeometryNodeStoreNamedAttribute",
        {"Geometry": geometry, "Name": name, "Value": output(packed)},
        data_type="FLOAT_COLOR",
        domain="POINT",
    )
    return output(stored)


def mix_colors(tree: bpy.types.NodeTree, share: Any, first: Any, second: Any) -> Value:
    """`first` where `share` is 0, `second` where it is 1."""
    return output(node(tree, "ShaderNodeMix", {0: share, 1: first, 2: second}, data_type="RGBA"))


def mix(tree: bpy.types.NodeTree, share: Any, first: Any, second: Any) -> Value:
    """Numbers: `first` where `share` is 0, `second` where it is 1."""
    return output(node(tree, "ShaderNodeMix", {0: share, 1: first, 2: second}, data_type="FLOAT"))


@dataclass(frozen=True)
class Nodes:
    """The arithmetic of `portable.look.Arrays`, done by nodes of a tree."""

    tree: bpy.types.NodeTree

    def smoothstep(self, low: Any, high: Any, value: Any) -> Value:
        """See `Arrays`, as for the others."""
        kind = "ShaderNodeMapRange"
        return output(node(self.tree, kind, {0: value, 1: low, 2: high}, interpolation_type="SMOOTHSTEP"))

    def maximum(self, one: Any, other: Any) -> Value:
        return math(self.tree, "MAXIMUM", one, other)

    def at_least(self, value: Any, least: float) -> Value:
        return math(self.tree, "MAXIMUM", value, least)

    def mix(self, share: Any, first: Any, second: Any) -> Value:
        return mix(self.tree, share, first, second)

    def mix_colors(self, share: Any, first: Any, second: Any) -> Value:
        return mix_colors(self.tree, share, first, second)

    def add(self, one: Any, other: Any) -> Value:
        return vector_math(self.tree, "ADD", one, other)

    def scale(self, color: Any, by: Any) -> Value:
        return vector_math(self.tree, "SCALE", color, Scale=by)

    def multiply(self, color: Any, by: Any) -> Value:
        return vector_math(self.tree, "MULTIPLY", color, by)

    def complement(self, color: Any) -> Value:
        return vector_math(self.tree, "SUBTRACT", (1.0, 1.0, 1.0), color)

    def root(self, color: Any, degrees: Any) -> Value:
        least = vector_math(self.tree, "MAXIMUM", degrees, (LEAST_GAMMA,) * 3)
        powers = vector_math(self.tree, "DIVIDE", (1.0, 1.0, 1.0), least)
        return vector_math(self.tree, "POWER", vector_math(self.tree, "MAXIMUM", color, (0.0, 0.0, 0.0)), powers)

    def exp2(self, value: Any) -> Value:
        return math(self.tree, "POWER", 2.0, value)

    def turn(self, color: Any, angle: Any) -> Value:
        axis = {"Vector": color, "Axis": (1.0, 1.0, 1.0), "Angle": angle}
        return output(node(self.tree, "ShaderNodeVectorRotate", axis, rotation_type="AXIS_ANGLE"))

    def dot(self, color: Any, weights: tuple[float, float, float]) -> Value:
        return vector_math(self.tree, "DOT_PRODUCT", color, weights)


def socket(tree: bpy.types.NodeTree, name: str, kind: str, direction: str = "INPUT", **settings: Any) -> None:
    """A socket of a node group's interface."""
    interface: Any = tree.interface  # the stub knows no types of sockets
    made = interface.new_socket(name, in_out=direction, socket_type=f"NodeSocket{kind}")
    for key, value in settings.items():
        setattr(made, key, value)


@contextlib.contextmanager
def frame(tree: bpy.types.NodeTree, label: str) -> Iterator[None]:
    """Nodes added in this block stand together in a labelled frame."""
    before = set(tree.nodes.keys())
    yield
    made = [item for item in tree.nodes if item.name not in before and item.parent is None]
    around = tree.nodes.new("NodeFrame")
    around.label = label
    for item in made:
        item.parent = around


def shared(
    name: str,
    version: int,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    write: Callable[[bpy.types.NodeTree, Callable[[str], Value]], Mapping[str, Any]],
) -> bpy.types.NodeTree:
    """The file's one node group of this name, made or brought up to date.

    Args:
        version: another one makes files of before get the new tree.
        inputs, outputs: socket names and types.
        write: adds the nodes, given the tree and the inputs by name; returns what feeds each output.
    """
    tree = next((one for one in bpy.data.node_groups if one.get(_SHARED) == name), None)
    if tree is not None and tree.get(_VERSION) == version:
        return tree
    tree = tree or bpy.data.node_groups.new(name, "GeometryNodeTree")
    tree[_SHARED] = name  # found by this: names are for people to change
    tree.nodes.clear()
    tree.interface.clear()
    for sockets, direction in ((inputs, "INPUT"), (outputs, "OUTPUT")):
        for label, kind in sockets.items():
            socket(tree, label, kind, direction)
    given = node(tree, "NodeGroupInput")
    results = write(tree, lambda label: output(given, label))
    node(tree, "NodeGroupOutput", dict(results))
    arrange(tree)
    tree[_VERSION] = version
    return tree


def group(tree: bpy.types.NodeTree, shared_tree: bpy.types.NodeTree, inputs: Mapping[str, Any]) -> Any:
    """A node that uses a node group."""
    made = node(tree, "GeometryNodeGroup", node_tree=shared_tree, label=shared_tree.name)
    for place, source in inputs.items():
        put(tree, source, made.inputs[place])
    return made


def arrange(tree: bpy.types.NodeTree) -> None:
    """Places nodes in columns by how many links lie behind them, frame after frame, for people to read the tree."""
    depth = _depths(tree)
    sections: list[list[bpy.types.Node]] = [[], *([] for _ in tree.nodes), []]
    frames = [item for item in tree.nodes if item.type == "FRAME"]
    for item in tree.nodes:
        if item.type == "FRAME":
            continue
        if item.parent is not None:
            sections[1 + frames.index(item.parent)].append(item)
        else:
            sections[0 if depth[item.name] == 0 else -1].append(item)
    places, x = {}, 0.0
    for section in sections:
        columns = sorted({depth[item.name] for item in section})
        rows = dict.fromkeys(columns, 0)
        for item in section:
            column = depth[item.name]
            places[item.name] = (x + COLUMN * columns.index(column), -ROW * rows[column])
            rows[column] += 1
        x += COLUMN * len(columns) + (GAP if columns else 0)
    flat = [number for item in tree.nodes for number in places.get(item.name, (0.0, 0.0))]
    tree.nodes.foreach_set("location", flat)  # one by one they would each have the tree updated


def _depths(tree: bpy.types.NodeTree) -> dict[str, int]:
    """How many links lie behind each node."""
    depth: dict[str, int] = {}
    sources: dict[str, list[str]] = {made.name: [] for made in tree.nodes}
    for link in tree.links:  # once: asking each socket for its links searches them all each time
        sources[link.to_node.name].append(link.from_node.name)

    def column(name: str) -> int:
        if name not in depth:
            depth[name] = 0
            depth[name] = 1 + max((column(source) for source in sources[name]), default=-1)
        return depth[name]

    for made in tree.nodes:
        column(made.name)
    return depth
