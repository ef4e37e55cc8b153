"""Kills commands at random moments and gives them again: is anything lost, done twice, or other than undisturbed?

    python scripts/tools/kill_runs.py [--kills 70] [--seed 0] [--commands train,lift-again,…]

A command is given as a person gives it, in a process that SIGKILL ends at a moment drawn from its undisturbed duration.
Then what was there before must open and answer, the footage gets other times, and the same command is given again until
it ends well. What it makes must be the undisturbed result to the bit (on the CPU), and frames that were done before the
kill must be the same files. Another command is a line in `CASES`. (Jobs of a server: tests/backend/faults.py.)
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = map(str, Path(__file__).resolve().parents[1:3])  # scripts/ and the repository

from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.grounding import query
from tests.synthetic import CAPTION_FLYING, Scene, write_dataset

SCENE = Scene(num_frames=6, width=24, height=16, num_train=4, num_test=1)
QUICK = (
    *("--engine", "cpu", "--encoder", "captions", "--preset", "quick"),
    *("--set", "reconstruct.first_frame.steps=60", "--set", "reconstruct.first_frame.num_foreground=60"),
    *("--set", "reconstruct.first_frame.num_background=120", "--set", "reconstruct.tracking.steps=3"),
    *("--set", "reconstruct.tracking.nodes.steps=2", "--set", "reconstruct.tracking.nodes.count=20"),
)
ATTEMPTS = 3
"""Times that a command may be given after its kill before it counts as lost."""
SLOWEST = 120.0
"""Seconds after which a command counts as hanging."""


@dataclass(frozen=True)
class Case:
    """A command to kill, in a folder that holds `footage/`.

    Attributes:
        begin: commands that are given, undisturbed, before it.
        command: the one that is killed; it must make the same when it is given again.
        keeps: whether run/ answers before it, and so has to after a kill.
        output: what it makes.
    """

    command: tuple[str, ...]
    begin: tuple[tuple[str, ...], ...] = ()
    keeps: bool = False
    output: str = "run"


TRAIN = ("train", "footage", "--out", "run", *QUICK)
CASES: dict[str, Case] = {
    "train": Case(TRAIN),
    "reconstruct": Case(("reconstruct", "footage", "--out", "run", *QUICK[:2], *QUICK[4:])),
    "train-again": Case((*TRAIN, "--set", "reconstruct.tracking.steps=2", "--again"), (TRAIN,), keeps=True),
    "lift-again": Case(
        ("lift", "run", "--encoder", "captions", "--dim", "3", "--engine", "cpu", "--again"), (TRAIN,), keeps=True
    ),
    "objects": Case(("objects", "footage", "--out", "found", *QUICK[:2]), output="found"),
    "export": Case(("export", "run", "--out", "files"), (TRAIN,), keeps=True, output="files"),
    "import-d3dgs": Case(
        ("import-d3dgs", "files/params.npz", "--out", "imported"),
        (TRAIN, ("export", "run", "--out", "files", "--format", "npz")),
        keeps=True,
        output="imported",
    ),
    "import-splats": Case(
        ("import-splats", "files", "--out", "imported"),
        (TRAIN, ("export", "run", "--out", "files")),
        keeps=True,
        output="imported",
    ),
}


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
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.twice or self.other)


def give(command: tuple[str, ...], folder: Path, kill_after: float | None = None) -> int | None:
    """Give a command in a folder; its exit code, None where it was killed. Torch is loaded once, by this process."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setsid()
            os.chdir(folder)
            log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            from legs4d.cli import app

            app(list(command), standalone_mode=True)
            code = 0
        except SystemExit as exited:
            code = exited.code if isinstance(exited.code, int) else 0 if exited.code is None else 1
        finally:
            sys.stdout.flush()
            os._exit(code)
    until = time.monotonic() + (SLOWEST if kill_after is None else kill_after)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
        time.sleep(0.002)


def content(folder: Path) -> dict[str, str]:
    """Hashes of all that a command made, but for what says how long it took."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in ("run.json", ".lock")
    }


def done_files(run: Path) -> dict[Path, tuple[int, int]]:
    """Chunk of each frame that run.json vouches for, relative to the run → inode and time."""
    try:
        opened = Run.open(run)
    except Legs4dError:
        return {}
    frames = opened.stages["tracking"].done_frames if "tracking" in opened.stages else []
    chunks = [Path(f"run.zarr/dynamic/means/c.{frame}.0.0") for frame in frames]
    return {chunk: _identity(run / chunk) for chunk in chunks if (run / chunk).exists()}


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def answers(run: Path) -> bool:
    """Whether a run opens, answers and gives its Gaussians."""
    try:
        opened = Run.open(run)
        found = query(opened, [CAPTION_FLYING])[0]
        return len(found.relevancy) == opened.num_frames and len(opened.frame(opened.num_frames - 1)) > 0
    except Legs4dError:
        return False


def try_once(case: Case, start: Path, expected: dict[str, str], moment: float, score: Score) -> None:
    """Kill a command once, and give it again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(shutil.copytree(start, Path(name) / "work"))
        score.kills += 1
        score.in_time += give(case.command, folder, kill_after=moment) is None
        if case.keeps and not answers(folder / "run"):
            score.lost += 1
            score.notes.append(f"after {moment:.2f} s the run does not answer")
        beside = folder / case.output / ".again"
        again = "--again" in case.command  # then only what grows beside the old is gone on with
        done = done_files(beside if again else folder / case.output)
        for path in (folder / "footage").rglob("*"):
            os.utime(path)
        codes: list[int | None] = []
        while len(codes) < ATTEMPTS and 0 not in codes:
            codes.append(give(case.command, folder))
        if 0 not in codes:
            score.lost += 1
            said = (folder / "log.txt").read_text().splitlines()[-1:]
            score.notes.append(f"after {moment:.2f} s it ends with {codes}: {said}")
            return
        remade = [chunk for chunk, was in done.items() if _identity(folder / case.output / chunk) != was]
        if remade:
            score.twice += 1
            score.notes.append(f"after {moment:.2f} s made again: {', '.join(map(str, remade))}")
        if (found := content(folder / case.output)) != expected:
            score.other += 1
            names = sorted(n for n in found.keys() | expected.keys() if found.get(n) != expected.get(n))
            score.notes.append(f"after {moment:.2f} s other: {', '.join(names[:3])}")


def try_command(name: str, kills: int, chance: random.Random, footage: Path) -> Score:
    """Kill one of `CASES` so many times."""
    case, score, began = CASES[name], Score(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start"
        start.mkdir()
        shutil.copytree(footage, start / "footage")
        for command in case.begin:
            if give(command, start) != 0:
                raise SystemExit(f"{' '.join(command)}: {(start / 'log.txt').read_text()}")
        undisturbed = Path(shutil.copytree(start, Path(folder) / "undisturbed"))
        started = time.monotonic()
        if give(case.command, undisturbed) != 0:
            raise SystemExit(f"{' '.join(case.command)}: {(undisturbed / 'log.txt').read_text()}")
        seconds = time.monotonic() - started
        expected = content(undisturbed / case.output)
        for _ in range(kills):
            try_once(case, start, expected, chance.uniform(0, 1.02) * seconds, score)
    score.seconds = time.monotonic() - began
    return score


def load() -> None:
    """What every command needs, before any is forked off."""
    import legs4d.pipeline
    import legs4d.reconstruct.chunks
    import legs4d.reconstruct.stages  # noqa: F401


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=70, help="altogether")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", default=",".join(CASES))
    options = parser.parse_args()
    names = options.commands.split(",")
    load()
    clean = True
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LEGS4D_CACHE_DIR"] = str(Path(folder) / "cache")
        footage = write_dataset(Path(folder) / "footage", SCENE, image_suffix=".png")
        print("| command | kills | before its end | lost | done twice | other result | seconds |")
        print("|---|---|---|---|---|---|---|")
        chance = random.Random(options.seed)
        for position, name in enumerate(names):
            share = options.kills // len(names) + (position < options.kills % len(names))
            score = try_command(name, share, chance, footage)
            figures = (score.kills, score.in_time, score.lost, score.twice, score.other, f"{score.seconds:.0f}")
            print(f"| {name} | {' | '.join(map(str, figures))} |", flush=True)
            for note in score.notes:
                print(f"  {name}: {note}", flush=True)
            clean &= score.is_clean
    return 0 if clean else 1


if __name__ == "__main__":
    raise SystemExit(main())
