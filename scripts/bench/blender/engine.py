"""Measures F12 of the engine "4-LEGS splats" from Blender: 300k points, 1920 × 1080, on the CPU, the whole way.

    .venv-blender/bin/python scripts/bench/blender/engine.py [--points 300000] [--beside CHECKOUT]

Makes a run of random splats, two thirds of which do not move, serves it, imports it and renders it: the whole of it,
and a view from within, most of it outside the picture. Prints seconds and the processes' seconds of CPU, which a busy
machine does not change. With `--beside`, another checkout (with its `.venv`) renders the same in turn. Target: 4 s.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bpy
import numpy as np

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository
from tools import build_extension

from bench import figures

TARGET_SECONDS = 4.0
TIMES = 3
WIDTH, HEIGHT = 1920, 1080
VIEWS = {"all of it": 6.0, "from within": 0.4}
"""Name, and the camera's distance from the middle, scene units: the points lie within about 2."""
PATIENCE = 120.0
SUBJECT = "Rendering in Blender"

_MAKE = """
import sys, numpy as np
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
rng, points = np.random.default_rng(0), int(sys.argv[2])
def splats(n):
    quats = rng.normal(size=(n, 4)).astype("f4"); quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    scales = np.exp(rng.uniform(np.log(0.004), np.log(0.02), (n, 3))).astype("f4")
    place, color = (rng.normal(size=(n, 3)).astype("f4") for _ in "ab")
    return Gaussians(place * 0.6, quats, scales, rng.uniform(0.1, 0.95, n).astype("f4"), color, np.ones(n, bool))
still, moving = splats(points * 2 // 3), splats(points - points * 2 // 3)
run = Run.create(sys.argv[1])
run.set_info(fps=10.0, kind="imported", up=[0.0, 0.0, 1.0])
run.begin_stage("import", "x")
run.write_geometry(still, moving, 2)
for t in range(2):
    run.write_frame(t, moving.means + np.float32(0.01 * t), moving.quats, moving.colors)
    run.frame_done("import", t, 0.0)
run.finish_stage("import")
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=300_000)
    parser.add_argument("--beside", type=Path, help="another checkout, rendered in turn with this one")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = figures.parse(parser)
    if options.only:
        return _render(Path(options.only))
    with tempfile.TemporaryDirectory(prefix="legs4d-bench-") as scratch:
        run = Path(scratch) / "root" / "splats"
        run.parent.mkdir()
        python = ROOT / ".venv" / "bin" / "python"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        subprocess.run([python, "-c", _MAKE, run, str(options.points)], cwd=ROOT, env=environment, check=True)
        here = _measured(ROOT, Path(scratch))
        beside = _measured(options.beside.resolve(), Path(scratch)) if options.beside else {}
    met = True
    for name, (seconds, cpu) in here.items():
        print(f"{name:14} {seconds:6.2f} s, {cpu:5.2f} s of CPU", end="")
        said = f"{seconds:.2f} s, {cpu:.2f} s of CPU"
        if beside:
            print(f"; beside {beside[name][0]:6.2f} s, {beside[name][1]:5.2f} s of CPU", end="")
            said += f"; the build before {beside[name][0]:.2f} s, {beside[name][1]:.2f} s"
        print()
        figures.record(SUBJECT, f"engine, F12, {name}", said, aim=f"{TARGET_SECONDS:.0f} s")
        met = met and seconds <= TARGET_SECONDS
    print(f"load {os.getloadavg()[0]:.1f}: target {'met' if met else 'missed'}")
    return 0 if met else 1


def _measured(checkout: Path, scratch: Path) -> dict[str, tuple[float, float]]:
    """Seconds and seconds of CPU of each view, by a checkout's own extension and backend."""
    script = checkout / "scripts" / "bench" / "blender" / "engine.py"
    mine = Path(__file__) if not script.exists() else script
    command = [sys.executable, str(mine), "--only", str(scratch)]
    told = subprocess.run(
        command, cwd=checkout, env={**os.environ, "LEGS4D_BENCH_ROOT": str(checkout)}, capture_output=True, text=True
    )
    found = {}
    for line in told.stdout.splitlines():
        if line.startswith("measured\t"):
            _, name, seconds, cpu = line.split("\t")
            found[name] = (float(seconds), float(cpu))
    if set(found) != set(VIEWS):
        raise SystemExit(f"{checkout} did not render:\n{told.stdout[-2000:]}\n{told.stderr[-2000:]}")
    return found


def _render(scratch: Path) -> int:
    """Renders both views of the run under `scratch` and prints what they took."""
    checkout = Path(os.environ.get("LEGS4D_BENCH_ROOT", ROOT))
    build_extension.ROOT = checkout
    own = Path(tempfile.mkdtemp(dir=scratch))
    os.environ["LEGS4D_STATE_DIR"] = str(own / "state")
    sys.path.insert(0, str(build_extension.assemble(own / "extension").parent))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.preferences.addon_enable(module="blender_addon")
    from blender_addon.link import session
    from blender_addon.sequence import sequence

    chosen = bpy.context.preferences.addons["blender_addon"].preferences
    chosen.command, chosen.root = str(checkout / ".venv"), str(scratch / "root")
    chosen.cache_folder = str(own / "cache")
    bpy.ops.legs4d.start_backend()
    try:
        _wait(lambda: session.current.link.ready)
        bpy.ops.legs4d.import_run(run="splats")
        _wait(lambda: sequence.find(bpy.context.scene))
        _wait(lambda: not session.current.transfers.pending and not session.current.tasks.busy)
        scene = _scene(own)
        for name, distance in VIEWS.items():
            scene.camera.location = (0.0, -distance, 0.0)
            bpy.ops.render.render(write_still=True)  # once before: the backend reads the run
            seconds, cpu = [], []
            for _ in range(TIMES):
                wall, used = time.perf_counter(), _cpu_seconds()
                bpy.ops.render.render()
                seconds.append(time.perf_counter() - wall)
                cpu.append(_cpu_seconds() - used)
            print(f"measured\t{name}\t{np.median(seconds)}\t{np.median(cpu)}", flush=True)
    finally:
        bpy.ops.legs4d.stop_backend()
        bpy.ops.preferences.addon_disable(module="blender_addon")
    return 0


def _scene(folder: Path) -> bpy.types.Scene:
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    camera.rotation_euler = (np.pi / 2, 0, 0)
    scene.camera, scene.render.engine = camera, "LEGS4D_SPLATS"
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.filepath = str(folder / "picture.png")
    return scene


def _wait(condition) -> None:
    from blender_addon.link import session

    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {PATIENCE:.0f} s: {session.current.link.message}")
        session.current.pump()
        time.sleep(0.01)


def _cpu_seconds() -> float:
    """Of this process and all that it started and their children."""
    parents, ticks = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(folder.name)], ticks[int(folder.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    mine = {os.getpid()}
    while found := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= found
    return sum(ticks.get(pid, 0) for pid in mine) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    raise SystemExit(main())
