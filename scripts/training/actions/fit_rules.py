"""Fit the numbers of `legs4d.motion.rules` on generated clips, whose truth is exact.

    .venv/bin/python scripts/training/actions/fit_rules.py [--clips 320] [--rounds 2] [--scenes SCENE RUN ...]
    .venv/bin/python scripts/training/actions/fit_rules.py --rounds 0 --seed 23 --set touch=0.45    # how good rules are

Half of the clips are the generator's, of eight frames, half are longer ones of people who hand a thing about
(`handed`); each once without any error and once with errors as reconstructions have them (`errors`). What is recognised
is compared with what is done in each frame: F1 over the frames of both kinds of clips, and in the longer ones, which
show when something begins and ends, the temporal IoU of each event (0 for one that does not happen). Scenes are those
of `training/calibration`, with their reconstructions, see `on_scenes`. One number after the other takes the value that
is best with the others as they are, by the mean of these. Nothing that judges is looked at. The other half of the clips
shows what the result is worth.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from legs4d.motion.measures import Measures, measure
from legs4d.motion.recognise import recognise
from legs4d.motion.recognised import Recognised
from legs4d.motion.rules import RULES, Rules
from training.actions.errors import with_errors
from training.actions.generated import Clip, clips, known
from training.actions.handed import handed
from training.actions.on_scenes import Filmed, filmed

CANDIDATES: dict[str, tuple[float, ...]] = {
    "touch": (0.35, 0.45, 0.5, 0.6, 0.7),
    "lets_go": (0.65, 0.8, 1.0, 1.2, 1.5),
    "ballistic": (0.05, 0.07, 0.085, 0.1, 0.12, 0.14, 0.2),
    "parting": (0.2, 0.4, 0.7, 1.0, 1.3),
    "contact": (0.7, 1.0, 1.25, 1.6, 2.0),
    "moving": (0.06, 0.08, 0.11, 0.14),
    "swing": (0.08, 0.12, 0.15, 0.2, 0.25, 0.35),
    "released": (0.0, 0.03, 0.045, 0.06, 0.09),
    "grasped": (0.08, 0.12, 0.2, 0.3, 0.45),
    "reach": (0.9, 1.2, 1.6, 2.0, 2.5),
    "aloft": (0.1, 0.15, 0.2, 0.25, 0.35, 0.5),
    "leap": (0.02, 0.04, 0.06, 0.08),
    "turning": (0.05, 0.065, 0.08, 0.1, 0.12),
    "rolling": (0.35, 0.5, 0.65, 0.8),
    "hinge": (0.15, 0.2, 0.25, 0.3, 0.4),
    "hinged": (0.02, 0.03, 0.05, 0.07),
    "steep": (0.75, 0.85, 0.92, 0.96),
    "walking": (0.15, 0.25, 0.4),
    "running": (1.0, 1.5, 2.0, 2.5),
}
WORTH = 0.002
"""Of a better value, how much better it has to be: less is chance."""
RIGID = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06)
"""Of `rigid`, which tells beings from things where names do not."""
JUDGED = (
    *("fly", "fall", "rise", "bounce", "roll", "slide", "spin", "topple", "open", "close", "still", "held"),
    *("walk", "run", "jump", "hold", "carry", "throw", "catch", "lift", "set down"),
)
HANDED = ("fly", "held", "hold", "throw", "catch", "lift", "set down")
"""What longer clips have the beginning and the end of."""
INNER = slice(1, 7)
"""Frames that have both neighbours."""

IMPLIED = {
    "hold": ("carry", "throw", "catch", "lift", "set down"),
    "held": ("carried",),
    "fly": ("bounce",),
}
"""Action → what people say instead while it goes on as well: such frames say nothing of it."""
SHORT = 8
"""Frames of the generator's clips, of which the outer ones lack a neighbour."""

Seen = list[tuple[Clip, Measures]]
Told = list[tuple[Clip, Recognised]]


def tell(seen: Seen, rules: Rules) -> Told:
    """What is recognised in each clip."""
    return [(clip, recognise(clip.tracks, clip.kind, rules, measures)) for clip, measures in seen]


def judge(told: Told) -> dict[str, float]:
    """Action → F1 over the frames of all objects."""
    right, found, true = (dict.fromkeys(JUDGED, 0) for _ in range(3))
    for clip, recognised in told:
        inner = INNER if len(clip.truth) == SHORT else slice(None)
        truth = np.array([[known(name) for name in row] for row in clip.truth])[inner]
        named = np.array([[bool(name) for name in row] for row in clip.truth])[inner]
        for action in JUDGED:
            said = recognised.sure.get(action, np.zeros((len(clip.truth), len(clip.names))))[inner] >= 0.5
            said = said & named & ~np.isin(truth, IMPLIED.get(action, ()))
            is_true = truth == action
            right[action] += int((said & is_true).sum())
            found[action] += int(said.sum())
            true[action] += int(is_true.sum())
    return {a: 2 * right[a] / max(found[a] + true[a], 1) for a in JUDGED}


def best_rigid(seen: Seen) -> tuple[float, dict[float, float]]:
    """(the value, value → mean share of beings and of things that it knows by how they bend)."""
    bends: dict[str, list[float]] = {"being": [], "thing": []}
    for clip, measures in seen:
        for i in range(len(clip.names)):
            bends[str(clip.kind(i))].append(float(np.median(measures.bend[:, i])))
    beings, things = np.array(bends["being"]), np.array(bends["thing"])
    shares = {value: float((beings > value).mean() + (things <= value).mean()) / 2 for value in RIGID}
    return max(RIGID, key=lambda value: shares[value]), shares


def events(told: Told) -> dict[str, float]:
    """Action of `HANDED` → mean temporal IoU over the objects of longer clips that do it or are said to."""
    found: dict[str, list[float]] = {action: [] for action in HANDED}
    for clip, recognised in told:
        if len(clip.truth) == SHORT:
            continue
        truth = np.array([[known(name) for name in row] for row in clip.truth])
        for action, ious in found.items():
            said = recognised.sure.get(action, np.zeros(truth.shape)) >= 0.5
            true = np.isin(truth, (action, *IMPLIED.get(action, ())))
            union = (said | true).sum(axis=0)
            ious += list(((said & true).sum(axis=0) / np.maximum(union, 1))[union > 0])
    return {action: float(np.mean(ious)) if ious else 0.0 for action, ious in found.items()}


def total(seen: Seen, scenes: list[Filmed], rules: Rules) -> float:
    """Mean of what clips and scenes say."""
    told = tell(seen, rules)
    of_clips = [float(np.mean(list(values.values()))) for values in (judge(told), events(told))]
    of_scenes = [iou for scene in scenes for *_, iou in scene.told(rules)]
    return float(np.mean([*of_clips, *([np.mean(of_scenes)] if of_scenes else [])]))


def _with(rules: Rules, name: str, value: Any) -> Rules:
    return replace(rules, **{name: value})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="rules to begin with, beside RULES")
    parser.add_argument("--scenes", nargs="*", default=[], type=Path, metavar="SCENE RUN", help="see on_scenes.py")
    parser.add_argument("--only", nargs="*", default=list(CANDIDATES), choices=list(CANDIDATES), metavar="NAME")
    options = parser.parse_args()
    scenes = filmed(options.scenes)
    given = {name: float(value) for name, value in (one.split("=") for one in options.set)}
    begun = replace(RULES, **given)
    short = [clip for part in range(4) for clip in clips(options.seed + part, options.clips // 8)]
    some = [clip for clip in short if len(clip.names)] + handed(options.seed, options.clips // 2)
    pairs = [(clip, with_errors(clip, options.seed + i)) for i, clip in enumerate(some)]
    seen = [[(clip, measure(clip.tracks)) for clip in pair] for pair in pairs]
    fitted, held_out = ([one for pair in half for one in pair] for half in (seen[::2], seen[1::2]))
    rules, best = begun, total(fitted, scenes, begun)
    print(f"{len(fitted)} clips to fit on; as they are: {best:.3f}", flush=True)
    for _ in range(options.rounds):
        for name in options.only:
            values = CANDIDATES[name]
            scores = {value: total(fitted, scenes, _with(rules, name, value)) for value in values}
            value = max(scores, key=lambda v: scores[v])
            if scores[value] > best + WORTH:
                rules, best = _with(rules, name, value), scores[value]
            shown = "  ".join(f"{v}: {s:.3f}" for v, s in scores.items())
            print(f"{name:9} {getattr(rules, name):5}   {shown}", flush=True)
    rigid, shares = best_rigid(fitted)
    rules = replace(rules, rigid=rigid)
    print("rigid    ", rigid, "  ", "  ".join(f"{v}: {s:.3f}" for v, s in shares.items()))
    print(f"\n{rules}\non clips to fit on {best:.3f}")
    print(f"on others {total(held_out, [], rules):.3f}, as they were {total(held_out, [], begun):.3f}")
    told = tell(held_out, rules)
    for action, f1 in judge(told).items():
        print(f"  {action:9} {f1:.2f}")
    print("events    " + "  ".join(f"{action} {iou:.2f}" for action, iou in events(told).items()))
    for scene in scenes:
        scene.show(rules)


if __name__ == "__main__":
    main()
