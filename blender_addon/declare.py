"""RNA properties as plain class attributes, and what else of Blender's classes a type checker has to be told.

    class LayerProperties(bpy.types.PropertyGroup):
        prompt = declare.string("Prompt", "What to look for", update=_prompt_changed)

On an instance `prompt` is a string, and type checkers know. Blender wants properties as annotations: `register` moves
them there. Name and description come first, everything else is as in `bpy.props`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import bpy
from bpy import props

if TYPE_CHECKING:
    from bpy.stub_internal.rna_enums import IconItems, OperatorReturnItems
    from bpy.types import Operator, Panel, UIList

    Icon = IconItems
    Result = set[OperatorReturnItems]
else:
    Operator = Panel = UIList = object
    """What mixins are derived from: they are no classes of Blender's themselves."""
    Result, Icon = set, str
    """What `execute`, `invoke` and `modal` of an operator return; names of Blender's icons."""

ANIMATED = "animated"

T = TypeVar("T")
Color = tuple[float, float, float]
"""Scene linear, 0 to 1; or any other vector of three."""
EnumItems = Iterable[tuple[str, str, str] | tuple[str, str, str, str, int]]
"""(identifier, name, description) of each choice."""


class Kind(Generic[T]):
    """How properties of one kind are declared: `kind("Name", "Description", …)`.

    Args:
        make: of `bpy.props`.
        options: what all of this kind have, unless a declaration says otherwise.
    """

    def __init__(self, make: Any, **options: Any) -> None:
        self._make, self._options = make, options

    def __call__(self, name: str = "", description: str = "", **options: Any) -> T:
        return _any(self._make(**_called(name), description=description, **{**self._options, **options}))


string = Kind[str](props.StringProperty)
boolean = Kind[bool](props.BoolProperty)
integer = Kind[int](props.IntProperty)
number = Kind[float](props.FloatProperty)
factor = Kind[float](props.FloatProperty, subtype="FACTOR", min=0.0, max=1.0)
angle = Kind[float](props.FloatProperty, subtype="ANGLE")
vector = Kind[Color](props.FloatVectorProperty)
color = Kind[Color](props.FloatVectorProperty, subtype="COLOR", size=3, min=0.0, max=1.0)


def enum(name: str = "", description: str = "", items: EnumItems = (), **options: Any) -> str:
    """One of several; the first by default."""
    return _any(props.EnumProperty(**_called(name), description=description, items=list(items), **options))


def custom(owner: bpy.types.ID, key: str, value: Any, says: str, **limits: Any) -> None:
    """Give a data-block a custom property, with what its field in the interface needs to know.

    Args:
        limits: `min`, `max`, `soft_max`, `subtype`; `default`, where that is not `value`.
    """
    owner[key] = value
    _any(owner.id_properties_ui(key)).update(**{"default": value, **limits}, description=says)


def pointer(kind: type[T], name: str = "", description: str = "", **options: Any) -> T | None:
    """A data-block, or none."""
    return _any(props.PointerProperty(type=_any(kind), **_called(name), description=description, **options))


def collection(kind: type[T], **options: Any) -> Collection[T]:
    """A list of property groups."""
    return _any(props.CollectionProperty(type=_any(kind), **options))


class Collection(Iterable[T]):
    """What Blender makes of `collection`, for type checkers: items by number or by their `name`."""

    if TYPE_CHECKING:

        def add(self) -> T: ...
        def clear(self) -> None: ...
        def find(self, name: str) -> int: ...
        def get(self, name: str) -> T | None: ...
        def move(self, source: int, target: int) -> None: ...
        def remove(self, index: int) -> None: ...
        def __contains__(self, name: object) -> bool: ...
        def __getitem__(self, key: int | str) -> T: ...
        def __iter__(self) -> Iterator[T]: ...
        def __len__(self) -> int: ...


def register(item: Any) -> None:
    """Register a class with Blender, the properties that it and its mixins declare as annotations.

    Of a property group only those can be keyed and driven that its attribute `animated` names: what shows them follows.
    """
    for owner in item.__mro__:
        found = {name: value for name, value in vars(owner).items() if isinstance(value, _DEFERRED)}
        for name, value in found.items():
            delattr(owner, name)
            if issubclass(item, bpy.types.PropertyGroup) and name not in getattr(item, ANIMATED, ()):
                value.keywords["options"] = {*value.keywords.get("options", ())} - {"ANIMATABLE"}
        if found:
            owner.__annotations__ = {**vars(owner).get("__annotations__", {}), **found}
    bpy.utils.register_class(item)


def triple(values: Iterable[float]) -> Color:
    """A vector of Blender's as a tuple."""
    x, y, z = values
    return x, y, z


def put(owner: Any, **values: Any) -> None:
    """Set enumerations of which the stubs do not know all values."""
    for name, value in values.items():
        setattr(owner, name, value)


def windows() -> bpy.types.WindowManager:
    """Blender's one window manager."""
    assert bpy.context.window_manager is not None
    return bpy.context.window_manager


def ops() -> Any:
    """The extension's own operators, as functions."""
    return bpy.ops.legs4d  # type: ignore[attr-defined]


def _called(name: str) -> dict[str, Any]:
    """Without a name Blender takes the identifier, which an empty one would blank in its data views."""
    return {"name": name} if name else {}


def _any(value: Any) -> Any:
    return value


_DEFERRED = type(_any(props.BoolProperty()))
