"""What can be set: `legs4d settings`, and the page docs/settings.md, both from the models in `legs4d.config`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer

from legs4d.cli.command import app
from legs4d.cli.options import Json
from legs4d.errors import Legs4dError
from legs4d.terminal import print_json

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

PAGE = "docs/settings.md"
_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


@dataclass(frozen=True)
class Setting:
    """One that `--set` takes.

    Attributes:
        key: dotted.
        kind: what its values are: "int > 0", "once | always | never".
        default: as TOML has it; "none" for no value.
        full: the preset `full`'s, where it has another one.
        about: what it is, from the docstring below its field.
        group: what its group is, from the docstrings of its model and below the group.
    """

    key: str
    kind: str
    default: str
    full: str | None
    about: str
    group: str


def all_settings() -> Iterator[Setting]:
    """Those of `legs4d train`, which has all of them."""
    from legs4d.config import TrainSettings

    plain = TrainSettings()
    stages = {name: getattr(plain, name).with_preset("full") for name in ("reconstruct", "deform")}
    full = plain.model_copy(update=stages)
    return settings_of(plain, full)


def settings_of(model: BaseModel, full: BaseModel, prefix: str = "", more: str = "") -> Iterator[Setting]:
    """Every single setting of a model, those of nested models included.

    Args:
        model, full: with its defaults, and with those of the preset `full`.
        prefix, more: its key, with a dot, and what is said of it where it is nested.
    """
    from pydantic import BaseModel

    kind = type(model)
    about, group = _docstrings(kind), f"{inspect.cleandoc(kind.__doc__ or '')} {more}".strip()
    nested = []
    for name, field in kind.model_fields.items():
        value, other = getattr(model, name), getattr(full, name)
        if isinstance(value, BaseModel):
            nested.append((value, other, f"{prefix}{name}.", about.get(name, "")))
            continue
        differs = None if other == value else _text(other)
        yield Setting(prefix + name, _kind(field), _text(value), differs, about.get(name, ""), group)
    for group_of in nested:
        yield from settings_of(*group_of)


def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Field → the text below it, those of the models that it extends included."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if not getattr(kind, "model_fields", None):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return found


def _kind(field: FieldInfo) -> str:
    limits = [
        f"{sign} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, sign in _SIGNS.items()
        if hasattr(rule, name)
    ]
    return " ".join([_named(field.annotation), *limits])


def _named(annotation: Any) -> str:
    if annotation is type(None):
        return "none"
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _named(parts[0])
    if get_origin(annotation) is tuple:
        return f"[{_named(parts[0])}, …]"
    if get_origin(annotation) is dict:
        return f"{{{_named(parts[0])} = {_named(parts[1])}, …}}"
    if parts:
        return " | ".join(part if isinstance(part, str) else _named(part) for part in parts)
    return {"str": "text"}.get(annotation.__name__, annotation.__name__)


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    return f'"{value}"' if isinstance(value, str) else _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def page() -> str:
    """The text of docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Everything that `--set KEY=VALUE`, the tables of a `--config FILE` and the `settings` of a job can say, with",
        "the defaults (those of the preset `quick`) and where `full` has others. Written by `legs4d settings --page`",
        "from the models in `legs4d.config`.",
    ]
    before = None
    for one in all_settings():
        group, _, name = one.key.rpartition(".")
        if group != before:
            lines += ["", f"## {group or 'At the top'}", "", one.group, "", "| setting | values | default | `full` | |"]
            lines += ["| --- | --- | --- | --- | --- |"]
            before = group
        full = f"`{one.full}`" if one.full else ""
        cells = f"`{name}`", one.kind, f"`{one.default}`", full, one.about
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


@app.command()
def settings(
    start: Annotated[
        str, typer.Argument(metavar="[KEY]", help="Those whose key begins so, as reconstruct.tracking; all by default.")
    ] = "",
    as_page: Annotated[bool, typer.Option("--page", help=f"As {PAGE} has them.")] = False,
    as_json: Json = False,
) -> None:
    """Tell what --set and --config can say: each setting with its values, its default and what it is.

    --json prints [{key, kind, default, full, about, group}].
    """
    if as_page:
        print(page(), end="")
        return
    found = [one for one in all_settings() if one.key.startswith(start)]
    if not found:
        raise Legs4dError(f"no setting begins with {start!r}", where="KEY", fix="leave it out to see all of them")
    if as_json:
        print_json([vars(one) for one in found])
        return
    for one in found:
        full = f"; full: {one.full}" if one.full else ""
        print(f"{one.key} = {one.default}   ({one.kind}{full})")
        if one.about:
            print(textwrap.fill(one.about, 100, initial_indent="    ", subsequent_indent="    "))
