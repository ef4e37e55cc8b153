"""Files that documents and code name are in the repository, and the page of the architecture knows every folder."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.docs.documents import DOCUMENTS, ROOT

FOLDERS = ("legs4d", "backend", "blender_addon", "scripts", "tests", "docs", "csrc", "findings")
NAMED = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./*-]*\w")
MADE = re.compile(r"legs4d/server\.json|legs4d/_csrc|legs4d/masks\b")
"""Made by a build or on a user's machine, or a key in the metadata of EXR files."""
ROOMS = ("legs4d", "backend", "blender_addon", "scripts")


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return listed.splitlines()


def missing(text: str) -> list[str]:
    named = {name for name in NAMED.findall(text) if "NAME" not in name and not MADE.match(name)}
    return sorted(name for name in named if not any(ROOT.glob(name)) and not any(ROOT.glob(f"{name}.*")))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_document_names_are_there(document) -> None:
    assert missing(document.read_text()) == []


def test_tests_that_documents_name_are_there() -> None:
    named = {
        name for document in DOCUMENTS for name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", document.read_text())
    }
    assert len(named) > 40, "docs/experiments/cases.md"
    assert [name for name in sorted(named) if f"def {name[1]}(" not in (ROOT / name[0]).read_text()] == []


def test_documents_that_code_cites_are_there() -> None:
    for name in tracked():
        if name.endswith((".py", ".sh", ".cpp", ".h", ".cu", ".toml", "Makefile")) and (ROOT / name).is_file():
            cited = re.findall(r"(?<![\w/.-])(?:docs|backend)/[\w/-]+\.md", (ROOT / name).read_text())
            assert all((ROOT / document).exists() for document in cited), (name, cited)


@pytest.mark.parametrize("room", ROOMS)
def test_the_architecture_knows_every_folder(room: str) -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    folders = {name.split("/")[1] for name in tracked() if name.startswith(f"{room}/") and name.count("/") > 1}
    unknown = sorted(folder for folder in folders if f"`{room}/{folder}/`" not in text and f"`{folder}/`" not in text)
    assert unknown == []
