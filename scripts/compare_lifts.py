"""Lift a reconstructed run by several codecs and routes, and judge each by true masks: accuracy, energy, bytes, time.

    scripts/compare_lifts.py RUN --grounding ../shared/data/grounding/basketball
    scripts/compare_lifts.py RUN --grounding DIR --trained-steps 2000 --engine cuda     (the paper's route too)

RUN is not touched: its geometry is linked into a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from legs4d import pipeline
from legs4d.config import CodecSettings, LiftSettings, TrainedLiftSettings
from legs4d.gaussians.store import Run
from legs4d.grounding.benchmark import evaluate
from legs4d.language.codec import LinearCodec, codec_from_arrays


def routes(dims: list[int], refine: list[int], trained_steps: int, encoder: str) -> dict[str, LiftSettings]:
    """Name → settings; the trained route at the same dimension as the closed form that it is compared with."""
    found = {"closed, linear, 99.9 %": LiftSettings(encoder=encoder)}
    for dim in dims:
        found[f"closed, linear, {dim}-d"] = LiftSettings(encoder=encoder, codec=CodecSettings(dim=dim))
    for steps in refine:
        found[f"closed, linear, 99.9 %, {steps} steps refined"] = LiftSettings(encoder=encoder, refine=steps)
    found["closed, autoencoder, 128-d"] = LiftSettings(encoder=encoder, codec=CodecSettings(name="autoencoder"))
    if trained_steps:
        trained = TrainedLiftSettings(steps=trained_steps)
        found[f"trained, linear, 99.9 %, {trained_steps} steps"] = LiftSettings(
            encoder=encoder, method="trained", trained=trained
        )
    return found


def lifted_copy(run: Run, folder: Path, settings: LiftSettings, engine: str) -> Run:
    """A run with the same geometry, lifted by these settings; files are replaced by rename, so links are safe."""
    shutil.copytree(run.path, folder, copy_function=os.link, ignore=shutil.ignore_patterns(".lock", "run.json"))
    shutil.copy(run.path / "run.json", folder / "run.json")
    return pipeline.lift(folder, settings, engine=engine)


def energy_of(run: Run) -> str:
    codec = codec_from_arrays(*run.codec())
    return f"{100 * codec.energy:.1f}" if isinstance(codec, LinearCodec) else "–"


def bytes_of(run: Run) -> int:
    width = run.dynamic_codes(0)[0].shape[1]
    return 2 * width * (run.num_static + run.num_frames * run.num_dynamic)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--grounding", type=Path, required=True)
    parser.add_argument("--dims", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--refine", type=int, nargs="*", default=[2])
    parser.add_argument("--trained-steps", type=int, default=0, help="0 leaves the paper's route out")
    parser.add_argument("--only", help="routes whose name holds this")
    parser.add_argument("--engine", default="auto")
    arguments = parser.parse_args()
    run = Run.open(arguments.run)
    encoder = str(run.info["encoder"])
    print(f"{'route':<44}{'dim':>5}{'energy %':>10}{'tIoU':>7}{'vIoU':>7}{'MB':>8}{'s/frame':>9}")
    chosen = routes(arguments.dims, arguments.refine, arguments.trained_steps, encoder)
    for name, settings in chosen.items():
        if arguments.only and arguments.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            lifted = lifted_copy(run, Path(folder) / "run", settings, arguments.engine)
            result = evaluate(lifted, arguments.grounding)
            mean = {metric: float(np.mean([row[metric] for row in result["rows"]])) for metric in ("tiou", "viou")}
            width = lifted.dynamic_codes(0)[0].shape[1]
            seconds = lifted.stages["lift"].seconds / lifted.num_frames
            print(
                f"{name:<44}{width:>5}{energy_of(lifted):>10}{mean['tiou']:>7.2f}{mean['viou']:>7.2f}"
                f"{bytes_of(lifted) / 1e6:>8.1f}{seconds:>9.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
