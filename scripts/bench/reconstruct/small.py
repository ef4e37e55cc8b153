"""Small footage from pictures to an answer, as an earlier commit does it and as this tree does, side by side.

    scripts/bench/reconstruct/small.py [--frames 60] [--size 48x32] [--cameras 4] [--old 48bf937] \
        [--rounds 1] [--out FOLDER]

The commit is checked out and compiled in a temporary folder and runs on this environment's packages. Prints, of each,
seconds of each stage a frame, of the whole with starting up (also of CPU, which other programs disturb less), PSNR of
the test cameras, and what the query answers beside what is true. --old none measures this tree alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from tests.synthetic import Scene, write_dataset

PROMPT = "the ball is flying"
# The editable install's finder would give this tree's package whatever the path says.
CHILD = """
import runpy, sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
sys.path.insert(0, sys.argv[1])
sys.argv = ["legs4d", *sys.argv[2:]]
runpy.run_module("legs4d", run_name="__main__")
"""


@dataclass
class Result:
    """Of one training: seconds by stage, of the whole, and of CPU; dB; the query's answer."""

    stages: dict[str, float]
    whole: float
    cpu: float
    psnr: float
    answer: str


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def legs4d(tree: Path, *words: str) -> str:
    """What the command of a tree prints."""
    ran = subprocess.run([sys.executable, "-c", CHILD, str(tree), *words], capture_output=True, text=True, cwd=tree)
    if ran.returncode:
        sys.exit(f"legs4d {' '.join(words)} in {tree} failed:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def check_out(commit: str, folder: Path) -> Path:
    """That commit, or the checkout in a folder of that name, compiled."""
    if Path(commit).is_dir():
        tree = Path(commit).resolve()
    else:
        tree = folder / "old"
        tree.mkdir()
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", str(tree)], input=archive, check=True)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    configure = ["-S", ".", "-B", "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DLEGS4D_CUDA=OFF"]
    for words in (
        [*configure, f"-DPython_EXECUTABLE={sys.executable}"],
        ["--build", "build"],
        ["--install", "build", "--prefix", "."],
    ):
        subprocess.run(["cmake", *words], cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
    return tree


def measure(tree: Path, dataset: Path, out: Path, encoder: str) -> Result:
    started, worked = time.perf_counter(), cpu_of_children()
    legs4d(tree, "train", str(dataset), "--out", str(out), "--encoder", encoder, "--engine", "cpu")
    whole, cpu = time.perf_counter() - started, cpu_of_children() - worked
    records = json.loads((out / "run.json").read_text())["stages"]
    stages = {name: record["seconds"] for name, record in records.items() if record.get("seconds")}
    stages["rest"] = whole - sum(stages.values())
    psnr = json.loads(legs4d(tree, "eval", str(out), "--engine", "cpu", "--json"))["psnr"]
    return Result(stages, whole, cpu, psnr, legs4d(tree, "query", str(out), PROMPT).strip())


def show(title: str, result: Result, frames: int) -> None:
    parts = ", ".join(f"{name} {1000 * seconds / frames:.0f}" for name, seconds in result.stages.items())
    print(f"{title}: {result.whole:.1f} s, {result.cpu:.1f} s of CPU; ms a frame: {parts}; {result.psnr:.2f} dB")
    print(f"    {result.answer}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", default="48x32")
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--encoder", default="tiny")
    parser.add_argument("--old", default="48bf937", help="commit to compare with, a folder with one, or none")
    parser.add_argument("--rounds", type=int, default=1, help="trainings of each, in turn")
    parser.add_argument("--out", type=Path, help="keep the dataset and the runs there")
    options = figures.parse(parser)
    width, height = map(int, options.size.split("x"))
    scene = Scene(options.frames, width, height, options.cameras, num_test=2)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        dataset = folder / "dataset"
        shutil.rmtree(dataset, ignore_errors=True)
        write_dataset(dataset, scene)
        trees = {"new": ROOT}
        if options.old != "none":
            trees = {"old": check_out(options.old, Path(temporary)), **trees}
        first, last = scene.flight or (0, 0)
        print(
            f"{options.frames} frames of {options.cameras} cameras of {options.size}; the ball flies {first} to {last}"
        )
        for round_ in range(options.rounds):
            results = {}
            for title, tree in trees.items():
                out = folder / f"{title}-{round_}"
                shutil.rmtree(out, ignore_errors=True)
                results[title] = measure(tree, dataset, out, options.encoder)
                show(title, results[title], options.frames)
            if "old" in results:
                old, new = results["old"], results["new"]
                print(f"old / new: {old.whole / new.whole:.1f}, of CPU {old.cpu / new.cpu:.1f}", flush=True)
                what = (
                    f"{options.frames} frames of {options.cameras} cameras of {options.size}: CPU against {options.old}"
                )
                figures.record(
                    "Small footage", what, f"{old.cpu / new.cpu:.1f} times less, {new.psnr:.2f} dB", aim="5 times"
                )


if __name__ == "__main__":
    main()
