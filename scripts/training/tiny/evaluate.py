"""How well the tiny encoder answers questions about generated clips that training never saw, beside blind baselines.

python scripts/training/tiny/evaluate.py legs4d/language/encoders/tiny/tiny.safetensors \
    --json OUT.json --confusion OUT.png
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures

from legs4d.language.encoders.tiny.model import TinyModel
from legs4d.language.encoders.tiny.words import known_words
from training.synthetic.scenes import SAMPLES, Generator
from training.synthetic.schema import ACTIONS, COLORS, OBJECTS, Clips, Facts
from training.synthetic.words.captions import Bank, Captions, join
from training.synthetic.words.holdout import HELD_OUT_ACTIONS, HELD_OUT_COLORS, SPLITS
from training.synthetic.words.phrases import make_bank
from training.tiny.evaluation import (
    BLIND,
    COLOR_SHARE,
    Score,
    among_actions,
    among_captions,
    captions_of,
    confusion,
    forwards_or_backwards,
    plain_captions,
    score,
)

SEED = 1_000_000
"""Of the clips, by default; trainings have small ones."""
CHUNK = 1024
"""Clips made at a time."""

USUAL = "as in training"
SETS = {
    USUAL: "train",
    "new words": "train",
    "new actions of objects": "held out actions",
    "new colours of objects": "held out colors",
    "new camera heights": "held out cameras",
    "all new at once": "held out",
}
"""What is asked about → the generator's split."""


@dataclass(frozen=True)
class Examiner:
    """What questions are made of.

    Attributes:
        seed: of clips and choices.
        count: clips of each split.
        device: where all is done.
        words: bank of the wordings of training.
        new_words: bank of those that are held out.
        plain: plain captions of all objects and actions.
        kept: folder for clips, which are then made only once.
        samples: rays along the side of a crop.
    """

    seed: int
    count: int
    device: torch.device
    words: Bank
    new_words: Bank
    plain: Captions
    kept: Path | None
    samples: int

    def clips(self, split: str) -> Clips:
        """Of a split."""
        path = self.kept / f"{split} {self.seed} {self.count} {self.samples}.pt" if self.kept else None
        if path is not None and path.exists():
            stored = torch.load(path, map_location=self.device, weights_only=True)
            return Clips(stored["frames"], Facts(**stored["facts"]))
        generator = Generator(self.seed + SPLITS.index(split), self.device, split, self.samples)
        parts = [generator.clips(min(CHUNK, self.count)) for _ in range(-(-self.count // CHUNK))]
        clips = concatenated(parts)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"frames": clips.frames, "facts": vars(clips.facts)}, path)
        return clips

    def random(self, salt: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(self.seed + salt)


def concatenated(parts: list[Clips]) -> Clips:
    """One after the other."""
    facts = {name: torch.cat([getattr(part.facts, name) for part in parts]) for name in vars(parts[0].facts)}
    return Clips(torch.cat([part.frames for part in parts]), Facts(**facts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clips", type=int, default=4096, help="of each set")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--samples", type=int, default=SAMPLES, help="rays along a crop's side; fewer are faster, coarser"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for clips, to be taken from there another time")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--confusion", type=Path, help="draw which action is taken for which, in all sets")
    options = figures.parse(parser)
    device, words = torch.device(options.device), known_words()
    model = TinyModel(words.count)
    model.load_state_dict(load_file(options.weights))
    model.to(device).eval()
    known, new = (make_bank(words, options.seed, rows=32, held_out=held_out).to(device) for held_out in (False, True))
    examiner = Examiner(
        options.seed, options.clips, device, known, new, plain_captions(words, device), options.keep, options.samples
    )
    print(f"{options.weights}, {options.clips} clips a set, seed {options.seed}\n")
    print(
        f"| question | clips | n | right | chance | {' | '.join(BLIND)} |\n|---|---|---|---|---|" + "---|" * len(BLIND)
    )
    found: dict[str, dict[str, Score]] = {}
    for name in SETS:
        for question, result in examine(model, examiner, name).items():
            found.setdefault(question, {})[name] = result
            blind = " | ".join(f"{100 * result.blind[kind]:.1f} %" for kind in BLIND)
            row = f"{result.questions} | {100 * result.right:.1f} % | {100 * result.chance:.0f} % | {blind}"
            print(f"| {question} | {name} | {row} |", flush=True)
            what = f"{question} ({100 * result.chance:.0f} %), {name}, n = {result.questions}"
            said = f"{100 * result.right:.1f} %; text only, single frame, shuffled frames: {blind.replace(' | ', ', ')}"
            figures.record("The tiny encoder on generated clips", what, said)
    for question in found:
        print(f"\n{question}, {USUAL}, by action:", flush=True)
        print(
            ", ".join(f"{a} {100 * right:.0f} % of {n}" for a, (right, n) in found[question][USUAL].by_action.items())
        )
    print("\nWere each action told as well as of what does it in training:", flush=True)
    for question, by_set in found.items():
        told = ", ".join(f"{n} {100 * by_actions(r, by_set[USUAL]):.1f} %" for n, r in by_set.items() if n != USUAL)
        print(f"{question}: {told}")
    if options.json:
        scores = {q: {name: asdict(result) for name, result in by_set.items()} for q, by_set in found.items()}
        options.json.write_text(json.dumps({"seed": options.seed, "clips": options.clips, "figures": scores}, indent=1))
    if options.confusion:
        every = concatenated([examiner.clips(split) for split in dict.fromkeys(SETS.values())])
        shares = confusion(model, every, examiner.plain, examiner.random(1))
        draw_confusion(shares.cpu(), options.confusion)


def examine(model: TinyModel, examiner: Examiner, name: str) -> dict[str, Score]:
    """The scores of one set, by question."""
    split = SETS[name]
    clips, usual = examiner.clips(split), examiner.clips("train")
    bank = examiner.new_words if name == "new words" else examiner.words
    random = examiner.random(0)
    wrong = join([captions_of(clips, bank, random), captions_of(usual, examiner.words, random)])
    chosen = held_out(clips.facts, split)
    named = 1.0 if "colors" in split or split == "held out" else COLOR_SHARE
    questions = {"1 of 100 captions": among_captions(clips, chosen, bank, wrong, random, named)}
    if name != "new words":  # these two are in plain words
        questions["1 of 20 actions"] = among_actions(clips, chosen, examiner.plain, random)
        questions["forwards or backwards"] = forwards_or_backwards(clips, chosen, examiner.plain, random)
    return {question: score(model, asked, random) for question, asked in questions.items() if len(asked)}


def by_actions(result: Score, usual: Score) -> float:
    """Share of a set's questions that would be right if each action were told as well as in the usual set."""
    known = [(usual.by_action[name][0], n) for name, (_, n) in result.by_action.items() if name in usual.by_action]
    return sum(right * count for right, count in known) / max(1, sum(count for _, count in known))


def held_out(facts: Facts, split: str) -> Tensor:
    """[B, K] bool, the entities for whose sake a split is: all, but where an object's action or colour is new."""
    chosen = facts.object >= 0
    if split in ("held out", "held out actions"):
        pairs = torch.zeros(len(OBJECTS), len(ACTIONS), dtype=torch.bool, device=chosen.device)
        for thing, action in HELD_OUT_ACTIONS:
            pairs[OBJECTS.index(thing), ACTIONS.index(action)] = True
        chosen = chosen & pairs[facts.object.clamp(min=0), facts.action.clamp(min=0)]
    if split in ("held out", "held out colors"):
        colors = torch.zeros(len(OBJECTS), dtype=torch.int64, device=chosen.device)
        for thing, color in HELD_OUT_COLORS:
            colors[OBJECTS.index(thing)] |= 1 << COLORS.index(color)
        chosen = chosen & ((colors[facts.object.clamp(min=0)] & facts.colors) != 0)
    return chosen


def draw_confusion(shares: Tensor, path: Path) -> None:
    """A picture of [actions, actions] shares."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 8.5))
    axes.imshow(shares.numpy(), cmap="viridis", vmin=0, vmax=1)
    axes.set_xticks(range(len(ACTIONS)), ACTIONS, rotation=90, fontsize=8)
    axes.set_yticks(range(len(ACTIONS)), ACTIONS, fontsize=8)
    axes.set(xlabel="taken for", ylabel="what happens")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
