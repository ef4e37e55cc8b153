"""Choose the thresholds of the tiny encoder on small scenes filmed by Blender, which have nothing of the demo's.

    .venv-blender/bin/python scripts/training/calibration/calibration_scenes.py out/calibration      # minutes, once
    .venv/bin/python scripts/training/tiny/calibrate.py out/calibration [--weights FILE]

Each scene's pictures are extracted as always. In place of a reconstruction, a Gaussian is the mean over the cameras of
a pixel each, of the same object, at random: as lifting makes it. What the library makes of these is compared with what
truly happens, as in `calibrate_captions.py`, which tells what the columns mean. Thresholds are chosen on all scenes,
and, to show what that is worth, on all but one and shown on that one. The temperature is told as a share of the
weights' own, with which relevancy is the probability that they were trained to tell.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from legs4d.config import ExtractSettings
from legs4d.context import EncoderFiles
from legs4d.grounding.curve import SHARE, most_relevant
from legs4d.grounding.intervals import find_intervals, smooth, thresholds
from legs4d.grounding.query import BACKGROUND_SHARE
from legs4d.grounding.relevancy import strength
from legs4d.language.calibration import TINY, TINY_THRESHOLD
from legs4d.language.embedding.extract import Extractor, describe
from legs4d.language.embedding.features import Calibration
from legs4d.language.embedding.grids import GridFeatures, GridStore
from legs4d.language.encoders.tiny.encoder import TinyEncoder
from legs4d.language.field import lerf_relevancy
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence
from training.calibration.calibrate_captions import HEADER, Curve, Question, Score, best_floor, numbers, score

GAUSSIANS = 40
"""Of each object, and of the background."""

CONTRAST = (0.05, 0.1, 0.2, 0.3)
ENTER = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
LEAVE_BELOW = (0.0, 0.1, 0.2, 0.3)
TEMPERATURES = (0.08, 0.15, 0.3, 0.6)
"""Shares of the weights' own."""
THRESHOLDS = (0.0, 0.15, 0.3, 0.45, 0.6, 1.0)
"""Of the bias, see `calibration.TINY_THRESHOLD`."""
NAME = (0.3, 0.5)
BELONGS = (0.2, 0.4, 0.6, 0.8, 1.0)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """A scene's Gaussians.

    Attributes:
        name: of its folder.
        features: [T, G, D] unit vectors.
        owner: [G] object of each; 0 for the background's.
        weight: [T, G] pixels that each stands for, 0 where nobody sees it.
    """

    name: str
    features: Floats
    owner: NDArray[np.int64]
    weight: Floats


def extracted(folder: Path, encoder: TinyEncoder) -> tuple[Sequence, GridFeatures]:
    """Embed a scene's pictures beside them, unless that is done."""
    sequence, settings = open_sequence(folder), ExtractSettings(background="always")
    told = describe(sequence, encoder, settings)
    store = GridStore.begin(folder, told)
    extractor = Extractor(store, sequence, encoder, settings, torch.device("cpu"))
    for first in range(0, len(told.timesteps), settings.block):
        extractor.extract_block(first)
    extractor.close()
    return sequence, GridFeatures(folder, encoder.name)


def gather(folder: Path, encoder: TinyEncoder) -> Scene:
    """A scene's Gaussians, one frame after the other."""
    sequence, grids = extracted(folder, encoder)
    rng = np.random.default_rng(0)
    objects = 1 + max(event["object"] for event in json.loads((folder / "events.json").read_text())["events"])
    features = np.zeros((sequence.num_frames, objects, GAUSSIANS, encoder.dim), np.float32)
    weight = np.zeros((sequence.num_frames, objects, GAUSSIANS), np.float32)
    for frame in range(sequence.num_frames):
        said, ids = grids.feature_map(sequence, frame), sequence.objects("train", frame)
        assert ids is not None
        for identity in range(objects):
            for camera in range(len(ids)):
                y, x = np.nonzero(ids[camera] == identity)
                if not len(y):
                    continue
                some = rng.integers(len(y), size=GAUSSIANS)
                index, shares = said.index[camera, y[some], x[some]], said.weight[camera, y[some], x[some]]
                # Cameras that see more of an object have more of its Gaussians before them.
                features[frame, identity] += len(y) * (said.rows[index] * shares[..., None]).sum(axis=1)
                weight[frame, identity] += len(y) / GAUSSIANS
    features = features.reshape(sequence.num_frames, -1, encoder.dim)
    features /= np.maximum(np.linalg.norm(features, axis=2, keepdims=True), 1e-9)
    return Scene(
        folder.name,
        features,
        np.repeat(np.arange(objects), GAUSSIANS),
        weight.reshape(sequence.num_frames, -1),
    )


def curves(
    folder: Path, number: int, scene: Scene, encoder: TinyEncoder, temperature: float, threshold: float
) -> Iterator[Curve]:
    """Everything that is asked of a scene, as `legs4d.grounding.query` sees it at these shares."""
    told = json.loads((folder / "events.json").read_text())
    frames = np.arange(len(scene.features))
    asked = [
        (text, event["object"], (frames >= event["start"]) & (frames <= event["end"]))
        for event in told["events"]
        for text in event["wordings"]
    ]
    nothing = threshold * scene.features[..., -1]  # against the empty phrase, which is that number alone
    seen, background = scene.weight > 0, scene.owner == 0
    for text, identity, truth in [*asked, *((text, -1, None) for text in told["absent"])]:
        cosines = scene.features @ encoder.encode_text([text])[0]
        relevancy = lerf_relevancy(cosines.reshape(-1, 1), nothing.reshape(-1, 1), temperature * encoder.temperature)
        strengths = strength(relevancy).reshape(cosines.shape) * seen
        values = [
            np.array(
                [most_relevant(s[of], w[of], share) for s, w in zip(strengths, scene.weight, strict=True)], np.float32
            )
            for of, share in ((~background, SHARE), (background, BACKGROUND_SHARE))
        ]
        curve = max(map(smooth, values), key=lambda v: float(v.max()))
        yield Curve(
            Question(number, text, truth, scene.owner == identity, background, seen, cosines, {}), curve, strengths
        )


def choose(asked: list[Curve], temperature: float) -> Calibration:
    """The thresholds with the best score on these, which are of this temperature."""
    start = replace(TINY, temperature=temperature, floor=best_floor(asked))
    tried = [
        replace(start, contrast=contrast, enter=enter, leave=round(max(0.05, enter - below), 2))
        for contrast, enter, below in itertools.product(CONTRAST, ENTER, LEAVE_BELOW)
    ]
    chosen = max(tried, key=lambda calibration: score(asked, calibration).total)
    tried = [replace(chosen, belongs=belongs, name=name) for belongs, name in itertools.product(BELONGS, NAME)]
    return max(tried, key=lambda calibration: score(asked, calibration).total)


def apart(asked: list[Curve], scenes: int, temperature: float) -> Score:
    """Mean over the scenes, each with the thresholds that are best on the others."""
    scores = []
    for number in range(scenes):
        chosen = choose([curve for curve in asked if curve.question.scenario != number], temperature)
        scores.append(score([curve for curve in asked if curve.question.scenario == number], chosen))
    return Score(*(float(np.nanmean([getattr(s, f.name) for s in scores])) for f in fields(Score)))


def tell(curve: Curve, calibration: Calibration) -> str:
    """A question's line: what is true, what is found, how high the curve goes."""
    limits = thresholds(curve.values, calibration)
    found = find_intervals(curve.values, limits) if limits else []
    truth = curve.question.truth
    held = "absent" if truth is None else f"{np.flatnonzero(truth)[0]:2}–{np.flatnonzero(truth)[-1]:2}"
    spans = ", ".join(f"{i.start}–{i.end}" for i in found) or "not found"
    bars = "".join(" .:-=+*#%@"[min(9, int(10 * value))] for value in curve.values)
    return f"  {curve.question.text:42} {held:7} {spans:16} {curve.values.max():.2f} |{bars}|"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, help="what calibration_scenes.py made")
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    encoder = TinyEncoder(EncoderFiles(options.weights))
    folders = sorted(path.parent for path in options.scenes.glob("*/events.json"))
    scenes = [gather(folder, encoder) for folder in folders]

    def ask(temperature: float, threshold: float) -> list[Curve]:
        return [
            curve
            for number, (folder, scene) in enumerate(zip(folders, scenes, strict=True))
            for curve in curves(folder, number, scene, encoder, temperature, threshold)
        ]

    used = ask(TINY.temperature, TINY_THRESHOLD)
    for number, folder in enumerate(folders):
        print(folder.name)
        for curve in used:
            if curve.question.scenario == number:
                print(tell(curve, TINY))
    print(f"\n{len(used)} questions on {len(folders)} scenes; the weights' temperature is {encoder.temperature:.2f}\n")
    print(f"temperature threshold {HEADER}   floor contrast enter leave belongs  name")
    print(f"{TINY.temperature:11} {TINY_THRESHOLD:9} {score(used, TINY)}   {numbers(TINY)}  used")
    for temperature, threshold in itertools.product(TEMPERATURES, THRESHOLDS):
        asked, shares = ask(temperature, threshold), f"{temperature:11} {threshold:9}"
        best = choose(asked, temperature)
        print(f"{shares} {score(asked, best)}   {numbers(best)}  best", flush=True)
        if len(folders) > 1:
            print(f"{shares} {apart(asked, len(folders), temperature)}   each scene by the others' best", flush=True)


if __name__ == "__main__":
    main()
