"""Measured figures: benches record them in docs/figures.json, of which docs/figures.md is what one reads.

    python scripts/bench/figures.py --render    # the page, from the figures

A bench takes its options by `parse`, which adds `--record`, and tells each figure by `record`: without the option that
does nothing. A figure takes the place of the one that said the same of the same subject.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIGURES, PAGE = ROOT / "docs" / "figures.json", ROOT / "docs" / "figures.md"
HEAD = """# Figures

Every figure with what it should be, the command that measures it again, the machine and the day. Benches write them
with `--record` into `docs/figures.json`, of which `scripts/bench/figures.py --render` makes this page. A day with a
commit: no bench wrote that figure, it was written down by hand at that commit. Machines were seldom quiet: ratios hold
better than times. What was tried, and not all kept: [experiments](experiments/README.md).
"""
COLUMNS = ("what", "aim", "measured", "command", "machine", "date")


@dataclass
class Figure:
    """One measured number, or the few that belong together.

    Attributes:
        what: that was measured.
        aim: that it should reach, "" without one.
        measured: with its unit.
        command: that measures it.
        machine: CPU or GPU, without names of hosts.
        date: year-month-day; with a commit where it was written down by hand.
    """

    what: str
    measured: str
    aim: str = ""
    command: str = ""
    machine: str = ""
    date: str = ""


@dataclass
class Subject:
    """What belongs on one screen: figures, and what has to be known to read them."""

    name: str
    note: str = ""
    figures: list[Figure] = field(default_factory=list)


_recording = False


def parse(parser: argparse.ArgumentParser, words: list[str] | None = None) -> argparse.Namespace:
    """As `parser.parse_args`, with the option `--record`."""
    global _recording
    parser.add_argument("--record", action="store_true", help="write the figures into docs/figures.json and .md")
    options = parser.parse_args(words)
    _recording = options.record
    return options


def record(subject: str, what: str, value: float | str, unit: str = "", *, aim: str = "") -> None:
    """Keep a figure, if the command asked for that by `--record`.

    Args:
        subject: its heading in docs/figures.md.
        what: was measured, with the sizes that it depends on.
        value: a number, of which three digits are kept, or several as text.
        unit: of it.
        aim: what it should reach, with its unit.
    """
    if not _recording:
        return
    said = value if isinstance(value, str) else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    made = Figure(what, f"{said} {unit}".rstrip(), aim, command(sys.argv), machine(), time.strftime("%Y-%m-%d"))
    subjects = read()
    chosen = next((each for each in subjects if each.name == subject), None)
    if chosen is None:
        chosen = Subject(subject)
        subjects.append(chosen)
    same = [i for i, figure in enumerate(chosen.figures) if figure.what == what]
    if same:
        chosen.figures[same[0]] = made
    else:
        chosen.figures.append(made)
    write(subjects)


def command(words: list[str]) -> str:
    """A command line as given, without `--record`; of paths elsewhere the last part alone."""
    script = Path(words[0]).resolve()
    shown = [str(script.relative_to(ROOT)) if script.is_relative_to(ROOT) else script.name]
    for word in words[1:]:
        if word != "--record":
            shown.append(Path(word).name if Path(word).is_absolute() else word)
    return " ".join(f'"{word}"' if " " in word else word for word in shown)


def machine() -> str:
    """The GPU if the process has used one, else the CPU with its cores and the load of the last minute."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return str(torch.cuda.get_device_name())
    described = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"^model name\s*: (.+)$", described, re.MULTILINE)
    name = model[1] if model else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def read() -> list[Subject]:
    """All figures, in order."""
    found = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else []
    return [Subject(s["name"], s["note"], [Figure(**figure) for figure in s["figures"]]) for s in found]


def write(subjects: list[Subject]) -> None:
    """Figures and page; each is there whole or as it was."""
    text = json.dumps([asdict(subject) for subject in subjects], indent=1, ensure_ascii=False) + "\n"
    for target, content in ((FIGURES, text), (PAGE, render(subjects))):
        partly = target.with_name(target.name + ".part")
        partly.write_text(content, encoding="utf-8")
        os.replace(partly, target)


def render(subjects: list[Subject]) -> str:
    """The page."""
    parts = [HEAD, "\n".join(f"- [{subject.name}](#{_anchor(subject.name)})" for subject in subjects) + "\n"]
    for subject in subjects:
        rows = [_row(COLUMNS), _row(["---"] * len(COLUMNS))]
        before = [""] * 3
        for figure in subject.figures:
            made = [f"`{figure.command}`" if figure.command else "–", figure.machine, figure.date]
            same = ["the same" if was == now != "–" else now for was, now in zip(before, made, strict=True)]
            rows.append(_row([figure.what, figure.aim or "–", figure.measured, *same]))
            before = made
        note = f"{subject.note}\n\n" if subject.note else ""
        parts.append(f"## {subject.name}\n\n{note}" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", action="store_true", required=True, help="write docs/figures.md")
    parser.parse_args()
    write(read())


if __name__ == "__main__":
    main()
