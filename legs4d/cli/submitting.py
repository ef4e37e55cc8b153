"""`legs4d submit COMMAND …`: the commands that write, done by a running server as jobs, with the same options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from legs4d.cli.command import WRITERS, Writer, app
from legs4d.cli.options import Json, asked
from legs4d.cli.serving import Server, ServerKey, StateDir, connect, show_job
from legs4d.errors import Legs4dError
from legs4d.terminal import EXIT_INTERRUPTED, print_json, say

if TYPE_CHECKING:
    from backend.service.client import Client
    from legs4d.commands import Command

HERE = frozenset({"engine", "cluster", "store", "download", "cache", "as_json"})
"""Options that say how this machine does the work; a job is done as the server is set up."""

submit_app = typer.Typer(
    no_args_is_help=True, help="Have a running server do a command as a job; prints the job's id.\n\nSame options."
)
app.add_typer(submit_app, name="submit")


def _sending(
    state_dir: StateDir = None,
    server: Server = None,
    server_key: ServerKey = None,
    priority: Annotated[int, typer.Option(min=-100, max=100, help="The highest goes first.")] = 0,
    device: Annotated[
        str | None, typer.Option(help="One of the server's, as `legs4d status` lists them; by default a GPU's.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show progress and log until it is over; exit with 1 if it failed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """What every `submit` command can be told about the sending."""


def send(writer: Writer, given: dict[str, Any], sending: dict[str, Any]) -> None:
    """Submit a command to the server that `sending` means, and show what becomes of it.

    Args:
        given: the command's options, by name.
        sending: those of `_sending`.
    """
    command = asked(writer.model(), given)
    with connect(sending["state_dir"], sending["server"], sending["server_key"]) as client:
        known = client.server["kinds"]
        if writer.name not in known:
            raise Legs4dError(
                f"the server has no jobs of kind '{writer.name}'", fix=f"it has {', '.join(known)}; update it"
            )
        body = named(command, client, local=sending["server"] is None)
        for option in ("priority", "device"):
            if sending[option]:
                body[option] = sending[option]
        job = client.ask(writer.name, **body)["job"]
        if not sending["follow"]:
            if sending["as_json"]:
                print_json({"job": job})
            else:
                print(job)
            return
        say(f"job {job}")
        try:
            over = show_job(client, job, log=not sending["as_json"])
        except KeyboardInterrupt:
            say(f"The job goes on; `legs4d jobs follow {job}` shows it again, `legs4d jobs cancel {job}` ends it.")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        if sending["as_json"]:
            print_json(over)


def named(command: Command, client: Client, *, local: bool) -> dict[str, Any]:
    """The body of a job: the command with names under the server's roots in place of this machine's paths.

    Files of this machine that the server does not see are sent to it.

    Raises Legs4dError for a folder that lies under none of the roots, and for a file that is not taken.
    """
    body = command.model_dump(mode="json", exclude_unset=True)
    roots = [Path(root) for root in client.server["roots"]] if local else []
    for field in command.places():
        given = body.get(field)
        if isinstance(given, list):
            body[field] = [_name(text, roots, field, client) for text in given]
        elif given is not None:
            body[field] = _name(given, roots, field, client)
    return body


def _name(text: str, roots: list[Path], field: str, client: Client) -> str:
    path = Path(text).expanduser().resolve()
    for root in roots:
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    if field != "out" and path.is_file():
        say(f"sends {path.name} ({path.stat().st_size / 2**20:.1f} MiB)")
        return client.upload(path)
    if roots and (Path(text).is_absolute() or text.startswith("~") or path.exists()):
        raise Legs4dError(
            f"{text} lies outside the folders that the server serves",
            where=f"--{field}" if field == "out" else field,
            fix=f"they are {', '.join(map(str, roots))}; `legs4d serve --root` names others",
        )
    return text


def _make(writer: Writer) -> Callable[..., None]:
    """A function with the command's options and those of `_sending`, for typer to read."""
    hints = get_type_hints(writer.function, include_extras=True)
    own = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in inspect.signature(writer.function).parameters.values()
        if parameter.name not in HERE
    ]
    theirs = get_type_hints(_sending, include_extras=True)
    shared = [
        parameter.replace(annotation=theirs[parameter.name])
        for parameter in inspect.signature(_sending).parameters.values()
    ]

    def submit(**given: Any) -> None:
        sending = {parameter.name: given.pop(parameter.name) for parameter in shared}
        send(writer, given, sending)

    submit.__doc__ = f"Do `legs4d {writer.name}` as a job of a running server; prints its id."
    submit.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    submit.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
    return submit


for _writer in WRITERS:
    submit_app.command(name=_writer.name)(_make(_writer))
