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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from legs4d.gaussians.objects import read_objects
from legs4d.gaussians.store.run import Run
from legs4d.grounding.metrics import temporal_iou
from legs4d.language.encoders.actions.names import is_being
from legs4d.language.encoders.actions.reading import Reading, read
from legs4d.language.encoders.actions.wordings import ROLES
from legs4d.motion.measures import Measures, measure
from legs4d.motion.recognise import Kind, recognise
from legs4d.motion.rules import RULES, Rules
from legs4d.motion.tracks import Tracks, tracks_of


@dataclass(frozen=True)
class Filmed:
    """A scene and the tracks of its reconstruction.

    Attributes:
        events: of `events.json`; readings: id of an object → what is asked about it.
        ids: of the objects, by their place in the tracks.
    """

    events: list[dict[str, Any]]
    readings: dict[int, Reading]
    ids: list[int]
    tracks: Tracks
    measures: Measures

    def told(self, rules: Rules) -> list[tuple[dict[str, Any], str, list[int], float]]:
        """(event, what it is for motion, frames in which it is said, temporal IoU) of each that motion knows."""
        found = recognise(self.tracks, self._kind, rules, self.measures)
        rows = []
        for event in self.events:
            reading = self.readings[event["object"]]
            if not reading.actions:
                continue
            action = max(reading.actions, key=lambda name: reading.actions[name])
            role = ROLES[action][-1 if reading.passive else 0]
            sure = found.sure.get(role, np.zeros((found.frames, found.count)))[:, self.ids.index(event["object"])]
            frames = np.flatnonzero(sure >= 0.5).tolist()
            true = dict.fromkeys(range(event["start"], event["end"] + 1))
            rows.append((event, role, frames, temporal_iou(dict.fromkeys(frames), true)))
        return rows

    def show(self, rules: Rules) -> None:
        """Print each."""
        for event, role, frames, iou in self.told(rules):
            print(f"  {event['wordings'][0]:30} true {event['start']}..{event['end']}  {role} {frames}  {iou:.2f}")

    def _kind(self, row: int) -> Kind:
        return "being" if is_being(self.readings[self.ids[self.tracks.rows.index(row)]].subjects[0]) else "thing"


def filmed(pairs: list[Path]) -> list[Filmed]:
    """Of scenes and runs in turn."""
    made = []
    for scene, folder in zip(pairs[::2], pairs[1::2], strict=True):
        run = Run.open(folder)
        objects, tracks = read_objects(run), tracks_of(run)
        assert objects is not None and tracks is not None
        events = json.loads((scene / "events.json").read_text())["events"]
        readings = {event["object"]: read(event["wordings"][0]) for event in events}
        made.append(Filmed(events, readings, [objects.ids[row] for row in tracks.rows], tracks, measure(tracks)))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, nargs="+", metavar="SCENE RUN")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="rules, beside RULES")
    asked = parser.parse_args()
    rules = replace(RULES, **{name: float(value) for name, value in (one.split("=") for one in asked.set)})
    scenes = filmed(asked.pairs)
    for scene in scenes:
        scene.show(rules)
    told = [iou for scene in scenes for *_, iou in scene.told(rules)]
    print(f"mean tIoU of {len(told)} events {np.mean(told):.3f}")


if __name__ == "__main__":
    main()
