"""The `legs4d` command itself. Its commands are in the files beside this one, each by who uses them.

Commands import what they need inside, so that `--help` and `query` do not wait for torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from legs4d.terminal import SentenceGroup

if TYPE_CHECKING:
    from legs4d.commands import Command

Function = TypeVar("Function", bound=Callable[..., None])

app = typer.Typer(
    cls=SentenceGroup,
    no_args_is_help=True,
    add_completion=False,
    epilog="Footage with cameras (COLMAP, nerfstudio, several synchronised cameras): check, then train. One ordinary "
    "video: video. A video or picture of one object: object. Splats of other programs: import-splats.",
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:
    if asked:
        from legs4d import __version__

        print(f"legs4d {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Dynamic 3D Gaussians with language: train on multi-view footage, ask when and where something happens."""


@dataclass(frozen=True)
class Writer:
    """A command that writes, so that a server can do its work as a job.

    Attributes:
        name: the command's, and its job kind's.
        function: the command; `submit` has its options but those in `submitting.HERE`.
        model: loads the class of `legs4d.commands` whose fields they are.
    """

    name: str
    function: Callable[..., None]
    model: Callable[[], type[Command]]


WRITERS: list[Writer] = []
"""All of them, in the order of --help."""


def writer(name: str, model: str) -> Callable[[Function], Function]:
    """Make a function a command, and one that can be submitted; `model` names its class in `legs4d.commands`."""

    def load() -> Any:
        from legs4d import commands

        return getattr(commands, model)

    def register(function: Function) -> Function:
        WRITERS.append(Writer(name, function, load))
        app.command(name=name)(function)
        return function

    return register
