"""Figures: the page is what the file renders to, and benches write both, if they are asked to."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import pytest
from bench import figures


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of docs/; the command is a bench's, with a path of this machine."""
    monkeypatch.setattr(figures, "FIGURES", tmp_path / "figures.json")
    monkeypatch.setattr(figures, "PAGE", tmp_path / "figures.md")
    bench = figures.ROOT / "scripts/bench/server/wire.py"
    monkeypatch.setattr(sys, "argv", [str(bench), "--record", str(tmp_path / "capture"), "a ball flying"])
    return tmp_path


def bench(*words: str) -> None:
    """What a bench does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=3)
    options = figures.parse(parser, list(words))
    figures.record("Speed", "round trip", 1.2345 * options.size, "ms", aim="2 ms")


def test_the_page_is_what_the_figures_render_to() -> None:
    page = figures.PAGE.read_text(encoding="utf-8")
    assert page == figures.render(figures.read()), "run scripts/bench/figures.py --render"
    assert not re.search(r"issue \d|\bours\b", page)


def test_a_figure_is_recorded_with_its_command_machine_and_day(kept: Path) -> None:
    bench("--record")
    (row,) = [line for line in (kept / "figures.md").read_text().splitlines() if line.startswith("| round trip")]
    what, aim, measured, command, machine, day = row.strip("| ").split(" | ")
    assert (what, aim, measured) == ("round trip", "2 ms", "3.7 ms")
    assert command == '`scripts/bench/server/wire.py capture "a ball flying"`'
    assert "cores, load" in machine and re.fullmatch(r"\d{4}-\d\d-\d\d", day)


def test_a_figure_takes_the_place_of_the_one_before(kept: Path) -> None:
    bench("--record")
    bench("--record", "--size", "2000")
    ((speed, (figure,)),) = [(subject.name, subject.figures) for subject in figures.read()]
    assert (speed, figure.measured) == ("Speed", "2,469 ms")


def test_nothing_is_written_without_the_option(kept: Path) -> None:
    bench()
    assert list(kept.iterdir()) == []
