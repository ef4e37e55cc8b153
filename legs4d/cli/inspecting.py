"""Commands that look and change nothing: info, check, doctor."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from legs4d.cli.command import app
from legs4d.cli.edge import working
from legs4d.cli.options import CameraNames, Dataset, Engine, EngineName, Json, LeftOut, RunFolder, Scale, asked
from legs4d.errors import RunError
from legs4d.progress import duration
from legs4d.terminal import EXIT_ERROR, print_json, say

if TYPE_CHECKING:
    from legs4d.gaussians.store.run import Run
    from legs4d.scene.sequence import Split

SHOWN = frozenset({"kind", "dataset", "fps", "frame_numbers", "encoder", "scale", "masks", "up", "made_from"})
"""What of a run's `info` has a line of its own."""


@app.command()
def info(
    run: RunFolder,
    actions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Page (.png, .svg, .pdf) of what its objects do: a band each, how sure that is in every frame.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a run holds and what it was made from; with --encoder actions, also what its objects do, and when.

    --json prints {run, format, kind, frames, fps, gaussians: {static, dynamic, loose: [fewest, most]}, finished,
    language, stages: {name: {done, finished, seconds, …}}, footage: {place, there, scale, masks}, encoder, up, objects,
    actions: [{id, action, first, last, sure, with}], selections, made_from, bytes, info}, where `info` is whatever
    else its run.json says.
    """
    from legs4d.gaussians.store.run import Run

    opened = Run.open(run)
    found = describe(opened)
    if actions is not None:
        _write_actions(opened, actions)
    if as_json:
        print_json(found)
    else:
        _print_info(found)


def _write_actions(run: Run, page: Path) -> None:
    from legs4d.effects.pages.actions_page import actions_page

    if not run.has_geometry or not actions_page(page, run):
        raise RunError(
            "nothing is known of what its objects do",
            where=str(run.path),
            fix="its footage needs object masks (`legs4d objects` finds them); then run "
            "`legs4d lift RUN --encoder actions --again`",
        )
    say(f"wrote {page}")


def describe(run: Run) -> dict[str, Any]:
    """What `legs4d info --json` prints about a run."""
    from legs4d.gaussians.objects import read_objects
    from legs4d.gaussians.selections import selection_names
    from legs4d.gaussians.store.footage import place_of_footage

    ready = run.has_geometry
    loose = run.loose_counts if ready and run.has_loose else None
    objects = read_objects(run) if ready else None
    lift = run.stages.get("lift")
    place = str(place_of_footage(run)) if "dataset" in run.info else None
    return {
        "run": str(run.path),
        "format": run.format,
        "kind": run.info.get("kind", "captured"),
        "frames": run.num_frames if ready else 0,
        "fps": run.info.get("fps"),
        "gaussians": {
            "static": run.num_static if ready else 0,
            "dynamic": run.num_dynamic if ready else 0,
            "loose": [0, 0] if loose is None else [int(loose.min()), int(loose.max())],
        },
        "finished": ready and len(run.available_frames()) == run.num_frames,
        "language": lift is not None and lift.finished,
        "stages": {name: _stage(asdict(record)) for name, record in run.stages.items()},
        "footage": None
        if not place
        else {
            "place": str(place),
            "there": Path(place).is_dir(),
            "scale": run.info.get("scale"),
            "masks": run.info.get("masks"),
        },
        "encoder": run.info.get("encoder"),
        "up": run.up.tolist() if ready and run.has_cameras else run.info.get("up"),
        "objects": [] if objects is None else objects.table(),
        "actions": [] if objects is None else _actions(run, objects.ids),
        "selections": selection_names(run) if ready else [],
        "made_from": run.info.get("made_from"),
        "bytes": _bytes_in(run.path),
        "info": {name: value for name, value in run.info.items() if name not in SHOWN},
    }


def _actions(run: Run, ids: tuple[int, ...]) -> list[dict[str, Any]]:
    """What is likely of each object, by object and time."""
    from legs4d.motion.stored import read_motion

    stored = read_motion(run)
    return [
        {
            "id": ids[one.object],
            "action": one.action,
            "first": one.start,
            "last": one.end,
            "sure": round(one.sure, 2),
            "with": ids[one.other] if one.other >= 0 else None,
        }
        for one in (stored[0].happenings() if stored else ())
    ]


def _stage(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "done_frames": len(record["done_frames"]), "seconds": round(record["seconds"], 3)}


def _bytes_in(folder: Path) -> int:
    return sum(Path(place, name).lstat().st_size for place, _, names in os.walk(folder) for name in names)


def _print_info(found: dict[str, Any]) -> None:
    counts, footage = found["gaussians"], found["footage"]
    loose = f", {counts['loose'][0]} to {counts['loose'][1]} loose a frame" if counts["loose"][1] else ""
    fps = f" at {found['fps']:g} fps" if found["fps"] else ""
    lines = [
        ("run", f"{found['run']}, format {found['format']}, {found['kind']}, {found['bytes'] / 2**20:.1f} MiB"),
        ("frames", f"{found['frames']}{fps}{'' if found['finished'] else ', not finished'}"),
        ("Gaussians", f"{counts['static']} static, {counts['dynamic']} dynamic{loose}"),
        ("language", (found["encoder"] or "yes") if found["language"] else "none"),
    ]
    if footage:
        scale = f", scale {footage['scale']:g}" if footage["scale"] else ""
        lines.append(("footage", f"{footage['place']}{'' if footage['there'] else ' (not there now)'}{scale}"))
    if found["objects"]:
        told = (f"{one['id']} {one['name'] or '–'}" for one in found["objects"])
        lines.append(("objects", ", ".join(told)))
    for one in found["objects"]:
        deeds = [f"{do['action']} {do['first']}..{do['last']}" for do in found["actions"] if do["id"] == one["id"]]
        if deeds:
            lines.append(("actions", f"{one['id']} {one['name'] or '–'}: {', '.join(deeds)}"))
    if found["selections"]:
        lines.append(("selections", ", ".join(found["selections"])))
    for label, text in lines:
        print(f"{label:10} {text}")
    for name, stage in found["stages"].items():
        state = "finished" if stage["finished"] else "begun"
        done = f"{stage['done_frames']} frames, " if stage["done_frames"] else ""
        print(f"{'stage':10} {name.replace('_', ' ')}: {state}, {done}{duration(stage['seconds'])}")
        for key, value in sorted((stage.get("settings") or {}).items()):
            print(f"{'':10}   {key} = {value}")


@app.command()
def check(
    dataset: Dataset,
    scale: Scale = None,
    cameras: CameraNames = None,
    leave_out: LeftOut = None,
    engine: EngineName = Engine.auto,
    as_json: Json = False,
) -> None:
    """Say how a dataset is read, and which of its cameras seem to stand wrong.

    Points that pictures of neighbouring cameras share have to lie on their epipolar lines: LightGlue finds them where
    its weights are there (`legs4d priors get lightglue`), else SIFT. What is fitted together (one camera, a few, one
    moment) is also asked whether its cameras look at the same. --json prints {dataset, layout, frames, fps, cameras:
    {train, test} in the first frame, pictures: {train, test} in all, width, height, method, poses: what is wrong with
    them or null, masks, objects, captions, notes, matcher, misfits: [{camera, frame, pixels}], unknown: [camera]}.
    """
    given = locals()
    from legs4d import commands
    from legs4d.deform.footage.start import what_is_wrong_with
    from legs4d.plan import suited_method
    from legs4d.priors.cache import best_prior, open_prior
    from legs4d.reconstruct.calibration import Look, look_at_cameras
    from legs4d.reconstruct.stages import choose_device
    from legs4d.scene.foreground import MotionMasks
    from legs4d.scene.layouts import layout_of
    from legs4d.scene.readers import open_sequence
    from legs4d.scene.sequence import cameras_move

    reading = asked(commands.Objects, given).reading()
    with working(engine) as context:
        sequence = open_sequence(dataset, reading, context)
        device, prior = choose_device(engine.value), best_prior("matches")
        matcher = None if prior is None else open_prior(prior.name, device)
        nothing = Look([], None, "none")
        looked = nothing if matcher is None else look_at_cameras(sequence, device, context, matcher)
    first, test = sequence.cameras("train", 0), sequence.cameras("test", 0)
    splits: tuple[Split, ...] = ("train", "test")
    pictures = {split: sum(len(sequence.cameras(split, t)) for t in range(sequence.num_frames)) for split in splits}
    method = suited_method(sequence)
    wrong = what_is_wrong_with(sequence) if method == "deform" else None
    found = {
        "dataset": str(dataset),
        "layout": layout_of(dataset),
        "frames": sequence.num_frames,
        "fps": sequence.fps,
        "cameras": {"train": len(first), "test": len(test)},
        "pictures": pictures,
        "width": first.width,
        "height": first.height,
        "method": method,
        "poses": wrong,
        "masks": "motion" if isinstance(sequence, MotionMasks) else "footage",
        "objects": sequence.objects("train", 0, []) is not None,
        "captions": sequence.captions is not None,
        "notes": list(sequence.notes),
        "matcher": None if prior is None else prior.name,
        "misfits": [asdict(one) for one in looked.misfits],
        "unknown": list(looked.unknown),
    }
    if as_json:
        print_json(found)
        return
    what = f"{len(first)} training and {len(test)} test cameras"
    if cameras_move(sequence):
        what = f"{pictures['train']} training and {pictures['test']} test pictures by cameras that move"
    print(f"{found['layout']}: {found['frames']} frames, {what}, {first.width}×{first.height}")
    for sentence in (*sequence.notes, *([wrong] if wrong else []), *(f"{one}." for one in looked.misfits)):
        print(sentence)
    if prior is None:
        return
    few = set(looked.unknown)
    if few:
        print(f"{prior.name} matches too little to say how these cameras stand: {', '.join(map(str, sorted(few)))}.")
    if not looked.misfits and not few.issuperset(first.ids):
        which = "No other camera" if few else "No camera"
        print(f"{which} misses the epipolar lines of {prior.name}'s matches by more than 2 pixels.")


@app.command()
def doctor(
    root: Annotated[
        list[Path] | None, typer.Option(help="Folder that is to be served; repeatable. Default: here.")
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="State folder of the server. Default: $LEGS4D_STATE_DIR or your own.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The server's settings, which say roots, state folder and port.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="TCP port that a server is to have.")] = None,
    extension: Annotated[
        Path | None, typer.Option(metavar="ZIP", help="Blender extension to compare. Default: those in dist/.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at what legs4d needs on this machine, one line each, with a cure for what is missing.

    Exit code 1 if something fails that all work needs; "warn" is what only some work needs. --json prints {ok, checks:
    [{name, state, what, cure}]}.
    """
    from backend.service.config import make_config, read_config
    from legs4d.cli.checks import Check, check_all

    settings = make_config(read_config(config) if config else {}, str(config or "the options"))
    checks: list[Check] = []
    roots = root or settings.roots or [Path.cwd()]
    for check in check_all(roots, state_dir or settings.state_dir, port or settings.port or None, extension):
        checks.append(check)
        if not as_json:
            print(f"{check.state:5} {check.name}: {check.what}{'; ' + check.cure if check.cure else ''}", flush=True)
    fine = all(check.state != "fail" for check in checks)
    if as_json:
        print_json({"ok": fine, "checks": [asdict(check) for check in checks]})
    if not fine:
        raise typer.Exit(EXIT_ERROR)
