"""What is documented is true: every command and Python block of the documents runs as it is printed, on small data.

What is marked (`documents.NEEDS`) or only spoken of is compared with what the programs take.
"""

from __future__ import annotations

import itertools
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.service.config import Limits, ServerConfig, make_config, read_config
from tests.docs.documents import (
    DOCUMENTS,
    NEEDS,
    ROOT,
    Block,
    Command,
    blocks,
    is_command,
    links,
    markers,
    sentences,
)
from tests.docs.places import Failed, Place
from tests.docs.taken import NotTaken, check, known_options, legs4d
from tests.synthetic import Scene, write_dataset, write_grounding, write_run

SCENE = Scene(num_frames=16, width=48, height=32, num_train=4, num_test=1)
"""As many frames as the documents name."""
LARGER = Scene(num_frames=3, width=64, height=64, num_train=3, num_test=1)
"""What is left of it at a quarter is the least that is trained on."""
NOT_RUN = re.compile(r"make\b")
"""They run these tests, or the demo, which tests of its parts cover; that their targets exist is checked."""
_OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
LONG = ("docs/encoders.md", "docs/scale.md")
"""An encoder that looks at pictures, and Ray, take longer than all the other documents."""

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
running = pytest.mark.parametrize(
    "document",
    [
        pytest.param(path, id=name, marks=[pytest.mark.long] if name in LONG else [])
        for path, name in ((path, str(path.relative_to(ROOT))) for path in DOCUMENTS)
        if any(not block.needs and (block.is_python or list(block.commands())) for block in blocks(path))
    ],
)


@pytest.fixture(scope="session")
def things(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What documents name → a folder that is it."""
    folder = tmp_path_factory.mktemp("things")
    dataset = write_dataset(folder / "dataset", SCENE)
    write_run(folder / "run", SCENE, dataset=str(dataset))
    return {
        "DATASET": dataset,
        "captures/basketball": write_dataset(folder / "larger", LARGER),
        "RUN": folder / "run",
        "TRUTH": write_grounding(folder / "truth", SCENE),
    }


@pytest.fixture
def place(things: dict[str, Path], tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "place", things)
    yield made
    made.close()


@running
def test_commands_and_python_run_as_printed(document: Path, place: Place) -> None:
    failed = []
    for block in blocks(document):
        if not block.needs:
            failed += _failures(block, place)
    assert not failed, "\n\n".join(failed)


def _failures(block: Block, place: Place) -> list[str]:
    failed = []
    try:
        if block.is_python:
            place.execute(block.text, f"{block.document.relative_to(ROOT)}:{block.line}")
    except Failed as error:
        failed.append(str(error))
    for command in block.commands():
        if not NOT_RUN.match(command.text):
            try:
                place.run(command)
            except Failed as error:
                failed.append(str(error))
    return failed


@pytest.mark.long
def test_the_first_example_answers_right_within_a_minute(tmp_path: Path) -> None:
    """On footage of the size that the README has filmed; a minute of both of two cores, whatever else they do."""
    readme = ROOT / "README.md"
    film = next(span for _, span in sentences(readme) if "tests.synthetic dataset DATASET" in span)
    train, ask = itertools.islice(next(b for b in blocks(readme) if "train DATASET" in b.text).commands(), 2)
    place = Place(tmp_path / "place", {})
    place.run(Command(readme, 0, film))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    place.run(train)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = re.search(r"frames (\d+) to (\d+) ", place.run(ask))
    assert said, "no single interval"
    assert abs(int(said[1]) - 8) <= 1 and abs(int(said[2]) - 15) <= 1
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 120


@documents
def test_programs_take_what_commands_give_them(document: Path) -> None:
    wrong = []
    for block in blocks(document):
        for command in block.commands():
            try:
                check(command.text)
            except NotTaken as error:
                wrong.append(f"{command}\n    {error}")
    for line, span in sentences(document):
        if (is_command(span) or span.startswith("scripts/")) and "[" not in span.partition(" ")[2].partition('"')[0]:
            try:
                check(span, whole=False)
            except NotTaken as error:
                wrong.append(f"{document.name}:{line}: {span}\n    {error}")
    assert not wrong, "\n".join(wrong)


@documents
def test_options_that_sentences_name_are_there(document: Path) -> None:
    named = ((line, option) for line, span in sentences(document) for option in _OPTION.findall(span))
    unknown = [f"{document.name}:{line}: {option}" for line, option in named if option not in known_options()]
    assert not unknown


@documents
def test_links_lead_somewhere(document: Path) -> None:
    lost = [
        f"{document.name}:{line}: {path}" for line, path in links(document) if not (document.parent / path).exists()
    ]
    assert not lost


@documents
def test_markers_say_what_is_needed(document: Path) -> None:
    assert set(markers(document)) <= set(NEEDS)


def test_settings_of_the_server_are_read_as_printed(tmp_path: Path) -> None:
    printed = [block.text for block in blocks(ROOT / "docs/server.md") if block.text.startswith("roots = ")]
    assert len(printed) == 1
    file = tmp_path / "server.toml"
    file.write_text(printed[0])
    assert make_config(read_config(file)).limits.clients == 64


def test_the_protocol_page_tells_of_every_setting_of_the_server() -> None:
    rows = re.findall(
        r"^\| ((?:`\[limits\]` )?`[a-z_`, ]+`) \|", (ROOT / "backend/README.md").read_text(), re.MULTILINE
    )
    told = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert {*ServerConfig.model_fields, *Limits.model_fields} - {"limits"} <= told


def test_the_readme_tells_of_every_command() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    assert set(legs4d().commands) <= told
