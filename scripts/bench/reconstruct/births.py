"""Ablate what the stage `births` finds: one tracked clip, ended in several ways, on test cameras.

    scripts/bench/reconstruct/births.py DATASET --variant "without light: light=false"

A variant is a name and settings of `reconstruct.births` that differ from the defaults. The clip is tracked once, at the
preset `quick`, on the CPU; `--tracked RUN` takes one that was, in copies that forget what births found.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from bench.reconstruct.ablate_reconstruction import varied
from legs4d.config import DatasetSettings, ReconstructSettings
from legs4d.gaussians.store.run import Run
from legs4d.reconstruct.evaluation.evaluate import evaluate_pictures
from legs4d.reconstruct.stages import Reconstruction, find_scene_stage, torch_threads
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence

CPU = torch.device("cpu")
VARIANTS = (
    "all:",
    "no new Gaussians: most=0",
    "nothing ends: ends=false",
    "colours stay: light=false",
    "no fit: fit.steps=0",
    "nothing: frames=0",
)


def tracked(dataset: str, scale: float, folder: Path) -> Run:
    """A run of the dataset, tracked, in which nothing was born."""
    run, sequence = Run.create(folder), open_sequence(dataset, DatasetSettings(scale=scale))
    with run.lock():
        settings = varied("quick", ["births.frames=0"])
        Reconstruction(run, sequence, settings, CPU, dataset=sequence.reading).finish()
    return run


def ended(source: Run, sequence: Sequence, settings: ReconstructSettings, folder: Path, name: str) -> tuple[Run, float]:
    """A copy of a tracked run with another end, and the CPU seconds that took; `name` is this end's."""
    shutil.copytree(source.path, folder)
    run = Run.open(folder)
    with run.lock(), torch_threads(CPU):
        run.forget_stage("births")
        run.begin_stage("births", name)
        work = Reconstruction(run, sequence, settings, CPU, dataset=sequence.reading)
        started = time.process_time()
        work.find_births(find_scene_stage(sequence))
        return run, time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--tracked", type=Path, help="a run to go on from")
    parser.add_argument("--variant", action="append", default=[], help='"name: setting=value setting=value"')
    arguments = figures.parse(parser)
    sequence = open_sequence(arguments.dataset, DatasetSettings(scale=arguments.scale))
    print(f"{'':28}{'first':>7}{'last':>7}{'mean':>7} dB {'CPU s':>7}{'static':>8}{'dynamic':>8}  found", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        source = (
            Run.open(arguments.tracked)
            if arguments.tracked
            else tracked(arguments.dataset, arguments.scale, place / "run")
        )
        curves: dict[str, list[float]] = {}
        for number, variant in enumerate(arguments.variant or VARIANTS):
            name, _, rest = variant.partition(":")
            settings = varied("quick", [f"births.{one}" for one in rest.split()])
            run, seconds = ended(source, sequence, settings, place / str(number), name)
            scores = evaluate_pictures(run, sequence, CPU)
            first, last, mean = scores["per_frame"][0], scores["per_frame"][-1], scores["psnr"]
            curves[name] = scores["per_frame"]
            line = f"{name:28}{first:7.2f}{last:7.2f}{mean:7.2f}    {seconds:7.1f}{run.num_static:8}{run.num_dynamic:8}"
            print(line, run.info.get("births", {}), flush=True)
            what = f"{Path(arguments.dataset).name}, {name}: PSNR of the first and the last frame, mean"
            figures.record("What a clip reveals", what, f"{first:.2f}, {last:.2f}, {mean:.2f} dB")
    print(f"\n{'dB in every frame':28}")
    for name, values in curves.items():
        print(f"{name:28}" + " ".join(f"{value:.1f}" for value in values))


if __name__ == "__main__":
    main()
