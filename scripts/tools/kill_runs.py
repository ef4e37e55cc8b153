"""Kills commands at random moments and gives them again: is anything lost, done twice, or other than undisturbed?

    python scripts/tools/kill_runs.py [--kills 200] [--seed 0] [--commands train,lift-again,…] [--processes 2]

A command is given as a person gives it, in a process that SIGKILL ends at a moment drawn from its undisturbed duration.
Of `submit`, the client, the server, what the server has started, or all of them are killed, and the server is begun
again. Then what was there before must open and answer, the footage gets other times, and the same command is given
again until it ends well. What it makes must be the undisturbed result to the bit (on the CPU), and frames that were
done before the kill must be the same files. Another command is a line in `CASES`. (Jobs, too: tests/backend/faults.py.)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path[:0] = map(str, Path(__file__).resolve().parents[1:3])  # scripts/ and the repository

import numpy as np
from PIL import Image

from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.grounding import query
from tests.deform.film import write_captioned
from tests.synthetic import CAPTION_FLYING, Scene, write_dataset
from tests.video import drawn
from tools.killing import STATE, Server, begin, give, kill, wait

SCENE = Scene(num_frames=6, width=24, height=16, num_train=4, num_test=1)
STEPS = (
    *("--preset", "quick"),
    *("--set", "reconstruct.first_frame.steps=60", "--set", "reconstruct.first_frame.num_foreground=60"),
    *("--set", "reconstruct.first_frame.num_background=120", "--set", "reconstruct.tracking.steps=3"),
    *("--set", "reconstruct.tracking.nodes.steps=2", "--set", "reconstruct.tracking.nodes.count=20"),
)
ONE_STEPS = (
    *("--set", "deform.steps=120", "--set", "deform.keep_every=0.2", "--set", "deform.enough_pixels=1"),
    *("--set", "deform.nodes.weights_rate=100", "--set", "deform.growth.every=10", "--set", "deform.growth.stop=0.9"),
)
CPU = ("--engine", "cpu")
ENCODER = "captions"
"""Stands for the encoder that is asked for."""
ATTEMPTS = 3
"""Times that a command may be given after its kill before it counts as lost."""
VICTIMS = ("client", "server", "worker", "all")
"""Of a submitted job: who is killed."""


@dataclass(frozen=True)
class Case:
    """A command to kill, in a folder that holds `footage/`, `moving/` (of one camera), `clip/` and `film/`.

    Attributes:
        command: the one that is killed; it must make the same when it is given again.
        before: commands that are given, undisturbed, before it.
        keeps: whether run/ answers before it, and so has to after a kill.
        output: what it makes.
    """

    command: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    keeps: bool = False
    output: str = "run"

    def encoded_by(self, encoder: str) -> Case:
        """The same with an encoder of this name."""

        def named(command: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(encoder if word == ENCODER else word for word in command)

        return replace(self, command=named(self.command), before=tuple(map(named, self.before)))

    @property
    def is_submitted(self) -> bool:
        return self.command[0] == "submit"


def submitted(*command: str) -> tuple[str, ...]:
    return ("submit", *command, "--state-dir", STATE, "--follow")


TRAIN = ("train", "footage", "--out", "run", *CPU, "--encoder", ENCODER, *STEPS)
CASES: dict[str, Case] = {
    "train": Case(TRAIN),
    "reconstruct": Case(("reconstruct", "footage", "--out", "run", *CPU, *STEPS)),
    "one-camera": Case(("train", "moving", "--out", "run", *CPU, "--encoder", ENCODER, *ONE_STEPS)),
    "train-again": Case((*TRAIN, "--set", "reconstruct.tracking.steps=2", "--again"), (TRAIN,), keeps=True),
    "births-again": Case((*TRAIN, "--set", "reconstruct.births.frames=4", "--again"), (TRAIN,), keeps=True),
    "lift-again": Case(("lift", "run", "--encoder", ENCODER, "--dim", "3", *CPU, "--again"), (TRAIN,), keeps=True),
    "objects": Case(("objects", "footage", "--out", "found", *CPU), output="found"),
    "export": Case(("export", "run", "--out", "files"), (TRAIN,), keeps=True, output="files"),
    "import-d3dgs": Case(  # of a run without births, of which params.npz knows nothing
        ("import-d3dgs", "files/params.npz", "--out", "imported"),
        (
            TRAIN,
            (*TRAIN, "--set", "reconstruct.births.frames=0", "--again"),
            ("export", "run", "--out", "files", "--format", "npz"),
        ),
        keeps=True,
        output="imported",
    ),
    "import-splats": Case(
        ("import-splats", "files", "--out", "imported"),
        (TRAIN, ("export", "run", "--out", "files")),
        keeps=True,
        output="imported",
    ),
    "video": Case(("video", "clip", "--out", "run", *CPU, "--lite", "--camera", "still")),
    "object": Case(("object", "film", "--out", "run", *CPU, "--prior", "revolve")),
    "submit-train": Case(submitted("train", "footage", "--out", "run", "--device", "cpu", *TRAIN[6:])),
    "submit-export": Case(submitted("export", "run", "--out", "files"), (TRAIN,), keeps=True, output="files"),
}


def write_film(folder: Path) -> None:
    """A ball that rolls, without what is behind it."""
    folder.mkdir()
    for frame in range(drawn.FRAMES):
        alpha = (drawn.inside(frame) * 255).astype(np.uint8)
        Image.fromarray(np.dstack([drawn.picture(frame), alpha])).save(folder / f"{frame}.png")


@dataclass
class Score:
    """What became of a command's kills."""

    kills: int = 0
    in_time: int = 0
    """Kills that met the command before it had ended."""
    lost: int = 0
    twice: int = 0
    other: int = 0
    seconds: float = 0.0
    """Of one kill with what follows, together over all kills."""
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.twice or self.other)

    def __iadd__(self, more: Score) -> Score:
        for name, value in vars(more).items():
            setattr(self, name, getattr(self, name) + value)
        return self


def content(folder: Path) -> dict[str, str]:
    """Hashes of all that a command made, but for what says how long it took."""
    timed = ("run.json", "report.html", ".lock")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in timed]
    return {path.relative_to(folder).as_posix(): hashlib.blake2b(_untimed(path)).hexdigest() for path in files}


def _untimed(path: Path) -> bytes:
    found = path.read_bytes()
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return b"".join(name.encode() + file[name].tobytes() for name in file.files if name != "seconds")
    return json.dumps({**json.loads(found), "seconds": None}).encode() if path.name == "objects.json" else found


def done_files(run: Path) -> dict[Path, tuple[int, int]]:
    """Chunk of each tracked frame that run.json vouches for, relative to the run → inode and time."""
    try:
        opened = Run.open(run)
    except Legs4dError:
        return {}
    frames = opened.stages["tracking"].done_frames if "tracking" in opened.stages else []
    chunks = [Path(f"run.zarr/dynamic/means/c.{frame}.0.0") for frame in frames]
    return {chunk: _identity(run, chunk) for chunk in chunks if (run / chunk).exists()}


def _identity(run: Path, chunk: Path) -> tuple[int, int]:
    before = run / "run.zarr/before" / chunk.relative_to("run.zarr")  # where births put what was tracked
    found = (before if before.exists() else run / chunk).stat()
    return found.st_ino, found.st_mtime_ns


def answers(run: Path) -> bool:
    """Whether a run opens, answers and gives its Gaussians."""
    try:
        opened = Run.open(run)
        found = query(opened, [CAPTION_FLYING])[0]
        return len(found.relevancy) == opened.num_frames and len(opened.frame(opened.num_frames - 1)) > 0
    except Legs4dError:
        return False


def strike(case: Case, folder: Path, server: Server | None, victim: str, moment: float) -> bool:
    """Give the command, kill so many seconds later, and have a server there again; whether the kill met anything."""
    process = begin(case.command, folder)
    if wait(process, moment)[0]:
        return False
    if server is None or victim == "client":
        return kill(process) is None
    met = server.strike(victim)
    if victim == "all" or not wait(process, 30)[0]:
        kill(process)
    server.begin()
    return met


def try_once(case: Case, start: Path, expected: dict[str, str], moment: float, victim: str) -> Score:
    """Kill a command once, and give it again."""
    began, score = time.monotonic(), Score(kills=1)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(shutil.copytree(start, Path(name) / "work"))
        server = stack.enter_context(Server(folder)) if case.is_submitted else None
        told = f"{victim} after {moment:.2f} s" if server else f"after {moment:.2f} s"
        score.in_time += strike(case, folder, server, victim, moment)
        if case.keeps and not answers(folder / "run"):
            score.lost += 1
            score.notes.append(f"{told} the run does not answer")
        beside = folder / case.output / ".again"
        again = "--again" in case.command  # then only what grows beside the old is gone on with
        done = done_files(beside if again else folder / case.output)
        for path in (folder / "footage").rglob("*"):
            os.utime(path)
        codes: list[int | None] = []
        while len(codes) < ATTEMPTS and 0 not in codes:
            codes.append(give(case.command, folder))
        said = (folder / "log.txt").read_text().splitlines()[-1:]
        is_there = case.is_submitted and any("is there already" in line for line in said)  # what a job has exported
        if 0 not in codes and not is_there:
            score.lost += 1
            score.notes.append(f"{told} it ends with {codes}: {said}")
        else:
            remade = [chunk for chunk, was in done.items() if _identity(folder / case.output, chunk) != was]
            if remade:
                score.twice += 1
                score.notes.append(f"{told} made again: {', '.join(map(str, remade))}")
            if (found := content(folder / case.output)) != expected:
                score.other += 1
                names = sorted(n for n in found.keys() | expected.keys() if found.get(n) != expected.get(n))
                score.notes.append(f"{told} other: {', '.join(names[:3])}")
    score.seconds = time.monotonic() - began
    return score


def give_well(command: tuple[str, ...], folder: Path) -> None:
    """Give a command that nobody disturbs. RuntimeError when it fails: a pool waits for ever for what has exited."""
    if give(command, folder) != 0:
        raise RuntimeError(f"{' '.join(command)}: {(folder / 'log.txt').read_text()}")


def prepare(case: Case, trained: Path, folder: Path) -> tuple[Path, float, dict[str, str]]:
    """Where a command begins, how long it takes undisturbed, and what it makes.

    Args:
        trained: a folder in which `TRAIN` was given.
        folder: for both; there is none yet.
    """
    start = Path(shutil.copytree(trained, folder / "start"))
    if not case.before:
        shutil.rmtree(start / "run")
    for command in case.before[1:]:  # the first is `TRAIN`
        give_well(command, start)
    undisturbed = Path(shutil.copytree(start, folder / "undisturbed"))
    with ExitStack() as stack:
        if case.is_submitted:
            stack.enter_context(Server(undisturbed))
        began = time.monotonic()
        give_well(case.command, undisturbed)
        return start, time.monotonic() - began, content(undisturbed / case.output)


def load() -> None:
    """What every command needs, before any is forked off."""
    import torch

    import legs4d.generate.work
    import legs4d.pipeline
    import legs4d.reconstruct.chunks
    import legs4d.reconstruct.stages
    import legs4d.video.work  # noqa: F401

    torch.set_num_threads(1)  # several would have to be made anew in each fork, and so little work is slower on them


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=70, help="altogether")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=",".join(CASES))
    parser.add_argument("--processes", type=int, default=1, help="kills at a time")
    parser.add_argument("--encoder", default=ENCODER, help="of trainings and lifts")
    options = parser.parse_args()
    names = options.commands.split(",")
    cases = {name: CASES[name].encoded_by(options.encoder) for name in names}
    load()
    chance, began = random.Random(options.seed), time.monotonic()
    scores = {name: Score() for name in names}
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder, trained = Path(scratch), Path(scratch) / "trained"
        os.environ["LEGS4D_CACHE_DIR"] = str(folder / "cache")
        pool = stack.enter_context(multiprocessing.get_context("fork").Pool(options.processes))
        write_dataset(trained / "footage", SCENE, image_suffix=".png")
        drawn.write(trained / "clip")
        write_film(trained / "film")
        write_captioned(trained / "moving", size=24)
        give_well(CASES["train"].encoded_by(options.encoder).command, trained)
        places = [(case, trained, folder / name) for name, case in cases.items()]
        ready = dict(zip(names, pool.starmap(prepare, places), strict=True))
        told = ", ".join(f"{name} {seconds:.1f}" for name, (_, seconds, _) in ready.items())
        print(f"seconds undisturbed, with torch loaded: {told}", file=sys.stderr, flush=True)
        waiting = []
        for number in range(options.kills):
            name = names[number % len(names)]
            start, seconds, expected = ready[name]
            blow = (chance.uniform(0, 1.02) * seconds, chance.choice(VICTIMS))
            waiting.append((name, pool.apply_async(try_once, (cases[name], start, expected, *blow))))
        for number, (name, result) in enumerate(waiting, 1):
            score = result.get()
            scores[name] += score
            for note in score.notes:
                print(f"{name}: {note}", flush=True)
            if number % 10 == 0:
                print(f"{number} kills in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print("| command | kills | before its end | lost | done twice | other result | seconds a kill |")
    print("|---|---|---|---|---|---|---|")
    for name, score in scores.items():
        each = f"{score.seconds / max(1, score.kills):.1f}"
        print(f"| {name} | {score.kills} | {score.in_time} | {score.lost} | {score.twice} | {score.other} | {each} |")
    return 0 if all(score.is_clean for score in scores.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
