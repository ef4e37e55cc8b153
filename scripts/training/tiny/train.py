"""Train the tiny encoder on clips that are generated meanwhile. Runs on, when called again, where it was stopped.

torchrun --nproc-per-node 4 scripts/training/tiny/train.py FOLDER --seed 3  # on four GPUs, as the shipped weights
python scripts/training/tiny/train.py FOLDER --minutes 53 --stop-after 9.5     # on one GPU, in pieces: the first …
python scripts/training/tiny/train.py FOLDER --minutes 53 --stop-after 9.5     # … and the next
"""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import torch

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from training.synthetic.scenes import SAMPLES, Generator
from training.tiny.group import Group
from training.tiny.training import LOG, WEIGHTS, Settings, Training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for state, log, curves and weights")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--stop-after", type=float, metavar="MINUTES", help="stop, to be run on later")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="rays along a clip's side; fewer are coarser")
    defaults = Settings()
    about = dict(_attributes(Settings))
    kinds = {"steps": int, "start": Path}
    for field in fields(Settings):
        default = getattr(defaults, field.name)
        name = "--" + field.name.replace("_", "-")
        if isinstance(default, bool):
            parser.add_argument(name, action=argparse.BooleanOptionalAction, default=None, help=about[field.name])
        else:
            kind = kinds.get(field.name, type(default))
            parser.add_argument(name, type=kind, default=default, help=f"{about[field.name]} (default {default})")
    options = vars(parser.parse_args())
    device = torch.device(options.pop("device"))
    folder, stop_after, samples = options.pop("folder"), options.pop("stop_after"), options.pop("samples")
    if options["compiled"] is None:
        options["compiled"] = device.type == "cuda"
    torch.set_float32_matmul_precision("high")
    settings = Settings(**options)
    group, device = Group.join(device)
    training = Training(settings, Generator(settings.seed, device, samples=samples), device, folder, group)
    told_to_stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: told_to_stop.append(number))
    training.run(stop_after, lambda: bool(told_to_stop))
    if group.rank == 0:
        report(training)
    group.leave()


def report(training: Training) -> None:
    """Draw the curves, and say how far it got."""
    folder = training.folder
    if find_spec("matplotlib"):
        draw_curves(folder)
    else:
        print("no curves.png: matplotlib is not installed")
    state = "finished" if training.progress >= 1 else f"at {100 * training.progress:.0f} %: the same command goes on"
    print(f"{state}; {training.step} steps, {training.seconds:.0f} s, weights in {folder / WEIGHTS}")


def _attributes(settings: type) -> list[tuple[str, str]]:
    """(name, what it is) of a dataclass's documented attributes, several of which may share a line."""
    found, names = [], []
    for line in (settings.__doc__ or "").split("Attributes:")[1].strip().splitlines():
        head, _, text = line.strip().partition(": ")
        names = head.split(", ")
        found += [(name, text) for name in names]
    return found


def draw_curves(folder: Path) -> None:
    """curves.png of the log: the loss over steps."""
    import json

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [json.loads(line) for line in (folder / LOG).read_text().splitlines()] if (folder / LOG).exists() else []
    if not rows:
        return
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.5))
    for name in ("loss", "choice"):
        axes[0].plot([row["step"] for row in rows], [row[name] for row in rows], linewidth=0.8, label=name)
    axes[0].set(xlabel="step", ylabel="loss", yscale="log")
    axes[0].legend()
    for name in ("scale", "bias", "sharpness"):
        axes[1].plot([row["step"] for row in rows], [row[name] for row in rows], label=name)
    axes[1].set(xlabel="step")
    axes[1].legend()
    figure.tight_layout()
    figure.savefig(folder / "curves.png", dpi=120)


if __name__ == "__main__":
    main()
