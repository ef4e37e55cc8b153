"""`make demo`: films a small scene with Blender, trains on it, drives the extension, and checks what came of it."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = map(str, Path(__file__).resolve().parents[1:3])  # scripts/ and the repository
from tools import build_extension

from demo import sight as demo_sight
from demo.film import write_film

BLENDER_PYTHON = ROOT / ".venv-blender" / "bin" / "python"
LEGS4D, PYTHON = (ROOT / ".venv" / "bin" / name for name in ("legs4d", "python"))

LEAST_PSNR, LEAST_TIOU, LEAST_VIOU = 26.0, 0.7, 0.4
"""What the demo has to reach: decibels on the test cameras, and overlap with the truth for each prompt."""

ONE_STEPS = 1_200
"""Of the fit to one moving camera's pictures; as these are few, less than half of them are made."""
LEAST_ONE = {"psnr": 17.0, "tiou": 0.7, "viou": 0.2}
"""What that has to reach, on a camera that it has not seen, and on average over the prompts."""

STEPS: dict[str, tuple[str, ...]] = {
    "capture": (),
    "train": ("capture",),
    "blender": ("train",),
    "film": ("blender",),
    "sample": ("blender",),
    "judge": ("train",),
    "sight": ("train",),
    "judge_sight": ("sight",),
    "capture_moving": (),
    "moving": ("capture_moving",),
}
"""The steps, and what each goes on from."""

SCENE = ("demo/in_blender.py", "demo/figure.py", "demo/scene.py", "demo/room.py", "capture")
"""What the captured pictures depend on."""
HALF = "capture_half"
"""Where one of two Blenders puts its pictures."""
SEEING = ROOT / "legs4d" / "language"
"""What an encoder sees in them depends on it."""


class DemoError(Exception):
    """A step failed; the message says which and where its log is."""


class Demo:
    """The steps, each skipped when its inputs are those it was last done with, and redone when they are not.

    Args:
        out: where everything goes.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._record_path, self._lock = out / "steps.json", threading.Lock()
        out.mkdir(parents=True, exist_ok=True)
        self.record: dict[str, Any] = json.loads(self._record_path.read_text()) if self._record_path.exists() else {}

    def run(self) -> dict[str, Any]:
        """Does what is left to do; returns the report."""
        # What is shown on the terminal leaves half of two cores, and so does Blender; what is beside has its logs.
        with ThreadPoolExecutor(1) as pool:
            beside = [pool.submit(self._one_camera)]
            self._step("capture", self._capture, ["capture/truth"], ["capture", HALF], self._sources(*SCENE))
            self._step("train", self._train, ["run/run.json"], [], "")
            beside.append(pool.submit(self._in_blender))
            self._step("sight", self._sight, ["sight/run/run.json"], ["sight"], _hash_of(SEEING))
            made = ["sight/evaluation.json", "sight/relevancy.png"]
            self._step("judge_sight", self._judge_sight, made, [], self._sources("demo/sight.py"))
            for part in beside:
                part.result()
        return self._report()

    def _one_camera(self) -> None:
        made = ["moving/capture/train_meta.json", "moving/truth"]
        self._step("capture_moving", self._capture_moving, made, ["moving"], self._sources(*SCENE))
        self._step("moving", self._moving, ["moving/evaluation.json"], [], "")

    def _in_blender(self) -> None:
        sources = self._sources("demo/in_blender.py", "look", "export")
        self._step("blender", self._show, ["demo.blend"], ["export", "cache"], sources)
        self._step("film", self._film, ["highlight.mp4"], [], self._sources("demo/film.py"))
        self._step("sample", self._sample, ["sample.legs4d"], [], self._sources("demo/sample.py"))
        made = ["contact_sheet.png", "timeline.png", "evaluation.json"]
        self._step("judge", self._judge, made, [], "")

    def _step(self, name: str, work: Callable[[], None], makes: list[str], clears: list[str], inputs: str) -> None:
        """Runs one step unless it is done. It depends on those it goes on from and on `inputs`, a hash.

        Args:
            makes: paths under `out` without which it is not done.
            clears: folders to delete first when it was begun with other inputs; else it goes on in them.
        """
        before = [self.record[step]["mark"] for step in STEPS[name]]
        mark = hashlib.sha256("\n".join([inputs, *before]).encode()).hexdigest()[:16]
        last = self.record.get(name, {})
        same = last.get("mark") == mark
        if same and last["done"] and all((self.out / path).exists() for path in makes):
            print(f"demo: {name}: done before ({last['seconds']:.0f} s)", flush=True)
            return
        if not same:
            for folder in clears:
                shutil.rmtree(self.out / folder, ignore_errors=True)
        spent = last["seconds"] if same and not last["done"] else 0.0
        self._note(name, {"mark": mark, "seconds": spent, "done": False})
        print(f"demo: {name} …", flush=True)
        start = time.monotonic()
        try:
            work()
        finally:  # an interruption's time counts
            seconds = round(spent + time.monotonic() - start, 1)
            self._note(name, {"mark": mark, "seconds": seconds, "done": False})
        self._note(name, {"mark": mark, "seconds": seconds, "done": True})
        print(f"demo: {name}: {seconds:.0f} s", flush=True)

    def _note(self, name: str, what: dict[str, Any]) -> None:
        with self._lock:
            self.record[name] = what
            _write(self._record_path, json.dumps(self.record, indent=1))

    @staticmethod
    def _sources(*names: str) -> str:
        """Hash of the scripts and add-on folders that a step's result depends on."""
        found: list[Path] = []
        for name in names:
            found += sorted((ROOT / "scripts").glob(name)) + sorted((ROOT / "blender_addon" / name).glob("*.py"))
        return hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest()

    def _capture(self) -> None:
        """By two Blenders, as one leaves half of two cores: each takes every other camera's pictures, into a folder of
        its own. The first folder then gets all of them, and what else makes a capture."""
        folder, other = self.out / "capture", self.out / HALF
        with ThreadPoolExecutor(2) as pool:
            for half in [pool.submit(self._blender, *task) for task in (("even", folder), ("odd", other))]:
                half.result()
        for camera in other.glob("*/*/"):
            target = folder / camera.relative_to(other)
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            camera.rename(target)
        shutil.rmtree(other)
        self._filmed("capture", folder, folder / "truth")

    def _capture_moving(self) -> None:
        """The same scene filmed by one camera that moves."""
        self._filmed("one", self.out / "moving" / "capture", self.out / "moving" / "truth")

    def _filmed(self, what: str, folder: Path, truth: Path) -> None:
        self._blender(what, folder)
        write_truth(folder, json.loads((folder / "expected.json").read_text()), truth)

    def _train(self) -> None:
        self._command("train", LEGS4D, "train", self.out / "capture", "--out", self.out / "run", "--again", shown=True)

    def _moving(self) -> None:
        """What one camera that moves saw: fitted as a whole, asked the same prompts, judged."""
        place = self.out / "moving"
        asked = ("--set", f"deform.steps={ONE_STEPS}", "--again")
        self._command("moving", LEGS4D, "train", place / "capture", "--out", place / "run", *asked)
        self._judged("moving_judge", place, place / "truth")

    def _judged(self, name: str, place: Path, truth: Path) -> None:
        """The run in a folder, compared with what is true; what is found lies beside it."""
        run, pictures = place / "run", ("--pictures", place)
        found = self._command(name, LEGS4D, "eval", run, "--grounding", truth, *pictures, "--json")
        _write(place / "evaluation.json", found)

    def _show(self) -> None:
        self._blender("show", self.out)

    def _film(self) -> None:
        frames = sorted((self.out / "export").glob("highlight_*.png"))
        export = self.out / "export"
        write_film(frames, export / "run_intervals.json", export / "colors.json", self.out / "highlight.mp4")

    def _sight(self) -> None:
        """The same geometry, without its captions: language from the pictures alone."""
        run = self.out / "sight" / "run"
        if not run.exists():
            part = self.out / "sight" / ".part"
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(self.out / "run", part)
            part.rename(run)
        self._command("sight", LEGS4D, "lift", run, "--encoder", demo_sight.ENCODER, "--again", shown=True)

    def _judge(self) -> None:
        self._judged("judge", self.out, self.out / "capture" / "truth")

    def _judge_sight(self) -> None:
        capture, sight = self.out / "capture", self.out / "sight"
        write_truth(capture, demo_sight.expected(capture), sight / "truth")
        self._judged("judge_sight", sight, sight / "truth")
        prompts = [word for prompt in demo_sight.expected(capture) for word in ("--prompt", prompt)]
        self._command(
            "relevancy",
            PYTHON,
            ROOT / "scripts" / "bench" / "language" / "show_relevancy.py",
            sight / "run",
            sight / "relevancy.png",
            *prompts,
        )

    def _sample(self) -> None:
        """A part of the run and its answers, for the extension's zip."""
        (cached,) = (path.parent for path in (self.out / "cache").glob("run-*/manifest.json"))
        script = ROOT / "scripts" / "demo" / "sample.py"
        self._command("sample", BLENDER_PYTHON, script, cached, self.out / "sample.legs4d")
        build_extension.SAMPLE.parent.mkdir(exist_ok=True)
        shutil.copy2(self.out / "sample.legs4d", build_extension.SAMPLE)

    def _blender(self, what: str, folder: Path) -> None:
        if not BLENDER_PYTHON.exists():
            raise DemoError("Blender's environment is missing; run `make setup` first.")
        self._command(what, BLENDER_PYTHON, ROOT / "scripts" / "demo" / "in_blender.py", what, folder)

    def _command(self, name: str, *command: Path | str, shown: bool = False) -> str:
        """Runs a command with its messages in a log; returns what it wrote to stdout."""
        log = self.out / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        # Jobs and addresses of the demo's backend stay with the demo.
        # Threads that wait leave their core to what runs beside.
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "LEGS4D_STATE_DIR": str(self.out / "state")}
        with open(log, "w+") as messages:
            done = subprocess.run(
                [str(part) for part in command],
                env=environment,
                stdout=None if shown else subprocess.PIPE,
                stderr=None if shown else messages,
                text=True,
            )
            if done.stdout:  # before the messages: what made it fail is their end, and the log's
                messages.seek(0)
                told = messages.read()
                messages.seek(0)
                messages.write(done.stdout + told)
        if done.returncode:
            tail = "\n".join(log.read_text().splitlines()[-8:])
            raise DemoError(f"'{name}' failed; the end of {log}:\n{tail}" if tail else f"'{name}' failed, see above.")
        return done.stdout or ""

    def _report(self) -> dict[str, Any]:
        evaluation = json.loads((self.out / "evaluation.json").read_text())
        expected = json.loads((self.out / "capture" / "expected.json").read_text())
        info = json.loads((self.out / "run" / "run.json").read_text())
        grounding = []
        for prompt, act in expected.items():
            rows = [row for row in evaluation["grounding"]["rows"] if row["prompt"] == prompt]
            found = evaluation["grounding"]["prompts"][prompt]["intervals"]
            grounding.append(
                {
                    "prompt": prompt,
                    "intervals": [[span["start"], span["end"]] for span in found],
                    "expected": [[act["start"], act["end"]]],
                    "tiou": round(float(np.mean([row["tiou"] for row in rows])), 4),
                    "viou": round(float(np.mean([row["viou"] for row in rows])), 4),
                }
            )
        report = {
            "psnr_test": round(evaluation["psnr"], 2),
            "gaussians": info["geometry"]["num_static"] + info["geometry"]["num_dynamic"],
            "moving": _of_moving(json.loads((self.out / "moving" / "evaluation.json").read_text())),
            "seconds": {name: self.record[name]["seconds"] for name in STEPS},
            "grounding": grounding,
            "sight": demo_sight.report(
                json.loads((self.out / "sight" / "evaluation.json").read_text()),
                demo_sight.expected(self.out / "capture"),
            ),
        }
        _write(self.out / "report.json", json.dumps(report, indent=1))
        return report


def _of_moving(evaluation: dict[str, Any]) -> dict[str, float]:
    """What came of the one moving camera: on a camera that stood elsewhere, means over the prompts."""
    mean = evaluation["grounding"]["mean"]
    return {"psnr": round(evaluation["psnr"], 2), "tiou": round(mean["tiou"], 4), "viou": round(mean["viou"], 4)}


def write_truth(capture: Path, expected: dict[str, dict[str, int]], truth: Path) -> None:
    """Where and when prompts truly hold on the test cameras, as the benchmark has it: `<truth>/<prompt>/cam<id>/`.

    Args:
        expected: prompt → `object`, its id, and the frames `start` to `end`.
    """
    cameras = json.loads((capture / "test_meta.json").read_text())["cam_id"][0]
    for prompt, act in expected.items():
        for camera in cameras:
            folder = truth / prompt.replace(" ", "_") / f"cam{camera}"
            folder.mkdir(parents=True, exist_ok=True)
            for frame in range(act["start"], act["end"] + 1):
                ids = np.asarray(Image.open(capture / "objects" / str(camera) / f"{frame:06d}.png"))
                Image.fromarray(ids == act["object"]).save(folder / f"{frame:06d}.png")


def shortfalls(report: dict[str, Any]) -> list[str]:
    """What misses its floor, a sentence each."""
    found = []
    if report["psnr_test"] < LEAST_PSNR:
        found.append(f"PSNR on the test cameras is {report['psnr_test']:.2f} dB, below {LEAST_PSNR:.0f}.")
    for row in report["grounding"]:
        for name, least in (("tiou", LEAST_TIOU), ("viou", LEAST_VIOU)):
            if row[name] < least:
                found.append(f"{name} of '{row['prompt']}' is {row[name]:.2f}, below {least}.")
    for name, least in LEAST_ONE.items():
        if report["moving"][name] < least:
            found.append(f"{name} of one moving camera is {report['moving'][name]:.2f}, below {least}.")
    return found + demo_sight.shortfalls(report["sight"])


def _hash_of(folder: Path) -> str:
    """Of what is in it that people wrote or trained."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".txt", ".npz", ".safetensors"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    os.replace(part, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "demo")
    out = parser.parse_args().out.resolve()
    start = time.monotonic()
    try:
        report = Demo(out).run()
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report, indent=1))
    print(f"demo: {time.monotonic() - start:.0f} s; look at {out / 'highlight.mp4'} and {out / 'contact_sheet.png'}")
    missed = shortfalls(report)
    for sentence in missed:
        print(f"demo: {sentence}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
