"""How much work footage gets follows its pixels, and what it costs follows its frames."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from legs4d.config import FULL_FIRST_FRAME, Preset, ReconstructSettings, TrainSettings
from legs4d.context import Context
from legs4d.plan import Plan
from legs4d.scene.checks import size_notes
from legs4d.scene.readers import open_sequence
from legs4d.settings import read_settings
from tests.deform.film import write_film
from tests.synthetic import Scene, write_dataset

PRESETS: list[Preset] = ["quick", "full"]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_quarter_of_the_real_clip_gets_all_that_a_preset_has(preset: Preset):
    settings = ReconstructSettings().with_preset(preset)
    suited = settings.suited(27 * 160 * 90)
    for name in ("first_frame", "refinement"):
        before, after = getattr(settings, name), getattr(suited, name)
        assert after == before.model_copy(update={"enough_pixels": 1}), name


def test_gaussians_follow_the_pixels_and_steps_their_square_root():
    quick = ReconstructSettings()
    small, smaller = quick.suited(4 * 48 * 32), quick.suited(48 * 32)
    assert small.first_frame.densify.max_gaussians == 4 * smaller.first_frame.densify.max_gaussians == 48 * 32
    assert small.first_frame.steps == 2 * smaller.first_frame.steps == 134
    assert small.tracking == quick.tracking  # how far a thing goes is no matter of pixels
    # As many rounds of densification, though there are fewer steps.
    assert small.first_frame.steps // small.first_frame.densify.every == 8 == 420 // 50


def test_the_least_footage_still_surrounds_a_scene():
    least = ReconstructSettings().suited(2 * 16 * 16).first_frame
    assert least.num_foreground == least.num_background == 64 and least.densify.max_gaussians == 128
    # What was asked for is never raised.
    few = ReconstructSettings().first_frame.model_copy(update={"num_foreground": 20}).suited(512)
    assert few.num_foreground == 20


def test_suiting_twice_is_suiting_once_and_one_pixel_is_enough_when_asked():
    once = ReconstructSettings().suited(6144)
    assert once.suited(6144) == once
    asked = FULL_FIRST_FRAME.model_copy(update={"enough_pixels": 1})
    assert asked.suited(512) == asked


def word_on_pixels(dataset: Path, *assignments: str) -> str | None:
    settings = TrainSettings(**read_settings(TrainSettings, list(assignments)))
    return Plan(open_sequence(dataset), settings, Context("cpu"), ("reconstruct",)).word_on_pixels(None)


def test_what_is_set_and_will_be_less_is_said(tmp_path: Path) -> None:
    many = write_dataset(tmp_path / "many", Scene(num_frames=2, width=48, height=32, num_train=4))
    one = write_film(tmp_path / "one", frames=6, size=40, tests=1)
    first, bent = "reconstruct.first_frame", "deform"
    said = word_on_pixels(many, f"{first}.steps=600", f"{first}.seed=3")
    assert said is not None and "6,144 pixels in those of a frame" in said and f"{first}.steps is 192, not 600." in said
    said = word_on_pixels(one, f"{bent}.steps=900", f"{bent}.seed=3")
    assert said is not None and "9,600 pixels in all" in said and f"{bent}.steps is 114, not 900." in said
    for dataset, place in ((many, first), (one, bent)):
        assert word_on_pixels(dataset) is None, "what nobody set is a matter of the preset"
        assert word_on_pixels(dataset, f"{place}.steps=900", f"{place}.enough_pixels=1") is None


def test_a_result_of_few_pixels_says_that_it_is_not_to_be_trusted():
    (note,) = size_notes(24, 16)
    assert "24×16" in note and "--scale" in note
    assert size_notes(48, 36) == [] == size_notes(160, 90)


FOLLOW = """
import functools, json, sys, time
from pathlib import Path
import legs4d.scene.footage.footage as footage
from legs4d.config import TrainSettings
from legs4d.context import Context
from legs4d.pipeline import train
from legs4d.progress import StageReporter

PAGE = 4096
seen = {}

def look(progress):
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    seen.setdefault(progress.stage, {})[progress.done] = (time.process_time(), resident)

StageReporter.INTERVAL = 0
footage.ImageCache = functools.partial(footage.ImageCache, 2 << 20)  # full after six frames, not after hundreds
settings = TrainSettings.model_validate(json.loads(sys.argv[3]))
train(sys.argv[1], sys.argv[2], settings, Context("cpu", progress=look))
print(json.dumps(seen))
"""
"""Trains, and prints (seconds of CPU, bytes of memory) at every frame of every stage."""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read as Linux tells it")
def test_memory_and_seconds_a_frame_do_not_grow_with_the_frames(tmp_path: Path):
    frames, size = 60, (96, 64)
    dataset = write_dataset(tmp_path / "dataset", Scene(3, *size, num_train=4, num_test=1))
    for name in ("train_meta.json", "test_meta.json"):  # the same three again and again
        meta = json.loads((dataset / name).read_text())
        meta |= {key: meta[key] * (frames // 3) for key in ("k", "w2c", "fn", "cam_id")}
        (dataset / name).write_text(json.dumps(meta))
    settings = {
        "reconstruct": {
            "first_frame": {"steps": 10, "num_foreground": 100, "num_background": 100},
            "tracking": {"steps": 1, "nodes": {"steps": 1}},
        },
        "lift": {"encoder": "captions"},
    }
    words = [sys.executable, "-c", FOLLOW, str(dataset), str(tmp_path / "run"), json.dumps(settings)]
    seen = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    pictures = 4 * 16 * size[0] * size[1]  # of one frame: float32 colours and mask in 4 cameras
    for stage in ("tracking", "lift"):
        at = {int(frame): values for frame, values in seen[stage].items()}
        (first, held), (middle, _), (last, holds) = at[20], at[39], at[58]
        # 38 frames' pictures are not kept, nor anything like them.
        assert holds - held < 10 * pictures, f"{stage}: {(holds - held) / 2**20:.1f} MB more"
        assert last - middle < 2 * (middle - first) + 0.2, f"{stage}: {middle - first:.2f} s, then {last - middle:.2f}"
