"""What the tests inside Blender share: the add-on as it is installed, a real backend process, runs to import."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
import numpy as np
import pytest

from tests.folder_seconds import pytest_runtest_logreport, pytest_terminal_summary

__all__ = ["pytest_runtest_logreport", "pytest_terminal_summary"]

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / ".venv" / "bin"
FRAMES = 12
PROMPT = "the ball is flying"
SIZE, ANGLE, DISTANCE = 64, 0.9, 4.0
"""Of a `photo`: pixels, radians, and scene units from the origin."""
SH_C0 = 0.28209479177387814
START_SECONDS = 60
"""For a backend to listen: a cold start on a busy machine."""

sys.path.insert(0, str(ROOT / "scripts"))


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The add-on's folder as the extension build lays it out, importable as `blender_addon`."""
    from tools import build_extension

    folder = build_extension.assemble(tmp_path_factory.mktemp("extension"))
    sys.path.insert(0, str(folder.parent))
    for name in [name for name in sys.modules if name.partition(".")[0] == "blender_addon"]:
        del sys.modules[name]  # pytest's rootdir can have found the source tree, which lacks wire.py
    return folder


@pytest.fixture
def addon(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """An empty file, the add-on enabled, its cache and state in this test's folder, nothing connected."""
    monkeypatch.setenv("LEGS4D_STATE_DIR", str(tmp_path / "state"))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module="blender_addon")
    import blender_addon

    chosen = bpy.context.preferences.addons["blender_addon"].preferences
    chosen.cache_folder = str(tmp_path / "cache")
    yield blender_addon
    bpy.ops.preferences.addon_disable(module="blender_addon")


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the run `ball`: FRAMES frames, answers prompts. Tests that change it copy it."""
    root = tmp_path_factory.mktemp("root")
    library("-m", "tests.synthetic", "run", str(root / "ball"), "--frames", str(FRAMES))
    return root


class Backend:
    """A backend process, started from the library's own environment."""

    def __init__(self, root: Path, state: Path) -> None:
        self.root, self.state = root, state
        self.start()

    def start(self) -> None:
        """Start it, again after a `kill`; returns when it listens."""
        file = self.state / "server.json"
        before = file.read_text() if file.exists() else ""
        self.process = subprocess.Popen(
            [LIBRARY / "legs4d", "serve", "--root", str(self.root)],
            cwd=ROOT,
            env=library_environment() | {"LEGS4D_STATE_DIR": str(self.state)},
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while not file.exists() or file.read_text() in ("", before):
            assert self.process.poll() is None, "the backend ended while starting"
            assert time.monotonic() < deadline, f"no backend after {START_SECONDS} s"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it without warning, as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it in order."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


def serving(script: str, factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A backend of the folder that a script of the library's Python fills, which is told it."""
    root = factory.mktemp("made")
    library("-c", script, str(root))
    served = Backend(root, factory.mktemp("state"))
    yield served
    served.stop()


def pump(client: object, done: Callable[[], object], seconds: float = 10.0) -> None:
    """Take what a client was sent, until it is done."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, client.status
        client.pump()
        time.sleep(0.002)


@pytest.fixture(scope="session")
def shared_backend(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """One backend for all tests that do it no harm."""
    served = Backend(runs, tmp_path_factory.mktemp("state"))
    yield served
    served.stop()


@pytest.fixture
def backend(runs: Path, tmp_path: Path) -> Iterator[Backend]:
    """A backend of this test's own, to be killed and started again; it serves a copy of the runs."""
    shutil.copytree(runs, tmp_path / "root")
    served = Backend(tmp_path / "root", tmp_path / "state")
    yield served
    served.stop()


Until = Callable[..., None]


@pytest.fixture
def until(addon: object) -> Until:
    """`until(condition, "what")`: pump the add-on, as its timer would, until the condition holds."""
    from blender_addon.link import session

    def wait(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (
                f"not within {seconds} s: {what}; {session.current.link.status}; {session.current.link.message}"
            )
            session.current.pump()
            time.sleep(0.005)

    return wait


@pytest.fixture
def connected(shared_backend: Backend, until: Until, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """The add-on connected to the shared backend, its runs listed."""
    from blender_addon.link import session

    monkeypatch.setenv("LEGS4D_STATE_DIR", str(shared_backend.state))
    session.current.link.connect()
    until(lambda: len(bpy.context.window_manager.legs4d.runs) == 1, "the list of runs")
    return shared_backend


def import_whole(run: str, until: Until) -> object:
    """Import a run, the scene's only one, and wait until every frame is in the cache; the sequence."""
    from blender_addon.link import session
    from blender_addon.sequence import sequence

    bpy.ops.legs4d.import_run(run=run)
    until(lambda: sequence.find(bpy.context.scene), "the sequence")
    until(lambda: not session.current.transfers.pending and not session.current.tasks.busy, "all frames")
    return sequence.find(bpy.context.scene)[0]


@pytest.fixture
def imported(connected: Backend, until: Until) -> object:
    """The run `ball` imported, every frame in the cache; the sequence."""
    return import_whole("ball", until)


@pytest.fixture
def asked(imported: object, until: Until) -> object:
    """The sequence with PROMPT answered."""
    from blender_addon.link import session

    bpy.ops.legs4d.ask(prompt=PROMPT)
    until(lambda: not session.current.questions.busy, "the answer")
    return imported


@pytest.fixture
def splats(addon: object) -> object:
    """`splats(gaussians)`: a sequence of one cloud with these Gaussians, its axes those of the scene."""
    from blender_addon import names
    from blender_addon.cache.frames import Description
    from blender_addon.sequence import attributes
    from blender_addon.sequence.sequence import Sequence

    def make(gaussians: dict[str, np.ndarray]) -> Sequence:
        count = len(gaussians["means"])
        sh_rest = gaussians.get("sh_rest", np.zeros((count, 0, 3)))
        description = Description("splats", "splats", "1", 1, count, 0, 12.0, sh=sh_rest.shape[1])
        made = Sequence.create(description, bpy.context.scene.collection)
        made.empty.rotation_euler = (0, 0, 0)
        dc = (gaussians["rgb"] - 0.5) / SH_C0
        for name, values in (
            (names.POSITION, gaussians["means"]),
            (names.SCALE, gaussians["scales"]),
            (names.ROTATION, gaussians["quats"]),
            (names.RADIANCE, np.column_stack((dc, gaussians["opacities"]))),
        ):
            cloud = made.static_object.data
            attributes.write(cloud, name, names.CLOUD_ATTRIBUTES[name], np.ascontiguousarray(values, np.float32))
        for index in range(sh_rest.shape[1]):
            values = np.ascontiguousarray(sh_rest[:, index], np.float32)
            attributes.write(cloud, names.sh_attribute(index), "FLOAT_VECTOR", values)
        return made

    return make


@pytest.fixture
def photo(tmp_path: Path) -> object:
    """`photo(samples)`: [H, W, 4] 8-bit sRGB picture, 0..1, from -y at DISTANCE, on transparent ground."""

    def take(samples: int = 16) -> np.ndarray:
        import imbuf

        from blender_addon import look

        scene = bpy.context.scene
        if scene.camera is None:
            camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
            scene.collection.objects.link(camera)
            camera.location, camera.rotation_euler = (0, -DISTANCE, 0), (np.pi / 2, 0, 0)
            camera.data.angle, scene.camera = ANGLE, camera
        scene.render.engine, scene.render.film_transparent = "CYCLES", True
        scene.render.resolution_x = scene.render.resolution_y = SIZE
        scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.use_adaptive_sampling = samples, False, False
        look.prepare(scene)
        scene.legs4d_render.render_missing = True  # the points are written by hand: no cache has them
        scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
        scene.render.filepath = str(tmp_path / "photo.png")
        bpy.ops.render.render(write_still=True)
        with imbuf.load(scene.render.filepath).with_buffer() as buffer:
            return np.array(buffer)[::-1] / 255.0

    return take


def read(item: bpy.types.Object, name: str) -> np.ndarray:
    """An attribute of a cloud's points; a layer's relevancy as 0..1."""
    from blender_addon.sequence import attributes

    values = attributes.read(item.data, name)
    return values.view(np.uint8) * np.float32(1 / 255) if values.dtype == np.int8 else values


def library_environment() -> dict[str, str]:
    """The environment without what belongs to Blender's Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


_libraries: list[subprocess.Popen[str]] = []


def library(*arguments: str) -> None:
    """Have the library's own Python run "-c" and code, or "-m" and a module, with these further arguments."""
    if not _libraries:
        command = [LIBRARY / "python", Path(__file__).with_name("library_process.py")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        environment = library_environment() | {"PYTHONPATH": str(ROOT)}
        _libraries.append(subprocess.Popen(command, cwd=ROOT, env=environment, **pipes))
        atexit.register(_libraries[0].stdin.close)
    process = _libraries[0]
    process.stdin.write(json.dumps(arguments) + "\n")
    process.stdin.flush()
    problem = json.loads(process.stdout.readline())
    assert not problem, problem


@pytest.fixture(scope="session")
def truth(runs: Path) -> dict[str, np.ndarray]:
    """What the library itself says about the run `ball` and PROMPT: the arrays of `_TRUTH`."""
    file = runs / "truth.npz"
    if not file.exists():
        library("-c", _TRUTH, str(runs / "ball"), PROMPT, str(file))
    return dict(np.load(file))


_TRUTH = """
import sys, numpy as np
from legs4d.gaussians.store.run import Run
from legs4d.grounding.query import query
run = Run.open(sys.argv[1])
frames = [run.dynamic(t) for t in range(run.num_frames)]
still = run.static()
found = query(run, [sys.argv[2]])[0]
np.savez(
    sys.argv[3], static_means=still.means, static_scales=still.scales, static_quats=still.quats,
    static_colors=still.colors, static_opacities=still.opacities, scales=frames[0].scales, born=run.born, died=run.died,
    means=[f.means for f in frames], quats=[f.quats for f in frames], colors=[f.colors for f in frames],
    opacities=[f.opacities for f in frames], curve=found.relevancy, static_relevancy=found.static,
    relevancy=[found.dynamic(t) for t in range(run.num_frames)],
    intervals=[(i.start, i.end, i.peak) for i in found.intervals],
)
"""
