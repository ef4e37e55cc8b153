"""What the documents tell people to type: blocks of commands and of Python, commands within sentences, links.

A block is indented by four spaces, or fenced. What cannot be run here is marked by a comment above its block, which
nobody who reads the page sees:

    <!-- needs: weights -->

What may stand there is in `NEEDS`. Such commands are still compared with what the programs take.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), ROOT / "backend/README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("legs4d/**/*.md")]
)

NEEDS = {
    "another machine": "a second machine, a cluster, or addresses of it",
    "a machine to set up": "root on a machine that may be changed",
    "a package index": "downloads",
    "blender": "Blender's own program, with the extension installed",
    "footage": "videos with sound or lights, results of another program",
    "gpu": "a CUDA device",
    "minutes of computing": "the tests themselves",
    "other programs": "programs that are no packages of this project",
    "weights": "a file of weights that the project does not have",
}
"""What a marker may say → what is meant."""

PROGRAMS = (
    "legs4d",
    "make",
    "pip",
    "python",
    "torchrun",
    "sudo",
    "podman",
    "curl",
    "blender",
    "systemctl",
    "bash",
    "npm",
)
"""What a line of a block begins with if it is a command; with folders before it, too."""

_MARKER = re.compile(r"<!-- needs: (.+) -->")
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Block:
    """What stands in one block.

    Attributes:
        document: its file.
        line: where it begins, counted from 1.
        text: as printed, without the indentation.
        needs: what its marker says, "" without one.
    """

    document: Path
    line: int
    text: str
    needs: str = ""

    @property
    def is_python(self) -> bool:
        return re.match(r"(from [\w.]+ )?import ", self.text) is not None

    def commands(self) -> Iterator[Command]:
        """The lines that are commands; one that ends with a backslash goes on in the next."""
        lines = iter(enumerate(self.text.split("\n"), self.line))
        for number, line in lines:
            while line.endswith("\\"):
                line = line[:-1] + next(lines)[1].lstrip()
            if is_command(line):
                yield Command(self.document, number, line, self.needs)


@dataclass(frozen=True)
class Command:
    """One command as printed, and where."""

    document: Path
    line: int
    text: str
    needs: str = ""

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}: {self.text}"


def is_command(line: str) -> bool:
    """Whether a line begins with a program that documents speak of."""
    first = line.split(" ", 1)[0]
    return first.rpartition("/")[2] in PROGRAMS and not first.endswith("/")


def blocks(document: Path) -> list[Block]:
    """All blocks of a document, in order."""
    return list(_blocks(document, document.read_text().split("\n")))


def _blocks(document: Path, lines: list[str]) -> Iterator[Block]:
    needs, at = "", 0
    while at < len(lines):
        line = lines[at]
        begin = at
        if line.startswith("```"):
            at = next(i for i in range(begin + 1, len(lines)) if lines[i].startswith("```"))
            yield Block(document, begin + 2, "\n".join(lines[begin + 1 : at]), needs)
            needs = ""
        elif line.startswith("    ") and (begin == 0 or not lines[begin - 1].strip()):
            while at + 1 < len(lines) and (lines[at + 1].startswith("    ") or _goes_on(lines, at + 1)):
                at += 1
            yield Block(document, begin + 1, "\n".join(text[4:] for text in lines[begin : at + 1]), needs)
            needs = ""
        elif marker := _MARKER.fullmatch(line.strip()):
            needs = marker[1]
        elif line.strip():
            needs = ""
        at += 1


def _goes_on(lines: list[str], at: int) -> bool:
    """Whether an empty line is within a block."""
    return not lines[at].strip() and at + 1 < len(lines) and lines[at + 1].startswith("    ")


def markers(document: Path) -> list[str]:
    """What all markers of a document say."""
    return [marker[1] for marker in map(_MARKER.fullmatch, document.read_text().split("\n")) if marker]


def sentences(document: Path) -> Iterator[tuple[int, str]]:
    """(line, what stands in backticks) of all text that is no block."""
    inside = {block.line + i for block in blocks(document) for i in range(block.text.count("\n") + 1)}
    for number, line in enumerate(document.read_text().split("\n"), 1):
        if number not in inside:
            for span in _SPAN.findall(line):
                yield number, span


def links(document: Path) -> Iterator[tuple[int, str]]:
    """(line, path) of links and pictures that are files of this repository."""
    for number, line in enumerate(document.read_text().split("\n"), 1):
        for target in _LINK.findall(line):
            if "://" not in target:
                yield number, target
