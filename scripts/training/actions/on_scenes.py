"""How well rules of `legs4d.motion` tell what happens in reconstructions of the calibration scenes.

    .venv/bin/python scripts/training/actions/on_scenes.py SCENE RUN [SCENE RUN …] [--set NAME=VALUE …]

SCENE is a folder of `training/calibration/calibration_scenes.py`, RUN a reconstruction of it with objects. Of each
event whose action motion knows, the temporal IoU of the frames in which its object is told to do that. These scenes are
not among what judges, so that rules may be chosen by them.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from legs4d.gaussians.objects import read_objects
from legs4d.gaussians.store.run import Run
from legs4d.grounding.metrics import temporal_iou
from legs4d.language.encoders.actions.names import is_being
from legs4d.language.encoders.actions.reading import read
from legs4d.language.encoders.actions.wordings import ROLES
from legs4d.motion.recognise import Kind, recognise
from legs4d.motion.rules import RULES, Rules
from legs4d.motion.tracks import tracks_of


def judge(scene: Path, folder: Path, rules: Rules) -> list[float]:
    """Temporal IoU of each event."""
    run = Run.open(folder)
    objects, tracks = read_objects(run), tracks_of(run)
    assert objects is not None and tracks is not None
    events = json.loads((scene / "events.json").read_text())["events"]
    subjects = {event["object"]: read(event["wordings"][0]) for event in events}

    def kind(row: int) -> Kind:
        return "being" if is_being(subjects[objects.ids[row]].subjects[0]) else "thing"

    found = recognise(tracks, kind, rules)
    told = []
    for event in events:
        reading = subjects[event["object"]]
        if not reading.actions:
            continue
        action = max(reading.actions, key=lambda name: reading.actions[name])
        row = tracks.rows.index(objects.ids.index(event["object"]))
        role = ROLES[action][-1 if reading.passive else 0]
        sure = found.sure.get(role, np.zeros((found.frames, found.count)))[:, row]
        frames = dict.fromkeys(np.flatnonzero(sure >= 0.5).tolist())
        true = dict.fromkeys(range(event["start"], event["end"] + 1))
        told.append(temporal_iou(frames, true))
        print(f"  {event['wordings'][0]:30} true {event['start']}..{event['end']}  {role} {[*frames]}  {told[-1]:.2f}")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, nargs="+", metavar="SCENE RUN")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="rules, beside RULES")
    asked = parser.parse_args()
    rules = replace(RULES, **{name: float(value) for name, value in (one.split("=") for one in asked.set)})
    told = [one for at in range(0, len(asked.pairs), 2) for one in judge(asked.pairs[at], asked.pairs[at + 1], rules)]
    print(f"mean tIoU of {len(told)} events {np.mean(told):.3f}")


if __name__ == "__main__":
    main()
