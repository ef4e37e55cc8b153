"""Who may import whom (docs/architecture.md), read off the source, and what must stay cheap to import."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from collections import deque
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = (
    *("portable", "config", "settings", "commands", "scene", "gaussians", "raster", "priors", "reconstruct", "deform"),
    *(
        "segment",
        "animate",
        "motion",
        "video",
        "generate",
        "language",
        "grounding",
        "effects",
        "plan",
        "imports",
        "pipeline",
        "cluster",
    ),
)
"""Each may import those before it."""
GROUND = ("errors", "progress", "executor", "context")
"""They import nothing but each other, and may be imported by all."""
TOP = ("cli", "terminal", "__main__")
"""The command line: above everything, imported by nothing else."""


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> tuple[tuple[str, int], ...]:
    """(absolute module or `module.name`, line) of every import, inside functions too."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [(f"{module}.{alias.name}", node.lineno) for alias in node.names]
    return tuple(found)


def violations(folder: str, allowed: object) -> list[str]:
    assert callable(allowed)
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(folder)
        for name, line in imports(path)
        if not allowed(path, name)
    ]


def room(path: Path) -> str:
    """`scene` for legs4d/scene/camera.py, `cli` for legs4d/cli/command.py, `` for legs4d/__init__.py."""
    first = path.relative_to(ROOT / "legs4d").parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def test_every_room_has_its_place() -> None:
    rooms = {room(path) for path in modules("legs4d")} - {""}
    assert rooms <= {*ORDER, *GROUND, *TOP}


def test_a_room_imports_only_rooms_before_it() -> None:
    def allowed(path: Path, name: str) -> bool:
        parts = name.split(".")
        if parts[0] != "legs4d" or room(path) in TOP:
            return True
        target = parts[1] if len(parts) > 1 else ""
        if target in GROUND or target in ("", "_csrc", "__version__", room(path)):
            return True
        if room(path) in GROUND or target in TOP:
            return False
        return ORDER.index(target) < ORDER.index(room(path))

    assert violations("legs4d", allowed) == []


def imported_modules(folders: tuple[str, ...]) -> dict[str, set[str]]:
    """Module → those of the repository that it imports: at the top, inside functions and for type checkers alike."""
    paths = [path for folder in folders for path in modules(folder)]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    copied = ("wire", "access")
    shared = {f"blender_addon.{name}": f"backend.{name}" for name in copied}  # copied into its zip
    shared["blender_addon.portable"] = "legs4d.portable"

    def module_of(name: str) -> str | None:
        for copy, original in shared.items():
            name = name.replace(copy, original, 1) if name.startswith(copy) else name
        parts = name.split(".")
        longest = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
        return next((known for start in longest for known in (start, f"scripts.{start}") if known in names), None)

    return {
        name: {found for one, _ in imports(path) if (found := module_of(one)) not in (None, name)}
        for name, path in names.items()
    }


def circle_through(module: str, graph: dict[str, set[str]]) -> list[str]:
    """The shortest way along imports from a module back to itself; nothing where there is none."""
    before: dict[str, str] = {}
    waiting = deque([module])
    while waiting:
        here = waiting.popleft()
        for there in sorted(graph[here] - before.keys()):
            before[there] = here
            waiting.append(there)
    way = [module]
    while module in before and (len(way) == 1 or way[-1] != module):
        way.append(before[way[-1]])
    return way[::-1] if len(way) > 1 else []


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = imported_modules(("legs4d", "backend", "blender_addon", "scripts"))
    circles = {tuple(circle) for module in graph if (circle := circle_through(module, graph))}
    assert [circle for circle in circles if circle[0] == min(circle)] == []


def test_a_circle_of_imports_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": set()}
    assert circle_through("a", graph) == ["a", "b", "c", "a"] and circle_through("d", graph) == []


def test_only_the_command_line_reaches_into_the_backend_and_nothing_into_the_add_on() -> None:
    def allowed(path: Path, name: str) -> bool:
        top = name.split(".")[0]
        return top != "blender_addon" and (top != "backend" or room(path) == "cli")

    assert violations("legs4d", allowed) == []
    assert violations("backend", lambda path, name: name.split(".")[0] != "blender_addon") == []


def test_kernels_are_reached_through_few_rooms() -> None:
    # Rasteriser and lift are raster's and language's; the kernels of the losses and of Adam are reconstruct's alone.
    def allowed(path: Path, name: str) -> bool:
        return "_csrc" not in name.split(".") or room(path) in ("raster", "reconstruct", "language")

    assert violations("legs4d", allowed) == []
    assert violations("backend", lambda path, name: "_csrc" not in name) == []


def test_the_add_on_needs_only_what_blender_and_its_zip_have() -> None:
    blender = {"bpy", "bpy_extras", "mathutils", "gpu", "gpu_extras", "blf", "imbuf", "addon_utils"}
    known = {*sys.stdlib_module_names, *blender, "numpy", "msgpack", "zmq", "blender_addon"}
    assert violations("blender_addon", lambda path, name: name.split(".")[0] in known) == []


def test_the_message_format_needs_only_msgpack_and_numpy() -> None:
    known = {*sys.stdlib_module_names, "numpy", "msgpack"}
    found = {name.split(".")[0] for name, _ in imports(ROOT / "backend/wire.py")}
    assert found <= known


def test_how_a_server_is_found_needs_only_the_message_format() -> None:
    beside = [
        name for name, _ in imports(ROOT / "backend/access.py") if name.split(".")[0] not in sys.stdlib_module_names
    ]
    assert beside == ["backend.wire.WireError"]
    assert "from backend" not in (ROOT / "backend/access.py").read_text(encoding="utf-8")


def test_what_the_extension_shares_needs_only_numpy() -> None:
    # In the extension the folder lies elsewhere, without the rest of legs4d: it knows itself by relative imports.
    def allowed(path: Path, name: str) -> bool:
        return name.split(".")[0] in {*sys.stdlib_module_names, "numpy"} or name.startswith("legs4d.portable.")

    assert violations("legs4d/portable", allowed) == []
    for path in modules("legs4d/portable"):
        assert "from legs4d" not in path.read_text(encoding="utf-8"), path


def test_bpy_is_not_needed_outside_blender() -> None:
    for folder in ("legs4d", "backend"):
        assert violations(folder, lambda path, name: name.split(".")[0] != "bpy") == []


def test_nothing_is_unpickled() -> None:
    unpicklers = {
        f"{module}.{name}" for module in ("pickle", "dill", "joblib") for name in ("load", "loads", "Unpickler")
    }
    for folder in ("legs4d", "backend", "blender_addon", "scripts"):
        assert violations(folder, lambda path, name: name not in unpicklers) == []
        for path in modules(folder):
            for call in (n for n in ast.walk(tree(path)) if isinstance(n, ast.Call)):
                where = f"{path.relative_to(ROOT)}:{call.lineno}"
                given = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
                assert ast.unparse(call.func) not in unpicklers, where
                assert given.get("allow_pickle") is not True, where
                if ast.unparse(call.func) == "torch.load":
                    assert given.get("weights_only") is True, where


@pytest.mark.parametrize(
    "module",
    [
        "legs4d",
        "legs4d.cli",
        "legs4d.grounding.answers",
        "legs4d.effects.cuts",
        "legs4d.gaussians.store.run",
        "legs4d.scene.readers",
        "legs4d.pipeline",
        "backend.service.server",
    ],
)
def test_torch_is_not_loaded_where_an_answer_must_be_quick(module: str) -> None:
    """A query has 2 s; importing torch takes 5."""
    code = f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"torch", "zarr", "transformers", "sentence_transformers"} & set(json.loads(done.stdout))


def least_seconds(code: str) -> float:
    """Of several fresh interpreters, as whatever else the machine does only adds to it."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def test_importing_the_library_takes_less_than_a_fifth_of_a_second() -> None:
    assert least_seconds("import legs4d") - least_seconds("pass") < 0.2
