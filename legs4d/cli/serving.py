"""Commands of the server: serve, status, jobs, keys, view."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from legs4d.cli.command import app
from legs4d.cli.options import Json, RunFolder
from legs4d.errors import Legs4dError
from legs4d.progress import duration
from legs4d.terminal import say

if TYPE_CHECKING:
    from backend.service.client import Client


StateDir = Annotated[
    Path | None,
    typer.Option(
        help="Where jobs and keys are kept and clients find the server. Default: $LEGS4D_STATE_DIR or your own."
    ),
]
Server = Annotated[
    str | None, typer.Option("--server", metavar="HOST:PORT", help="A server elsewhere; needs --server-key.")
]
ServerKey = Annotated[str | None, typer.Option(metavar="KEY", help="Its public key, as `legs4d serve` prints it.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of a job, or how it begins.")]


class LogForm(StrEnum):
    text = "text"
    json = "json"


@app.command()
def serve(
    root: Annotated[
        list[Path] | None,
        typer.Option(help="Folder whose runs and datasets clients may use; repeatable. Default: here."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="TCP port; 0 takes a free one (the default on 127.0.0.1, elsewhere it is 47404)."
        ),
    ] = None,
    state_dir: StateDir = None,
    bind: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Interface to listen on. Beyond 127.0.0.1 (default), clients need keys."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with any of these and more, see backend/README.md; options win.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Ray cluster that trainings use, or auto.")
    ] = None,
    log: Annotated[LogForm | None, typer.Option(help="Log lines for people, or JSON lines.")] = None,
    log_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Log there, begun anew at 10 MiB; five old ones are kept.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Answer /metrics (Prometheus) and /healthz over HTTP there.")
    ] = None,
    metrics_beyond_loopback: Annotated[
        bool | None, typer.Option("--metrics-beyond-loopback", help="Let others read them, who need no key for it.")
    ] = None,
    curve: Annotated[bool | None, typer.Option("--curve", help="Ask for keys on 127.0.0.1 too.")] = None,
    allow_root: Annotated[
        bool | None, typer.Option("--allow-root", help="Listen beyond 127.0.0.1 as root, in a container.")
    ] = None,
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", help="Stop when standard input closes, with the program that has it.")
    ] = False,
) -> None:
    """Serve runs to Blender until stopped."""
    from backend.service.config import make_config, read_config
    from backend.service.server import serve as serve_runs

    given = {
        "roots": root or None,
        "port": port,
        "state_dir": state_dir,
        "bind": bind,
        "cluster": cluster,
        "log": log.value if log else None,
        "log_file": log_file,
        "metrics": metrics,
        "metrics_beyond_loopback": metrics_beyond_loopback,
        "curve": curve,
        "allow_root": allow_root,
    }
    values = read_config(config) if config else {}
    values |= {name: value for name, value in given.items() if value is not None}
    serve_runs(make_config(values, str(config or "the options")), stop_with_stdin=stop_with_stdin)


def connect(state_dir: Path | None, server: str | None = None, server_key: str | None = None) -> Client:
    """A connection to this machine's server, or to one elsewhere. Raises BackendError when none answers."""
    from backend.service.client import Client, find_server, remote_server

    if (server is None) != (server_key is None):
        raise Legs4dError("--server and --server-key go together", fix="`legs4d serve` prints both")
    if server is None or server_key is None:
        return Client(find_server(state_dir))
    return Client(remote_server(server, server_key, state_dir))


@app.command()
def status(
    state_dir: StateDir = None, server: Server = None, server_key: ServerKey = None, as_json: Json = False
) -> None:
    """Say whether a server runs, what its devices do and how many jobs wait."""
    from legs4d.terminal import print_json

    with connect(state_dir, server, server_key) as client:
        found = client.ask("status")
    if as_json:
        print_json(found)
        return
    print(f"legs4d {found['version']}, process {found['pid']}, up {found['seconds'] / 3600:.1f} h")
    print(f"{found['clients']} clients (this one too), {found['queued']} jobs wait, {found['paused']} are paused")
    for device in found["devices"]:
        print(f"{device['name']:8} {'job ' + device['job'] if device['job'] else 'free'}")
    for folder in found["roots"]:
        print(f"serves {folder}")


jobs_app = typer.Typer(invoke_without_command=True, help="List a server's jobs; follow, cancel, pause, retry one.")
app.add_typer(jobs_app, name="jobs")


@jobs_app.callback()
def jobs(
    context: typer.Context,
    state_dir: StateDir = None,
    server: Server = None,
    server_key: ServerKey = None,
    as_json: Json = False,
) -> None:
    """List a server's jobs; follow, cancel, pause, retry one."""
    client = context.with_resource(connect(state_dir, server, server_key))
    context.obj = client
    if context.invoked_subcommand is not None:
        return
    from legs4d.terminal import print_json

    listed = list(client.listed("jobs"))
    if as_json:
        print_json(listed)
        return
    for job in listed:
        print(_job_line(job))
    if not listed:
        say("There are no jobs.")


@jobs_app.command()
def follow(context: typer.Context, job: JobId) -> None:
    """Show a job's progress and log until it is over; exit with 1 if it failed."""
    client: Client = context.obj
    show_job(client, _full_id(client, job))


def show_job(client: Client, job: str, *, log: bool = True) -> dict[str, Any]:
    """Show a job's progress (on stderr) and log (on stdout) until it is over; the job then.

    Raises Legs4dError when it failed or was cancelled.
    """
    last = ""
    for event in client.events("subscribe", job=job, log=log):
        if event.kind == "log":
            print(event.body["text"], end="", flush=True)
        elif event.kind == "progress":
            line = _progress_line(event.body)
            if line != last:
                say(line)
            last = line
        else:
            over = dict(event.body)
    if over["state"] == "failed":
        raise Legs4dError(over["error"]["message"], fix=over["error"]["hint"])
    if over["state"] == "cancelled":
        raise Legs4dError(f"job {job} was cancelled", fix=f"`legs4d jobs retry {job}` goes on with it")
    return over


@jobs_app.command(name="log")
def show_log(context: typer.Context, job: JobId) -> None:
    """Print a job's log."""
    client: Client = context.obj
    number, offset = _full_id(client, job), 0
    while True:
        piece = client.ask("job_log", job=number, offset=offset)
        print(piece["text"], end="")
        offset = piece["offset"]
        if piece["end"]:
            return


@jobs_app.command()
def cancel(context: typer.Context, job: JobId) -> None:
    """End a job within a second; frames that are finished stay."""
    _change(context, "cancel_job", job)


@jobs_app.command()
def pause(context: typer.Context, job: JobId) -> None:
    """Stop a job after its present step; its device is free until it is resumed."""
    _change(context, "pause_job", job)


@jobs_app.command()
def resume(context: typer.Context, job: JobId) -> None:
    """Queue a paused job again; it goes on from its last finished frame."""
    _change(context, "resume_job", job)


@jobs_app.command()
def retry(context: typer.Context, job: JobId) -> None:
    """Queue a failed or cancelled job again; what is finished is not done again."""
    _change(context, "retry_job", job)


@jobs_app.command()
def prioritise(
    context: typer.Context,
    job: JobId,
    priority: Annotated[int, typer.Argument(min=-100, max=100, help="The highest goes first.")],
) -> None:
    """Change a job's place in the queue."""
    _change(context, "prioritise_job", job, priority=priority)


def _change(context: typer.Context, kind: str, job: str, **more: int) -> None:
    client: Client = context.obj
    print(_job_line(client.ask(kind, job=_full_id(client, job), **more)))


def _full_id(client: Client, beginning: str) -> str:
    found = [job["job"] for job in client.listed("jobs") if job["job"].startswith(beginning)]
    if len(found) == 1 or beginning in found:
        return beginning if beginning in found else found[0]
    fix = "`legs4d jobs` lists them"
    raise Legs4dError(f"{'no job begins' if not found else f'{len(found)} jobs begin'} with {beginning!r}", fix=fix)


def _job_line(job: dict[str, Any]) -> str:
    request = job["request"]
    name = request.get("out") or request.get("run") or ""
    progress = {**job["progress"], "state": job["state"]}
    where = f" on {job['device']}" if job["state"] in ("running", "cancelling", "pausing") else ""
    return f"{job['job']}  {job['kind']:14} {name:24} {_progress_line(progress)}{where}"


def _progress_line(progress: Mapping[str, Any]) -> str:
    parts = [progress["state"]]
    if progress["state"] in ("running", "pausing", "cancelling", "paused") and progress["total"]:
        parts.append(f"{progress['stage'].replace('_', ' ')} {progress['done']}/{progress['total']}")
    if progress["loss"] is not None and progress["state"] == "running":
        parts.append(f"loss {progress['loss']:.4f}")
    if progress["seconds_left"] is not None:
        parts.append(f"{duration(progress['seconds_left'])} left")
    if progress["message"] and progress["message"] != progress["state"]:
        parts.append(progress["message"])
    return ", ".join(parts)


keys_app = typer.Typer(no_args_is_help=True, help="CURVE keys: who may use a server from another machine.")
app.add_typer(keys_app, name="keys")


@keys_app.command()
def new(
    state_dir: StateDir = None,
    force: Annotated[bool, typer.Option("--force", help="In place of keys that are there.")] = False,
) -> None:
    """On a client's machine: make your key pair, and print the public half for the server's keeper."""
    from backend.access import state_dir as default_state_dir
    from backend.service.keys import make_client_keys

    print(shlex.quote(make_client_keys(state_dir or default_state_dir(), force=force).public))


@keys_app.command()
def authorize(
    public: Annotated[
        str, typer.Argument(metavar="KEY", help="The client's public key, as `legs4d keys new` prints it.")
    ],
    name: Annotated[str, typer.Argument(help="Whose it is, for `list` and `revoke`.")],
    state_dir: StateDir = None,
) -> None:
    """On the server's machine: let a client in. A running server heeds it at once."""
    from backend.access import state_dir as default_state_dir
    from backend.service.keys import authorize as let_in

    let_in(state_dir or default_state_dir(), name, public)


@keys_app.command(name="list")
def list_keys(state_dir: StateDir = None, as_json: Json = False) -> None:
    """Print the server's public key, and who is let in."""
    from backend.access import state_dir as default_state_dir
    from backend.service.keys import authorized, server_keys
    from legs4d.terminal import print_json

    folder = state_dir or default_state_dir()
    own, clients = server_keys(folder).public, authorized(folder)
    if as_json:
        print_json({"server": own, "authorized": {one.name: one.public for one in clients}})
        return
    print(f"{shlex.quote(own)}  this server")
    for one in clients:
        print(f"{shlex.quote(one.public)}  {one.name}")


@keys_app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="As `legs4d keys list` has it.")], state_dir: StateDir = None
) -> None:
    """On the server's machine: let a client in no longer. A running server ends its conversation at once."""
    from backend.access import state_dir as default_state_dir
    from backend.service.keys import revoke as shut_out

    shut_out(state_dir or default_state_dir(), name)


@app.command()
def view(
    run: RunFolder,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port on this machine; 0 takes a free one.")] = 0,
) -> None:
    """Show a run in the browser, with timeline and prompts, until stopped. Only this machine reaches the page."""
    import threading

    from backend.viewer.page import Page
    from legs4d.gaussians.store.run import Run

    page = Page(Run.open(run), port)
    try:
        say(f"{run}: open {page.address} in a browser; Ctrl-C ends.")
        threading.Event().wait()
    finally:
        page.close()
