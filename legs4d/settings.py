"""Settings from text, KEY=VALUE and TOML; what is wrong with them is told with the key and the nearest one there is.

The command line, the server's requests and its own settings are all checked here.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from legs4d.errors import Legs4dError

Model = TypeVar("Model", bound=BaseModel)

MAX_SHOWN = 60
"""Characters of a wrong value that an error repeats."""


class SettingsError(Legs4dError):
    """A setting is unknown, or its value is wrong."""


def read_settings(
    model: type[BaseModel], assignments: Sequence[str] = (), file: Path | None = None, *, option: str = "--set"
) -> dict[str, Any]:
    """The settings that `assignments` and a TOML file name, nested as `model` is; checked, and only those.

    Args:
        assignments: each "a.b.c=VALUE". VALUE is read as TOML (20, 0.5, true, [1, 2]), "none" as no value where the
            setting may have none, and anything else as text. They win over the file.
        file: tables and keys as the model has them.
        option: what the assignments are called in errors.

    Raises:
        SettingsError: no such key (with the nearest one), no such file, no TOML, or a value that does not fit.
    """
    found: dict[str, Any] = {}
    if file is not None:
        found = read_toml(file)
        for key, _ in _leaves(found):
            _check_key(model, key, str(file))
        checked(model, found, str(file))
    for text in assignments:
        key, sign, value = text.partition("=")
        key = key.strip()
        if not sign or not key:
            raise SettingsError(f"{text!r} is no KEY=VALUE", where=option, fix="write for example preset=quick")
        _check_key(model, key, option)
        put(found, key, _value(value.strip(), _admits_none(model, key)))
    if assignments:  # together, as some say what others may be
        checked(model, found, option)
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """Content of a TOML file. Raises SettingsError when it cannot be read or is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot be read ({error.strerror})", where=str(path), fix="name a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"is not TOML ({error})", where=str(path), fix="correct that line") from error


def checked(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """The model with these values. Raises SettingsError, which names the first key that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        what, fix = problem(error, model)
        raise SettingsError(what, where=where, fix=fix) from None


def problem(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """(what is wrong with the first wrong key, what to do about it), for an error that tells both."""
    first = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(_path(first["loc"], model))[: MAX_SHOWN * 2]
    if first["type"] == "extra_forbidden":
        return f"'{key}' is unknown", _nearest(model, key)
    if first["type"] == "missing":
        return f"'{key}' is missing", "give it"
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason[:1].lower() + reason[1:]
    if not key:
        return reason, f"its fields are {', '.join(model.model_fields)}"
    default = _default(model, key)
    fix = "" if default is None else f"its default is {default}"
    return f"'{key}' is wrong ({_shown(first['input'])}): {reason}", fix


def _path(location: tuple[int | str, ...], model: type[BaseModel]) -> Iterator[str]:
    """Of what pydantic says, without the kinds of a union that it puts between."""
    inside: type[BaseModel] | None = model
    for part in location:
        if inside is None and isinstance(part, str):
            return
        yield str(part)
        if inside is not None:
            field = inside.model_fields.get(str(part))
            inside = None if field is None else model_in(field.annotation)


def put(settings: dict[str, Any], key: str, value: Any) -> None:
    """Set the dotted `key` in nested maps, making those that are not there."""
    *groups, last = key.split(".")
    for group in groups:
        settings = settings.setdefault(group, {})
    settings[last] = value


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted key of every single setting of a model, those of nested models included."""
    for name, field in model.model_fields.items():
        nested = model_in(field.annotation)
        if nested is None:
            yield prefix + name
        else:
            yield from keys_of(nested, f"{prefix}{name}.")


def _check_key(model: type[BaseModel], key: str, where: str) -> None:
    known = list(keys_of(model))
    if key in known:
        return
    inside = [other for other in known if other.startswith(f"{key}.")]
    if inside:
        some = ", ".join(inside[:4]) + (", …" if len(inside) > 4 else "")
        raise SettingsError(f"'{key}' is a group of settings", where=where, fix=f"name one of them: {some}")
    raise SettingsError(f"there is no setting '{key[: MAX_SHOWN * 2]}'", where=where, fix=_nearest(model, key))


def _nearest(model: type[BaseModel], key: str) -> str:
    known = list(keys_of(model))
    by_last = {other.rpartition(".")[2]: other for other in reversed(known)}
    close = difflib.get_close_matches(key, known, 1, 0.5)
    if not close and (last := difflib.get_close_matches(key.rpartition(".")[2], by_last, 1, 0.7)):
        close = [by_last[last[0]]]
    groups = ", ".join(model.model_fields)
    return f"the nearest is '{close[0]}'" if close else f"there are {groups}"


def _field(model: type[BaseModel], key: str) -> Any:
    """The pydantic field of a dotted key; None if there is none."""
    name, _, rest = key.partition(".")
    field = model.model_fields.get(name)
    if field is None or not rest:
        return field
    nested = model_in(field.annotation)
    return None if nested is None else _field(nested, rest)


def _default(model: type[BaseModel], key: str) -> str | None:
    field = _field(model, key)
    if field is None or field.is_required() or isinstance(field.default, BaseModel):
        return None
    value = field.get_default(call_default_factory=True)
    return None if value is None else _shown(value)


def _admits_none(model: type[BaseModel], key: str) -> bool:
    return type(None) in get_args(_field(model, key).annotation)


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, perhaps optionally."""
    kinds = [annotation, *get_args(annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _value(text: str, may_be_none: bool) -> Any:
    if may_be_none and text.lower() == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"
