"""Datasets of every layout broken in ways that know their structure, and what must come of each.

Every picture is of one colour, which says whose it is and of which frame. So whatever was done to a dataset, what is
read of it can be told to be right: a picture's camera stands where the picture was taken, and a frame's pictures are of
one moment. Anything else must be one sentence.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.config import (
    DatasetSettings,
    DeformSettings,
    FirstFrameSettings,
    NodeSettings,
    ReconstructSettings,
    TrackingSettings,
    TrainSettings,
)
from legs4d.context import Context
from legs4d.errors import Legs4dError
from legs4d.pipeline import reconstruct
from legs4d.scene.camera import Cameras
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence, Split
from tests.scene.readers import layouts
from tests.scene.readers.damage import MUTATIONS, Damage
from tests.synthetic import Scene, write_dataset

SCENE = Scene(num_frames=3, width=32, height=24, num_train=4, num_test=1)
DARKEST, CAMERA_STEP, FRAME_STEP = 40, 40, 60
"""Red of camera c: 40 + 40 c; green of frame f: 40 + 60 f. Blue is 128."""
TOLERANCE = 12
"""Of 255: videos are not exact."""


def flat(camera: int, frame: int) -> NDArray[np.uint8]:
    """The picture of a camera in a frame."""
    color = (DARKEST + CAMERA_STEP * camera, DARKEST + FRAME_STEP * frame, 128)
    return np.full((SCENE.height, SCENE.width, 3), color, np.uint8)


class FlatScene(Scene):
    """A scene whose pictures say who took them and when."""

    def photograph(self, cameras: Cameras, frame: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """As `Scene.photograph`; the middle is an object."""
        ids = np.zeros((len(cameras), self.height, self.width), np.uint8)
        ids[:, 8:16, 8:20] = 1
        pictures = np.stack([flat(camera, frame) for camera in cameras.ids])
        return (pictures / 255).astype(np.float32), ids


def write_seeds(folder: Path, scene: Scene | None = None) -> dict[str, Path]:
    """One good dataset of each layout: of flat pictures, or of a scene that can be trained on."""
    scene = scene or FlatScene(SCENE.num_frames, SCENE.width, SCENE.height, SCENE.num_train, SCENE.num_test)
    seeds = {
        "panoptic": write_dataset(folder / "panoptic", scene, image_suffix=".png"),
        "nerf": layouts.write_instant_ngp(folder / "nerf", scene),
        "neu3d": layouts.write_neu3d(folder / "neu3d", scene),
        "videos": layouts.write_plain_videos(folder / "videos", scene),
        "colmap": layouts.write_colmap(folder / "colmap", scene),
        "frames": layouts.write_colmap(folder / "frames", scene, pictures="f{frame:04d}/cam{camera:02d}.png"),
        "multipleview": layouts.write_multipleview(folder / "multipleview", scene),
        "nerfies": layouts.write_nerfies(folder / "nerfies", scene),
    }
    split = folder / "split"
    shutil.copytree(seeds["nerf"], split)
    content = json.loads((split / "transforms.json").read_text())
    for name in ("train", "test"):
        frames = [f for f in content["frames"] if f["file_path"].startswith("images/04") == (name == "test")]
        (split / f"transforms_{name}.json").write_text(json.dumps({**content, "frames": frames}))
    (split / "transforms.json").unlink()
    return {**seeds, "split": split}


def copy(seed: Path, folder: Path) -> Path:
    """A copy of links: what is changed is written anew."""
    return Path(shutil.copytree(seed, folder, copy_function=os.link))


@dataclass
class Tally:
    """What came of it."""

    refused: Counter[str] = field(default_factory=Counter)
    read: int = 0
    trainable: list[tuple[str, int]] = field(default_factory=list)
    """Layout and seed of datasets that were read after something had been done to them."""


def draws(seeds: dict[str, Path], first: int, count: int) -> list[tuple[str, int]]:
    """Layouts in turn, and a number for each: `count` datasets to break. A layout that is new changes no other's."""
    names = sorted(seeds)
    return [(names[i % len(names)], first + i // len(names)) for i in range(count)]


def fuzz_one(seeds: dict[str, Path], layout: str, number: int, folder: Path, tally: Tally) -> Damage:
    """Break a dataset, and look at what comes of it.

    Raises:
        AssertionError: something else than a sentence or the footage, with what was done.
    """
    damage, settings = break_one(seeds, layout, number, folder)
    told = f"{layout} {number}: {'; '.join(damage.done)}; {settings}"
    try:
        sequence = open_sequence(damage.folder, settings)
        check(sequence, damage)
    except Legs4dError as error:
        sentence = str(error)
        assert "\n" not in sentence and sentence.endswith(".") and len(sentence) < 2000, f"{told}: {sentence!r}"
        tally.refused[layout] += 1
    except AssertionError as error:
        raise AssertionError(f"{told}: {error}") from error
    except Exception as error:
        raise AssertionError(f"{told}: {type(error).__name__}: {error}") from error
    else:
        tally.read += 1
        tally.trainable.append((layout, number))
    return damage


def break_one(seeds: dict[str, Path], layout: str, number: int, folder: Path) -> tuple[Damage, DatasetSettings]:
    """A dataset with one to three things done to it, and how it is asked to be read; the same for the same number."""
    dice = random.Random(f"{layout} {number}")
    damage = Damage(copy(seeds[layout], folder))
    for mutation in dice.choices(MUTATIONS, k=dice.choice((1, 1, 2, 3))):
        mutation(dice, damage)
    names = dice.choice([(), (), (), ("1",), ("0", "2"), ("cam03",), ("9",)])
    return damage, DatasetSettings(scale=dice.choice((1.0, 1.0, 0.75)), leave_out=names)


def check(sequence: Sequence, damage: Damage) -> None:
    """What is read is what was filmed, as far as the damage lets it be told."""
    every = layouts.all_cameras(SCENE)
    # Without masks in the footage; finding what moves is another matter, and takes OpenCV a while.
    footage = sequence._sequence if isinstance(sequence, MotionMasks) else sequence
    splits: tuple[Split, Split] = ("train", "test")
    assert 1 <= sequence.num_frames <= SCENE.num_frames + damage.times * 50, f"{sequence.num_frames} frames"
    assert len(sequence.frame_numbers) == sequence.num_frames
    for frame in range(sequence.num_frames):
        moments = set()
        for split in splits:
            cameras, images = footage.cameras(split, frame), footage.images(split, frame)
            assert images.shape == (len(cameras), cameras.height, cameras.width, 3), images.shape
            assert np.isfinite(images).all() and images.min(initial=0) >= 0 and images.max(initial=0) <= 1
            assert np.isfinite(cameras.world_to_camera).all() and np.isfinite(cameras.intrinsics).all()
            for array in (footage.masks(split, frame), footage.objects(split, frame)):
                assert array is None or array.shape == images.shape[:3]
            if damage.pictures:
                continue
            for camera, picture in enumerate(images):
                number, moment = _who(picture)
                moments.add(moment)
                if not damage.poses:
                    truth = every.world_to_camera[number]
                    assert np.abs(cameras.world_to_camera[camera] - truth).max() < 1e-3, f"picture of camera {number}"
        assert len(moments) <= 1 or damage.times, f"moments {moments} in frame {frame}"


def _who(picture: NDArray[np.float32]) -> tuple[int, int]:
    """Camera and frame, by the colour in the middle."""
    red, green, blue = 255 * picture[picture.shape[0] // 2, picture.shape[1] // 2]
    camera, frame = (red - DARKEST) / CAMERA_STEP, (green - DARKEST) / FRAME_STEP
    off = max(abs(camera - round(camera)) * CAMERA_STEP, abs(frame - round(frame)) * FRAME_STEP, abs(blue - 128))
    assert off < TOLERANCE, f"a picture of colour {red:.0f} {green:.0f} {blue:.0f}"
    return round(camera), round(frame)


def train_one(seeds: dict[str, Path], layout: str, number: int, folder: Path) -> str:
    """Train on a broken dataset, in few steps. Returns "trained", or the sentence.

    Args:
        seeds: of `write_seeds` with a scene.

    Raises:
        AssertionError: a traceback, or a run that is not of the footage.
    """
    damage, settings = break_one(seeds, layout, number, folder / f"trained {layout} {number}")
    try:
        run = reconstruct(damage.folder, folder / f"run {layout} {number}", few_steps(settings), Context("cpu"))
    except Legs4dError as error:
        assert "\n" not in str(error), error
        return str(error)
    sequence = open_sequence(damage.folder, settings)
    assert run.num_frames == sequence.num_frames
    kept = run.cameras("train")
    assert np.array_equal(kept.world_to_camera, sequence.cameras("train", 0).world_to_camera)
    assert run.info["reading"]["leave_out"] == list(settings.leave_out)
    assert np.isfinite(run.frame(run.num_frames - 1).means).all()
    return "trained"


def few_steps(settings: DatasetSettings) -> TrainSettings:
    first = FirstFrameSettings(steps=3, num_foreground=60, num_background=120)
    tracking = TrackingSettings(steps=2, nodes=NodeSettings(steps=2, count=20))
    own = ReconstructSettings(first_frame=first, tracking=tracking)
    return TrainSettings(dataset=settings, reconstruct=own, deform=DeformSettings(steps=3, num_points=180))
