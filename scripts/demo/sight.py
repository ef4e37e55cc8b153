"""The demo without captions: what its prompts mean when the language comes from the pictures alone, and what is missed.

Its floors are lower than those of the captioned run, and it is asked in several wordings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ENCODER = "tiny"
LEAST_TIOU, LEAST_VIOU, MOST_TIOU_CHANGE = 0.6, 0.3, 0.15
"""For each prompt, and between it and the same in other words."""


@dataclass(frozen=True)
class Meant:
    """What a prompt means.

    Attributes:
        caption: the capture's, of the object and the act.
        others: the same prompt in other words.
        has_floors: whether it has to reach them; others are reported all the same.
    """

    caption: str
    others: tuple[str, ...] = ()
    has_floors: bool = True


PROMPTS = {
    "a box spinning around": Meant("a wooden box spinning around", ("a wooden crate rotating",)),
    "a door opening": Meant("a door opening", ("a door swings open",)),
    "a red ball flying through the air": Meant("a red ball flying through the air", ("a ball flying",)),
    "a red ball in mid-air": Meant("a red ball flying through the air", has_floors=False),
    "a man throwing a ball": Meant(
        "a man in a blue shirt throwing a ball with both arms", ("a guy tosses a ball",), has_floors=False
    ),
    "a woman catching a ball": Meant(
        "a woman in a green dress catching a ball with both hands", ("a lady catches a ball",), has_floors=False
    ),
}
"""The box stands still before and after, the door is closed at first, and hands hold the ball before and after. What
people do is found too, but for longer than they do it: a window is eight frames wide, and they take five."""


def expected(capture: Path) -> dict[str, dict[str, int]]:
    """Prompt, in every wording → object id and interval, frames from 0, as the captions of the capture have them."""
    objects = json.loads((capture / "captions.json").read_text())["objects"]
    acts = {
        said["caption"]: {"object": int(identity), "start": said["start"], "end": said["end"]}
        for identity, captions in objects.items()
        for said in captions
    }
    return {wording: acts[meant.caption] for prompt, meant in PROMPTS.items() for wording in (prompt, *meant.others)}


def report(evaluation: dict[str, Any], acts: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """A row for each wording, from what `legs4d eval --json` says and what `expected` does."""
    rows = []
    for prompt, meant in PROMPTS.items():
        for wording in (prompt, *meant.others):
            of_cameras = [row for row in evaluation["grounding"]["rows"] if row["prompt"] == wording]
            found = evaluation["grounding"]["prompts"][wording]["intervals"]
            rows.append(
                {
                    "prompt": wording,
                    "means": prompt,
                    "intervals": [[span["start"], span["end"]] for span in found],
                    "expected": [[acts[wording]["start"], acts[wording]["end"]]],
                    "tiou": round(float(np.mean([row["tiou"] for row in of_cameras])), 4),
                    "viou": round(float(np.mean([row["viou"] for row in of_cameras])), 4),
                }
            )
    return rows


def shortfalls(rows: list[dict[str, Any]]) -> list[str]:
    """What misses its floor, a sentence each."""
    found = []
    tiou = {row["prompt"]: row["tiou"] for row in rows}
    for row in rows:
        name = f"'{row['prompt']}', seen without captions"
        if not PROMPTS[row["means"]].has_floors:
            continue
        if row["prompt"] != row["means"]:
            change = abs(row["tiou"] - tiou[row["means"]])
            if change > MOST_TIOU_CHANGE:
                found.append(f"tiou of {name} is {change:.2f} from that of '{row['means']}'.")
            continue
        for measure, least in (("tiou", LEAST_TIOU), ("viou", LEAST_VIOU)):
            if row[measure] < least:
                found.append(f"{measure} of {name} is {row[measure]:.2f}, below {least}.")
    return found
