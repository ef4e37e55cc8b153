"""Every script: it answers --help wherever it is run from, and finds what it imports by the one line for that."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path for path in (ROOT / "scripts").rglob("*.py") if "__main__" in path.read_text())
IN_BLENDER = [path for path in SCRIPTS if re.search("^import bpy", path.read_text(), re.MULTILINE)]
SHELL = sorted((ROOT / "scripts").rglob("*.sh"))

ASK = """
import json, os, runpy, sys, tempfile
for module in sys.argv[1].split(","):
    __import__(module)  # once, for all scripts
answers = {}
for script in sys.argv[2:]:
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            for number in (1, 2):
                os.dup2(said.fileno(), number)
            sys.path[0], sys.argv = os.path.dirname(script), [script, "--help"]
            code = 1
            try:
                runpy.run_path(script, run_name="__main__")
            except SystemExit as exited:
                code = exited.code or 0
            except BaseException as error:
                print(type(error).__name__, error)
            sys.stdout.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        answers[script] = [code, said.read()]
print(json.dumps(answers))
"""


def ask(python: Path, modules: str, scripts: list[Path], folder: Path) -> dict[str, tuple[int, str]]:
    """Exit status and text that each script answers --help with, in an interpreter that knows these modules."""
    command = [str(python), "-c", ASK, modules, *map(str, scripts)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def check(answers: dict[str, tuple[int, str]], count: int) -> None:
    wrong = {script: said for script, (code, said) in answers.items() if code or not said.startswith("usage: ")}
    assert wrong == {} and len(answers) == count


def test_every_script_answers_help(tmp_path: Path) -> None:
    scripts = [path for path in SCRIPTS if path not in IN_BLENDER]
    check(ask(Path(sys.executable), "torch,legs4d.pipeline,backend.service.server", scripts, tmp_path), len(scripts))


def test_scripts_of_blender_answer_help(tmp_path: Path) -> None:
    python = ROOT / ".venv-blender/bin/python"
    if not python.exists():
        pytest.skip("`make setup` has not made .venv-blender here")
    check(ask(python, "bpy", IN_BLENDER, tmp_path), len(IN_BLENDER))


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_shell_scripts_answer_help(script: Path, tmp_path: Path) -> None:
    done = subprocess.run(["bash", script, "--help"], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "usage" in done.stdout.lower() and done.stderr == ""


def test_scripts_find_what_they_import_by_one_line() -> None:
    for path in SCRIPTS:
        depth = len(path.relative_to(ROOT).parts) - 2
        where = f"Path(__file__).resolve().parents[{depth}:{depth + 2}]"
        line = f"sys.path[:0] = map(str, {where})  # scripts/ and the repository"
        changes = [each for each in path.read_text().splitlines() if each.startswith("sys.path")]
        found = [each for each in changes if "argv" not in each and "blender_addon" not in each]
        assert found in ([], [line]), path
