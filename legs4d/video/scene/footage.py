"""The video as a dataset of the run's own: language, evaluation and grounding then read it as any other footage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from legs4d.errors import DatasetError
from legs4d.gaussians.store.files import clear_write_errors
from legs4d.video.input.clip import Clip
from legs4d.video.input.things import Thing
from legs4d.video.scene.filming import Filming

FOLDER = "footage"
QUALITY = 95
BEHIND = "the background"
"""What is told of the surroundings where a person's captions tell nothing of them."""


def write_footage(
    folder: Path, clip: Clip, things: list[Thing], filming: Filming, captions: dict[str, Any] | None
) -> None:
    """PanopticSports' layout with one camera; replaces what was there.

    Pictures are written by Pillow: OpenCV's PNG writer aborts where pycolmap was imported before it.
    """
    with clear_write_errors(folder):
        if folder.exists():
            shutil.rmtree(folder)
        kinds = ["ims", "objects"] if things else ["ims"]
        # the layout asks for something in the first frame's mask
        if things and any(thing.masks[0].any() for thing in things):
            kinds.append("seg")
        for kind in kinds:
            (folder / kind / "0").mkdir(parents=True)
        names = []
        for frame in range(clip.num_frames):
            number = f"{clip.numbers[frame]:06d}"
            names.append(f"0/{number}.jpg")
            Image.fromarray(clip.pictures[frame]).save(folder / "ims" / "0" / f"{number}.jpg", quality=QUALITY)
            ids = np.zeros((clip.height, clip.width), np.uint8)
            for thing in things:
                ids[thing.masks[frame]] = thing.id
            if "objects" in kinds:
                Image.fromarray(ids).save(folder / "objects" / "0" / f"{number}.png")
            if "seg" in kinds:
                Image.fromarray(((ids > 0) * 255).astype(np.uint8)).save(folder / "seg" / "0" / f"{number}.png")
        meta = {
            "w": clip.width,
            "h": clip.height,
            "fps": clip.fps,
            "one_place": True,
            "k": [[matrix.tolist()] for matrix in filming.intrinsics],
            "w2c": [[pose.tolist()] for pose in filming.world_to_camera],
            "cam_id": [[0]] * clip.num_frames,
            "fn": [[name] for name in names],
        }
        (folder / "train_meta.json").write_text(json.dumps(meta))
        if captions is not None:
            (folder / "captions.json").write_text(json.dumps(captions))


def read_captions(path: Path, clip: Clip, things: list[Thing]) -> dict[str, Any]:
    """Captions of objects in frames of the clip, as `captions.json` of a dataset has them.

    Args:
        path: such a file, or one of several videos by their names ({"rollerblade": {"objects": {"001": […]}}}).
            Frames are those of the pictures' names.

    Raises:
        DatasetError: it cannot be read, or says nothing of this video's objects.
    """
    fix = 'write {"objects": {"1": [{"start": 3, "end": 9, "caption": "a woman jumps"}]}}'
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        told = told.get(clip.name or clip.path.stem, told)
        objects = told["objects"]
        found: dict[str, Any] = {}
        for name, acts in objects.items():
            rows = []
            for act in acts:
                inside = [i for i, number in enumerate(clip.numbers) if act["start"] <= number <= act["end"]]
                if inside:
                    rows.append({"start": inside[0], "end": inside[-1], "caption": str(act["caption"])})
            found[str(int(name))] = rows
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"cannot be read as captions ({error})", where=str(path), fix=fix) from error
    ids = {str(thing.id) for thing in things}
    kept = {name: rows for name, rows in found.items() if rows and (name in ids or name == "0")}
    if not kept:
        raise DatasetError(f"says nothing of objects {', '.join(sorted(ids))}", where=str(path), fix=fix)
    # pixels along an outline are mixed: what is behind needs words of its own, or it would go by the object's
    if "0" not in kept:
        kept["0"] = [{"start": 0, "end": clip.num_frames - 1, "caption": BEHIND}]
    return {"objects": kept}
