"""Words to a picture, and a picture to a video, by learned helpers whose weights are there."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from legs4d.errors import Legs4dError
from legs4d.gaussians.store.files import write_file
from legs4d.priors.cache import best_prior, how_to_get, open_prior, priors_folder
from legs4d.priors.protocols import PicturePrior, Role, VideoPrior
from legs4d.priors.registry import PRIORS
from legs4d.scene.footage.names import PICTURES
from legs4d.scene.images import as_bytes

RECORD = "made.json"
NUM_FRAMES = 25
"""That are asked for; helpers make the nearest number that they can."""
FPS = {"wan": 24.0, "svd": 7.0}
ALONE = ", one whole object in the middle, plain white background"
"""Said after the words: what is cut off or stands before something is no object."""
STILL = ". The camera is static, the background stays white."


def are_words(source: str) -> bool:
    """Whether a source that is no file here is meant as words: it has a space, or no suffix and no slash."""
    if Path(source).exists():
        return False
    return " " in source.strip() or not (Path(source).suffix or "/" in source or "\\" in source)


def picture_of(folder: Path, words: str, seed: int, device: torch.device) -> Path:
    """A picture made of words, as a file in a folder, where it stays. Raises Legs4dError without a helper."""
    name = _helper("picture", "SOURCE")
    told = {"words": words, "seed": seed, "helper": name}
    target = folder / "picture.png"
    if _is_made(folder, told):
        return target
    made: PicturePrior = open_prior(name, device)
    _begin(folder)
    _save(made.picture(words + ALONE, seed), target)
    write_file(folder / RECORD, json.dumps(told).encode())
    return target


def video_of(folder: Path, picture: Path, words: str, seed: int, device: torch.device) -> tuple[Path, float]:
    """A folder of a video's pictures that begins with a picture, and its pictures a second; it stays where it is.

    Raises:
        Legs4dError: no helper is there.
    """
    name = _helper("video", "--prompt")
    of = hashlib.blake2b(picture.read_bytes(), digest_size=16).hexdigest()
    told = {"picture": of, "words": words, "seed": seed, "helper": name}
    fps = FPS.get(name, 24.0)
    if _is_made(folder, told):
        return folder, fps
    made: VideoPrior = open_prior(name, device)
    with Image.open(picture) as image:
        rgba = np.asarray(image.convert("RGBA"), np.float32) / np.float32(255)
    shown = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
    frames = made.video(shown, words + STILL, NUM_FRAMES, seed)
    _begin(folder)
    for number, frame in enumerate(frames):
        _save(frame, folder / f"{number:04d}.png")
    write_file(folder / RECORD, json.dumps(told).encode())
    return folder, fps


def _helper(role: Role, where: str) -> str:
    found = best_prior(role)
    if found is None:
        first = next(prior for prior in PRIORS if prior.role == role)
        fix = how_to_get(first, priors_folder())
        raise Legs4dError(f"no helper that makes a {role} is there", where=where, fix=fix)
    return found.name


def _is_made(folder: Path, told: dict[str, object]) -> bool:
    record = folder / RECORD
    return record.exists() and json.loads(record.read_bytes()) == told


def _begin(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _save(picture: NDArray[np.float32], path: Path) -> None:
    assert path.suffix in PICTURES
    Image.fromarray(as_bytes(picture)).save(path)
