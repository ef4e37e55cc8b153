"""Commands that answer prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from legs4d.cli.command import app
from legs4d.cli.options import Json, RunFolder
from legs4d.terminal import print_json

if TYPE_CHECKING:
    from legs4d.grounding import Grounding


@app.command()
def query(
    run: RunFolder,
    prompts: Annotated[list[str], typer.Argument(metavar="PROMPT...", help="What happens, in words.")],
    as_json: Json = False,
) -> None:
    """Say in which frames each PROMPT holds.

    --json prints {prompt, intervals: [{start, end, peak, score}], relevancy: [one a frame], seconds}, or a list of
    these for several prompts. Frames are counted from 0, and intervals include both ends.
    """
    groundings = ground(run, prompts)
    if as_json:
        answers = [
            {
                "prompt": g.prompt,
                "intervals": [{"start": i.start, "end": i.end, "peak": i.peak, "score": i.score} for i in g.intervals],
                "relevancy": list(g.relevancy),
                "seconds": g.seconds,
            }
            for g in groundings
        ]
        print_json(answers[0] if len(answers) == 1 else answers)
        return
    for g in groundings:
        found = "; ".join(f"frames {i.start} to {i.end} (most at {i.peak}, score {i.score:.2f})" for i in g.intervals)
        print(f"{g.prompt}: {found or 'not found in this run'}")


def ground(run: Path, prompts: list[str]) -> list[Grounding]:
    """What `grounding.query` answers for the run in this folder."""
    from legs4d.gaussians.store import Run
    from legs4d.grounding import query as answer

    return answer(Run.open(run), prompts)
