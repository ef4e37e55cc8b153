"""What the encoder `actions` finds in footage without captions: the basketball clip, and the demo.

    legs4d train BASKETBALL --out RUN --scale 0.25 --encoder actions      # then `legs4d name RUN 1 man`, 2 ball
    legs4d lift DEMO_RUN --encoder actions --again                        # a copy of the run of `make demo`
    python scripts/bench/language/actions.py --basketball RUN RUN --truth DIR --demo DEMO_RUN --capture CAPTURE

Time is compared with when things truly happen, place with true masks on the test cameras. Several runs of the
basketball say what another reconstruction changes. Paraphrases are those of `paraphrases.json`, which were written
before there were lists of wordings, of `fresh_paraphrases.json`, whose writer had not read these, the half of
`third_paraphrases.json` that nothing was developed by, `fourth_paraphrases.json`, whose writer knew the lists, and
`fifth_paraphrases.json`, whose writer did not; the mean of each loses so much against the plain prompts.
Absent prompts are drawn from the 80 names of NanoDet and all actions that motion knows, without those that truly
happen.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench.figures import parse, record
from legs4d.gaussians.store.run import Run
from legs4d.grounding.benchmark import camera_of, truths_of
from legs4d.grounding.masks import render_views
from legs4d.grounding.metrics import temporal_iou, volume_iou
from legs4d.grounding.query import Grounding, query
from legs4d.grounding.truth import Truth
from legs4d.priors.boxes.coco_names import COCO_NAMES

SUBJECT = "Actions without captions"
PARAPHRASES = ("paraphrases", "fresh_paraphrases", "third_paraphrases", "fourth_paraphrases", "fifth_paraphrases")
"""Sets; each says when it was written."""
JUDGED = "judged"
"""Half of the third; the other, `develop`, may be looked at."""
ABSENT = 40
DEMO_AIM = "tIoU 0.7, vIoU 0.4"
SAID = {
    "fly": "flying through the air", "fall": "falling down", "rise": "rising", "bounce": "bouncing", "spin": "spinning",
    "roll": "rolling along the floor", "slide": "sliding", "shake": "shaking", "topple": "toppling over",
    "open": "opening", "close": "closing", "hold": "held in hands", "carry": "carried by someone",
    "throw": "being thrown", "catch": "being caught", "kick": "being kicked", "lift": "being picked up",
    "set down": "being put down", "walk": "walking", "run": "running", "jump": "jumping",
}  # fmt: skip
"""Of an action, how a prompt puts it."""
THERE = {"sports ball": {"fly", "hold", "throw", "catch"}, "person": {"hold", "throw", "catch"}}
"""Names of what is in the basketball clip → what happens to it."""
THING_FIRST = re.compile(r"(a|the)?\s*(\w+ )?(ball|basketball|box|crate|cube|parcel|package|chest|carton)\b", re.I)
"""Prompts that are about the thing: what they light up is compared with the masks of an event that is the thing's."""


def paraphrases() -> dict[str, dict[str, list[str]]]:
    """Set → group → prompts that judge."""
    told = {name: json.loads(Path(__file__).with_name(f"{name}.json").read_text()) for name in PARAPHRASES}
    return {name: groups.get(JUDGED, groups) for name, groups in told.items()}


@dataclass(frozen=True)
class Event:
    """What happens.

    Attributes:
        prompt: its plain wording; group: in the paraphrases, "" for none.
        start, end: frames.
        truths: where, "" none.
        others: other plain wordings of it.
        aim: what should be reached.
    """

    prompt: str
    group: str
    start: int
    end: int
    truths: tuple[Truth, ...] = ()
    others: tuple[str, ...] = ()
    aim: str = ""

    @property
    def frames(self) -> dict[int, None]:
        """The true ones."""
        return dict.fromkeys(range(self.start, self.end + 1))


def frames_of(grounding: Grounding) -> dict[int, None]:
    """That were found."""
    return dict.fromkeys(f for one in grounding.intervals for f in range(one.start, one.end + 1))


class Seen:
    """Masks of a run; the same part of it is rendered once."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._known: dict[tuple[int, int, bytes], NDArray[np.bool_]] = {}

    def volume(self, grounding: Grounding, truth: Truth) -> float:
        """vIoU."""
        found = {}
        for frame in frames_of(grounding):
            camera = camera_of(self._run, truth, frame)
            assert camera is not None  # these cameras stand still
            key = truth.camera, frame, np.packbits(grounding.part(frame)).tobytes()
            if key not in self._known:
                views = render_views(self._run, grounding, frame, camera, near=self._run.info["near"])
                self._known[key] = views.mask[0]
            found[frame] = self._known[key]
        return volume_iou(found, truth.masks)


def judge(run: Run, events: list[Event], name: str) -> None:
    """Print and record how well each event is found, plainly and in other words."""
    seen = Seen(run)
    sets = paraphrases()
    plain: dict[str, list[float]] = {file: [] for file in sets}
    other: dict[str, list[float]] = {file: [] for file in sets}
    for event in events:
        best = _ask(run, seen, event, (event.prompt, *event.others))[0]
        for text, grounding, tiou, viou in best:
            spans = ", ".join(f"{one.start}..{one.end}" for one in grounding.intervals) or "not found"
            measured = f"tIoU {tiou:.2f}" + ("" if viou is None else f", vIoU {viou:.2f}")
            what = f"{name}, “{text}”, true {event.start}..{event.end}"
            record(SUBJECT, what, f"{measured}: {spans}", aim=event.aim)
        for file, told in sets.items():
            if event.group in told:
                _, times, places = _ask(run, seen, event, tuple(told[event.group]))
                plain[file].append(best[0][2])
                other[file].append(float(np.mean(times)))
                means = f"tIoU {other[file][-1]:.2f}" + (f", vIoU {np.mean(places):.2f}" if places else "")
                print(f"  → {len(times)} of {file}: {means}\n")
                what = f"{name}, {len(times)} {file.replace('_', ' ')} of “{event.prompt}”"
                record(SUBJECT, what, f"{means} in the mean")
    for file in sets:
        loss = 1 - sum(other[file]) / sum(plain[file])
        print(f"{name}: {file} lose {loss:.0%} of tIoU {np.mean(plain[file]):.2f}")
        record(SUBJECT, f"{name}, what {file.replace('_', ' ')} lose of tIoU", f"{loss:.0%}", aim="10 %")


Row = tuple[str, Grounding, float, float | None]


def _ask(run: Run, seen: Seen, event: Event, texts: tuple[str, ...]) -> tuple[list[Row], list[float], list[float]]:
    """Each text with its answer, tIoU, and vIoU if it is about what there are masks of; and all of these measures."""
    rows: list[Row] = []
    for text, grounding in zip(texts, query(run, texts), strict=True):
        tiou = temporal_iou(frames_of(grounding), event.frames)
        thing = THING_FIRST.match(event.prompt) is not None and THING_FIRST.match(text) is not None
        about_it = text == event.prompt or text in event.others or thing
        masks = event.truths if about_it or event.group == "opening" else ()
        viou = float(np.mean([seen.volume(grounding, truth) for truth in masks])) if masks else None
        rows.append((text, grounding, tiou, viou))
        spans = ", ".join(f"{one.start}..{one.end}" for one in grounding.intervals) or "not found"
        where = "" if viou is None else f" vIoU {viou:.2f}"
        print(f"  {text:60} {spans:18} true {event.start}..{event.end}  tIoU {tiou:.2f}{where}", flush=True)
    return rows, [row[2] for row in rows], [row[3] for row in rows if row[3] is not None]


def answered(run: Run, prompts: Iterable[str]) -> list[str]:
    """Those of which something is found."""
    return [one.prompt for one in query(run, list(prompts)) if one.intervals]


def drawn(count: int) -> list[str]:
    """Prompts of what does not happen in the basketball clip."""
    pairs = [(name, what) for name in COCO_NAMES for what in SAID if what not in THERE.get(name, set())]
    some = random.Random(0).sample(pairs, count)
    return [f"{'an' if name[0] in 'aeiou' else 'a'} {name} {SAID[what]}" for name, what in some]


def basketball(folder: Path, truth: Path) -> None:
    """The figures of the clip."""
    run, name = Run.open(folder), f"basketball {folder.name}"
    truths = {name: tuple(t for t in truths_of(run, truth) if name in t.prompt) for name in ("flying", "held")}
    judge(
        run,
        [
            Event("a basketball flying in the air", "flying", 12, 27, truths["flying"], aim="tIoU 0.9, vIoU 0.7"),
            Event("a basketball held in hands", "held", 0, 11, truths["held"], aim="tIoU 0.85, vIoU 0.5"),
            Event("a man throwing a basketball", "throwing", 8, 12, aim="±2 frames"),
            Event("a man catching a basketball", "catching", 28, 29, aim="±2 frames"),
        ],
        name,
    )
    named = ("a dog running", "a box spinning", "a door opening")
    false, absent = answered(run, named), answered(run, drawn(ABSENT))
    others = [text for groups in paraphrases().values() for text in groups.get("absent", ())]
    written = answered(run, others)
    print(f"false of {len(named)}: {false}; of {ABSENT} drawn: {absent}; of {len(others)} written: {written}")
    record(SUBJECT, f"{name}, a dog running, a box spinning, a door opening: answered", str(len(false)), aim="0")
    record(SUBJECT, f"{name}, of {ABSENT} absent prompts drawn by script: answered", str(len(absent)), aim="1")
    record(SUBJECT, f"{name}, of {len(others)} written absent prompts: answered", str(len(written)), aim="0")


def demo(folder: Path, capture: Path) -> None:
    """The figures of the demo, whose truth `demo.sight` knows."""
    import tempfile

    from demo.demo import write_truth
    from demo.sight import PROMPTS, expected

    run, acts = Run.open(folder), expected(capture)
    groups = {word: word for word in ("spinning", "opening")}
    # what the first set says of these is about men and a basketball
    groups |= {word: f"demo {word}" for word in ("flying", "throwing", "catching")}
    with tempfile.TemporaryDirectory() as scratch:
        write_truth(capture, acts, Path(scratch))
        truths = truths_of(run, scratch)
    events = []
    for prompt, meant in PROMPTS.items():
        group = next((groups[word] for word in prompt.split() if word in groups), "")
        where = tuple(one for one in truths if one.prompt == prompt)
        events.append(Event(prompt, group, acts[prompt]["start"], acts[prompt]["end"], where, meant.others, DEMO_AIM))
    judge(run, events, "demo")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--basketball", type=Path, metavar="RUN", nargs="+", default=[])
    parser.add_argument("--truth", type=Path, metavar="GROUNDING", help="its true masks")
    parser.add_argument("--demo", type=Path, metavar="RUN")
    parser.add_argument("--capture", type=Path, help="the demo's footage")
    options = parse(parser)
    for folder in options.basketball:
        basketball(folder, options.truth)
    if options.demo:
        demo(options.demo, options.capture)


if __name__ == "__main__":
    main()
