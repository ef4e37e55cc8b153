"""Whether programs take what a command gives them, found without running it: options, values, targets, files."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

import typer

from tests.docs.documents import ROOT

CHECKOUT = "/opt/legs4d/checkout/"
"""Where the technician's page has the repository."""


class NotTaken(Exception):
    """A program does not take this; the message says what."""


def check(text: str, *, whole: bool = True) -> None:
    """Raise NotTaken if a program that a command starts would not take its words.

    Args:
        text: the command; words after `#` are a comment.
        whole: False if arguments may be missing, as where a sentence speaks of a command.
    """
    words = shlex.split(re.sub(r"(--[\w-]+ )?…", "", text), comments=True)  # an ellipsis is any value
    for word in words:
        if word.startswith(CHECKOUT) and not (ROOT / word.removeprefix(CHECKOUT).partition("[")[0]).exists():
            raise NotTaken(f"there is no {word.removeprefix(CHECKOUT)} in the repository")
    words = _without_prefix(words)
    program = words[0].rpartition("/")[2] if words else ""
    if program == "legs4d":
        _check_legs4d(words[1:], whole)
    elif program == "make":
        _check_make(words[1:])
    elif program in ("pip", "python", "torchrun", "blender") or text.startswith("scripts/"):
        _check_python(words)


def _without_prefix(words: list[str]) -> list[str]:
    """The words from the program on that is ours, after `sudo -u NAME` and `podman exec NAME`."""
    if words[:2] == ["sudo", "-u"]:
        return words[3:]
    if words[:2] == ["podman", "exec"]:
        return words[3:]
    return words[1:] if words[:1] == ["sudo"] else words


@cache
def legs4d() -> Any:
    """The command line, as its parser has it."""
    from legs4d.cli import app

    return typer.main.get_command(app)


def _check_legs4d(words: list[str], whole: bool) -> None:
    command, path = legs4d(), "legs4d"
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] in PLACEHOLDERS:
            return
        if words[0] not in command.commands:
            raise NotTaken(f"`{path}` has no command '{words[0]}'")
        command, path = command.commands[words[0]], f"{path} {words[0]}"
        words = words[1:]
    if hasattr(command, "commands") and not whole:
        return
    try:
        command.make_context(path, list(words))  # everything but the work
    except Exception as error:  # the parser's own, which its package does not export
        message = str(getattr(error, "message", "") or error)
        if whole or not type(error).__name__.startswith("Missing"):
            raise NotTaken(f"`{path}`: {message}") from error


PLACEHOLDERS = ("COMMAND", "KIND")
"""What stands for any command."""


def _check_make(words: list[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for word in words:
        if word not in targets:
            raise NotTaken(f"the Makefile has no target '{word}'")


def _check_python(words: list[str]) -> None:
    """A script of this repository has every option; `pip install` names extras that there are."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words:
        for extra in re.findall(r"(?:legs4d|checkout|\.)\[([\w,]+)\]", word):
            for name in extra.split(","):
                if name not in extras:
                    raise NotTaken(f"there is no extra '{name}'")
    source = _source(words)
    if source is None:
        return
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("--") and option not in OTHERS and not _has_option(source, option):
            raise NotTaken(f"{words[0]} … has no option {option}")


OTHERS = ("--command", "--nproc-per-node", "--junitxml")
"""Options of Blender, torchrun and pytest themselves."""


@cache
def known_options() -> frozenset[str]:
    """Every option that a program of this repository has."""
    found = {"--help", *OTHERS, *_options(legs4d())}
    for folder in ("scripts", "blender_addon", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            found |= set(re.findall(r'"(--[\w-]+)"', path.read_text()))
    fields = re.findall(r"^    (\w+): ", (ROOT / "scripts/training/tiny/training.py").read_text(), re.MULTILINE)
    return frozenset(found | {f"--{name.replace('_', '-')}" for name in fields})


def _options(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    for below in getattr(command, "commands", {}).values():
        yield from _options(below)


def _has_option(source: str, option: str) -> bool:
    if f'"{option}"' in source:
        return True
    field = rf"^    {option.removeprefix('--').replace('-', '_')}: "  # options made of a dataclass's fields
    shared = "".join(path.read_text() for path in (ROOT / "scripts").rglob("*.py"))
    return "fields(Settings)" in source and re.search(field, shared, re.MULTILINE) is not None


def _source(words: list[str]) -> str | None:
    """The text of the program of ours that the words start."""
    if "--command" in words:
        return "".join(path.read_text() for path in (ROOT / "blender_addon").rglob("*.py"))
    for before, word in zip(["", *words], words, strict=False):
        if before == "-m" and not word.startswith("tests."):
            return None  # a package's
        name = word.replace(".", "/") + ".py" if before == "-m" else word
        if name.endswith(".py") and not name.startswith("/"):
            if not (ROOT / name).exists():
                raise NotTaken(f"there is no {name}")
            return (ROOT / name).read_text()
    return None
