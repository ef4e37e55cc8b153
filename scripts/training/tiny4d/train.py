"""Train `tiny4d` on clips that are generated meanwhile. Runs on, when called again, where it was stopped.

torchrun --nproc-per-node 4 scripts/training/tiny4d/train.py FOLDER --minutes 15   # on four GPUs
python scripts/training/tiny4d/train.py FOLDER --minutes 15 --stop-after 9        # on one, in pieces: the first …
python scripts/training/tiny4d/train.py FOLDER --minutes 15 --stop-after 9        # … and the next
python scripts/training/tiny4d/train.py FOLDER --count                            # what a step costs, without training

FOLDER gets the state, log.jsonl (losses), held_out.jsonl (PSNR on clips that are never seen), curves.png of both, and
tiny4d.safetensors, averaged weights in half precision. Nothing is trained with other seeds than --seed; held-out clips
have 77.

Measured on two H200s: a step has 12 clips of 4 moments with 4 views on each, 4.5 TFLOP there and back (`--count`),
and takes 0.10 s; clips are made at 480 a second, 8 % of the time. What ships was trained so for ten minutes: see
MODEL_CARD.md beside its weights.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import time
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from legs4d.generate.onepass.network import TINY4D, OnePass
from training.tiny.group import Group
from training.tiny4d.bodies import TIMES
from training.tiny4d.filming import Studio
from training.tiny4d.step import Weights, show
from training.tiny4d.training import LOG, MEASURED, WEIGHTS, Settings, Training


def main() -> None:
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for state, logs, curves and weights")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--stop-after", type=float, metavar="MINUTES", help="of this call: stop, to be run on later")
    parser.add_argument("--count", action="store_true", help="say what a step computes, and end")
    defaults = Settings()
    of_weights = [field.name for field in fields(Weights)]
    for field in (*fields(Settings), *fields(Weights)):
        default = getattr(defaults.weights if field.name in of_weights else defaults, field.name)
        if field.name in ("weights", "compiled"):
            continue
        kind = int if field.name == "steps" else type(default)
        parser.add_argument("--" + field.name.replace("_", "-"), type=kind, default=default)
    parser.add_argument("--compiled", action=argparse.BooleanOptionalAction, default=None)
    options = vars(parser.parse_args())
    device = torch.device(options.pop("device"))
    folder, stop_after, only_count = (options.pop(name) for name in ("folder", "stop_after", "count"))
    if options["compiled"] is None:
        options["compiled"] = device.type == "cuda"
    weights = Weights(**{name: options.pop(name) for name in of_weights})
    settings = Settings(**options, weights=weights)
    if only_count:
        count(settings)
        return
    group, device = Group.join(device)
    training = Training(settings, device, folder, group)
    told_to_stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: told_to_stop.append(number))
    ends = math.inf if stop_after is None else began + 60 * stop_after
    training.run(lambda: bool(told_to_stop) or time.monotonic() > ends)
    if group.rank == 0:
        draw_curves(folder)
        state = "finished" if training.progress >= 1 else f"at {training.progress:.0%}: the same command goes on"
        print(f"{state}; {training.step} steps, {training.seconds:.0f} s, weights in {folder / WEIGHTS}")
    group.leave()


def count(settings: Settings) -> None:
    """Print what the network computes for one clip, forward and backward, and for a step."""
    network = OnePass(TINY4D)
    clips = Studio(settings.seed, torch.device("cpu"), TINY4D.size, TINY4D.splat_side).clips(1)
    shown = show(clips, False, settings.judged, torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        splats = network(shown.seen)
        sum(value.sum() for value in vars(splats).values()).backward()
    clip = counter.get_total_flops()
    parameters = sum(value.numel() for value in network.parameters())
    print(
        f"{parameters / 1e6:.2f} million parameters, {2 * parameters / 1e6:.1f} MB in half precision; "
        f"{clip / 1e9:.0f} GFLOP a clip of {TIMES} moments, {settings.clips * clip / 1e12:.2f} TFLOP a step of "
        f"{settings.clips} clips"
    )


def draw_curves(folder: Path) -> None:
    """curves.png of the losses, and of what held-out clips reach."""
    rows, held_out = (
        [json.loads(line) for line in (folder / name).read_text().splitlines()] if (folder / name).exists() else []
        for name in (LOG, MEASURED)
    )
    if not rows or not find_spec("matplotlib"):
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 3.8))
    for name in ("loss", "picture", "alpha", "direct"):
        some = [row for row in rows if name in row]
        axes[0].plot([row["step"] for row in some], [row[name] for row in some], linewidth=0.8, label=name)
    axes[0].set(xlabel="step", ylabel="loss", yscale="log")
    for name in ("one_input", "one_novel", "four_novel", "chained_novel", "between_novel", "white"):
        axes[1].plot([row["step"] for row in held_out], [row[name] for row in held_out], label=name)
    axes[1].set(xlabel="step", ylabel="PSNR on held-out clips, dB")
    for each in axes:
        each.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(folder / "curves.png", dpi=120)


if __name__ == "__main__":
    main()
