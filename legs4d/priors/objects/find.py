"""Things in footage of several cameras, found without anybody's masks: `legs4d objects`.

In every picture boxes are found and named; sightings of several cameras that agree on a place and a size are a thing in
space; things are followed over time; what moves is cut out of every picture. Each frame's sightings and each camera's
masks are durable when they are done, so that a run killed at any moment goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError
from legs4d.executor import default_threads
from legs4d.gaussians.store.files import clear_write_errors, forget_unfinished, write_file
from legs4d.gaussians.store.lock import lock_file
from legs4d.priors.cache import find_weights, is_there, open_prior, priors_folder
from legs4d.priors.fetching.conversion import VERSION as CONVERSION
from legs4d.priors.objects.cutting import Cutters, cut_camera
from legs4d.priors.objects.folder import (
    TABLE,
    FoundObject,
    mask_place,
    read_table,
    unfinished_folder,
    write_mask,
    write_table,
)
from legs4d.priors.objects.places import LEAST_CAMERAS, find_places
from legs4d.priors.objects.sightings import Asked, Finders, Sightings, joined, see
from legs4d.priors.objects.tracks import MOVES, SURE, Thing, follow, name_things
from legs4d.priors.prior import Packaged
from legs4d.priors.registry import find_prior
from legs4d.scene.content import digest_of
from legs4d.scene.sequence import Sequence

VERSION = 2
"""Of this code: raise it when the same footage gives other things."""
LEAST_SCORE = 0.12
"""Of boxes: several cameras that agree outweigh each one's doubt."""
MOST_THINGS = 255
"""A mask has 8 bits."""
HELPERS = ("nanodet", "movenet", "u2netp", "pose")
"""Those that are used where they are there."""


@dataclass(frozen=True)
class Helpers:
    """Who looks and cuts, and what the result is made from.

    Attributes:
        finders, cutters: see there.
        made_from: [{name, sha256, licence}] of those with weights.
        missing: names of those that are not there.
        words: what alone is looked for; nothing for all that moves.
    """

    finders: Finders
    cutters: Cutters
    made_from: list[dict[str, Any]]
    missing: list[str]
    words: tuple[str, ...] = ()


def open_helpers(device: torch.device, folder: Path | None = None) -> Helpers:
    """Those whose weights are there; GrabCut cuts where no network does."""
    where = priors_folder(folder)
    opened: dict[str, Any] = {}
    for name in HELPERS:
        if is_there(find_prior(name), where):
            opened[name] = open_prior(name, device, where)
    if "nanodet" in opened:
        opened["nanodet"].least_score = LEAST_SCORE
    cutter = opened["u2netp"] if "u2netp" in opened else open_prior("grabcut", device)
    made_from = []
    for name in opened:
        prior = find_prior(name)
        assert isinstance(prior.weights, Packaged)
        sha256 = prior.weights.package.sha256
        made_from.append({"name": name, "sha256": sha256, "licence": prior.licence, "conversion": CONVERSION})
    finders, cutters = Finders(opened.get("nanodet"), opened.get("movenet")), Cutters(cutter, opened.get("pose"))
    if device.type == "cuda":
        _warm(finders, cutters)
    return Helpers(finders, cutters, made_from, [name for name in HELPERS if name not in opened])


def _warm(finders: Finders, cutters: Cutters) -> None:
    """Have networks meet a picture before threads ask them side by side: what is captured then is not disturbed."""
    picture, box = np.zeros((360, 640, 3), np.float32), np.array([[200, 100, 300, 300]], np.float32)
    see(0, picture, None, finders)
    cutters.masks.masks(picture, box)
    if cutters.people is not None:
        cutters.people.people(picture, box)


def open_readers(words: tuple[str, ...], device: torch.device, folder: Path | None = None) -> Helpers:
    """SAM 3, which looks for what words mean and cuts it out.

    Raises:
        Legs4dError: its weights are not there; says what to put where.
    """
    place = find_weights("sam3-words", folder)
    finder, cutter = open_prior("sam3-words", device, folder), open_prior("sam3", device, folder)
    licence = find_prior("sam3").licence
    made_from = [
        {"name": "sam3", "file": path.name, "sha256": _sha256(path), "licence": licence}
        for path in sorted(place.glob("*.safetensors"))
    ]
    return Helpers(Finders(Asked(finder, words), None, alone=True), Cutters(cutter, None), made_from, [], words)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_objects(
    sequence: Sequence,
    out: Path,
    helpers: Helpers,
    context: Context = QUIET,
    *,
    again: bool = False,
) -> dict[str, Any]:
    """Find the things in footage, and write them into the folder `out`, which appears when all is done.

    Args:
        sequence: its training cameras are looked at. Its masks, found by motion where it has none, say what moves.
        again: replace what is there, if it was made from something else.

    Returns:
        What objects.json says: objects, unsure, still, made_from, seconds (of this call), …; and `folder`.

    Raises:
        DatasetError: nothing can be found, nothing moves, or the folder holds the things of other footage.
        Stopped: it was told to stop; the same call goes on.
    """
    count = len(sequence.cameras("train", 0))
    if count < LEAST_CAMERAS:
        what = f"has {count} training cameras; a thing counts when {LEAST_CAMERAS} see it"
        raise DatasetError(what, where=str(sequence.root), fix="give footage of more cameras, or masks of your own")
    how = {
        "version": VERSION,
        "footage": sequence.fingerprint(),
        "scale": sequence.reading.scale,
        "masks": "motion" if _found_by_motion(sequence) else "given",
        "priors": helpers.made_from,
        **({"words": list(helpers.words)} if helpers.words else {}),
    }
    if (out / TABLE).is_file():
        told = read_table(out)[1]
        if told.get("how") == digest_of(how):
            return _told(out)
        if not again:
            what = "holds things that were found in other footage, or otherwise"
            raise DatasetError(what, where=str(out), fix="give --again to replace them, or another --out")
    elif out.exists() and any(out.iterdir()):
        raise DatasetError("is a folder of something else", where=str(out), fix="give another --out")
    unfinished = unfinished_folder(out)
    with clear_write_errors(unfinished):
        unfinished.mkdir(parents=True, exist_ok=True)
    with lock_file(unfinished / "lock"):
        forget_unfinished(unfinished)
        _begin(unfinished, digest_of(how))
        try:
            _work(sequence, unfinished, helpers, how, context)
        except DatasetError:  # there is nothing to be found: nothing of it is kept
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        with clear_write_errors(out):
            (unfinished / "lock").unlink()
            shutil.rmtree(unfinished / "sightings")
            (unfinished / "how").unlink()
            if out.exists():
                shutil.rmtree(out)
            unfinished.rename(out)
    return _told(out)


def _told(folder: Path) -> dict[str, Any]:
    told = json.loads((folder / TABLE).read_text(encoding="utf-8"))
    return {"folder": str(folder), **told}


def _begin(folder: Path, how: str) -> None:
    """Throw away what was begun with something else."""
    mark = folder / "how"
    if mark.is_file() and mark.read_text() == how:
        return
    for name in ("objects", "sightings"):
        shutil.rmtree(folder / name, ignore_errors=True)
    write_file(mark, how.encode())


def _found_by_motion(sequence: Sequence) -> bool:
    from legs4d.scene.foreground import MotionMasks

    return isinstance(sequence, MotionMasks)


def _work(
    sequence: Sequence,
    folder: Path,
    helpers: Helpers,
    how: dict[str, Any],
    context: Context,
) -> None:
    frames = range(sequence.num_frames)
    cameras = [sequence.cameras("train", frame) for frame in frames]
    knows = _knows_what_moves(sequence, helpers, context)
    began = time.monotonic()
    sightings = _look(sequence, folder / "sightings", helpers.finders, knows, context)
    looked = time.monotonic()
    places = []
    reporter = context.reporter("place_objects")
    with _workers() as pool:
        for place in pool.map(find_places, sightings, cameras):
            places.append(place)
            reporter.step(len(places), len(frames))
    things = name_things(follow(places), sightings, len(cameras[0]))
    things.sort(key=lambda thing: (-thing.confidence, thing.track.first))
    moving = [thing for thing in things if thing.moving >= MOVES or helpers.words]
    sure = [thing for thing in moving if thing.confidence >= SURE][:MOST_THINGS]
    if not sure and helpers.words:
        asked = ", ".join(repr(one) for one in helpers.words)
        what = f"nothing of what {asked} means was found in three cameras or more"
        raise DatasetError(what, where=str(sequence.root), fix="ask for it in other words, or without --prompt")
    if not sure:
        what = "nothing that moves was found in three cameras or more"
        fix = "fetch helpers by `legs4d priors get all`, or give object masks of your own"
        raise DatasetError(what, where=str(sequence.root), fix=fix if helpers.missing else "give masks of your own")
    placed = time.monotonic()
    _cut(sequence, folder, helpers.cutters, sure, sightings, knows, context)
    took = {"look": looked - began, "place": placed - looked, "cut": time.monotonic() - placed}
    seconds = {name: round(value, 3) for name, value in took.items()}
    doubts = [_doubt(i + 1, thing) for i, thing in enumerate(sure) if thing.doubt]
    unsure = [_doubt(None, thing) for thing in moving if all(thing is not one for one in sure)]
    kept = {id(thing) for thing in moving}
    still = [thing.name for thing in things if id(thing) not in kept and thing.confidence >= SURE]
    told = {"unsure": doubts + unsure, "still": still, "made_from": how, "how": digest_of(how)}
    objects = [_found(i + 1, thing) for i, thing in enumerate(sure)]
    write_table(folder, objects, {**told, "without": helpers.missing, "seconds": seconds})


def _knows_what_moves(sequence: Sequence, helpers: Helpers, context: Context) -> bool:
    """Whether masks tell it. Without, all that is found counts, if anybody looks; and where words say what counts."""
    if helpers.words:
        return False
    try:
        prepare = getattr(sequence, "prepare", None)
        if prepare is not None:
            prepare(context)
        return sequence.masks("train", 0, [0]) is not None
    except DatasetError:
        if helpers.finders.boxes is None and helpers.finders.people is None:
            raise
        return False


def _moving(sequence: Sequence, frame: int, camera: int) -> NDArray[np.float32] | None:
    masks = sequence.masks("train", frame, [camera])
    return None if masks is None else masks[0]


def _look(
    sequence: Sequence,
    folder: Path,
    finders: Finders,
    knows: bool,
    context: Context,
) -> list[Sightings]:
    """The sightings of each frame."""
    with clear_write_errors(folder):
        folder.mkdir(exist_ok=True)
    total = sequence.num_frames * len(sequence.cameras("train", 0))
    reporter = context.reporter("look_for_objects")
    found = []

    def look(frame: int, camera: int) -> Sightings:
        shown = sequence.images("train", frame, [camera])[0]
        return see(camera, shown, _moving(sequence, frame, camera) if knows else None, finders)

    with _workers() as pool:
        for frame in range(sequence.num_frames):
            path = folder / f"{frame:06d}.npz"
            with suppress(OSError, ValueError, KeyError, TypeError):  # not there, or cut short by a full disk
                found.append(Sightings.load(path))
                continue
            count = len(sequence.cameras("train", frame))
            parts = []
            for part in pool.map(lambda camera, frame=frame: look(frame, camera), range(count)):
                parts.append(part)
                reporter.step(frame * count + len(parts), total)
            found.append(joined(parts))
            found[-1].save(path)
    return found


def _cut(
    sequence: Sequence,
    folder: Path,
    cutters: Cutters,
    things: list[Thing],
    sightings: list[Sightings],
    knows: bool,
    context: Context,
) -> None:
    """Write the masks of every camera that has not all of them."""
    cameras = [sequence.cameras("train", frame) for frame in range(sequence.num_frames)]
    ids, count = cameras[0].ids, len(cameras[0])
    reporter = context.reporter("cut_objects")
    done = [0]

    def step(_: int) -> None:
        done[0] += 1
        reporter.step(min(done[0], count * len(cameras)), count * len(cameras))

    def cut(camera: int) -> None:
        places = [mask_place(folder, ids[camera], number) for number in sequence.frame_numbers]
        if all(place.is_file() for place in places):
            done[0] += len(places)
            return
        labels = cut_camera(
            camera,
            things,
            sightings,
            cameras,
            lambda frame: sequence.images("train", frame, [camera])[0],
            lambda frame: _moving(sequence, frame, camera) if knows else None,
            cutters,
            step,
        )
        for place, label in zip(places, labels, strict=True):
            write_mask(place, label)

    with _workers() as pool:
        for _ in pool.map(cut, range(count)):
            reporter.check()


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    """Threads that work on a picture each: small networks gain little from several threads for one picture."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(default_threads(), "objects", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _found(number: int, thing: Thing) -> FoundObject:
    track = thing.track
    seen = [len(place.sightings) for place in track.places.values()]
    width, height = track.size.tolist()
    positions = {}
    for frame in range(track.first, track.last + 1):
        x, y, z = track.expected(frame).tolist()
        positions[frame] = (x, y, z)
    cameras = sum(seen) / len(seen)
    return FoundObject(
        number, thing.name, thing.confidence, (track.first, track.last), cameras, (width, height), positions
    )


def _doubt(number: int | None, thing: Thing) -> dict[str, Any]:
    why = thing.doubt or "few cameras saw it, or none was sure"
    frames = [thing.track.first, thing.track.last]
    return {"id": number, "name": thing.name, "confidence": thing.confidence, "frames": frames, "why": why}
