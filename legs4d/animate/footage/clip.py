"""The motion video made by a helper: the scene as we render it is its first picture, words say what happens; where the
end is known and a helper takes it, that is rendered too and is its last picture.

It is kept in the run's folder, so that a command that goes on, or follows other frames of it, makes none anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from legs4d.errors import Legs4dError
from legs4d.gaussians.store.files import write_file
from legs4d.priors.cache import how_to_get, is_runnable, is_there, open_prior, priors_folder
from legs4d.priors.prior import Prior
from legs4d.priors.registry import find_prior
from legs4d.scene.images import area_resize, as_bytes

FOLDER, RECORD = "clip", "clip.json"
NUM_FRAMES = 49
"""That are asked for: two seconds, in which one thing happens."""
MOST_SIDE = 1024
"""Pixels of the picture that a helper is given; it makes its own size of it."""
FPS = {"wan": 24.0, "svd": 7.0}
"""Helpers in the order in which they are preferred (the second reads no words), and the pictures a second for which
they were trained."""
BETWEEN, BETWEEN_FPS = "wan-between", 16.0
"""The one that takes a last picture too."""
STILL = "The camera is static. Nothing else moves."
"""A camera that moves cannot be followed, so it is asked for none."""


@dataclass(frozen=True)
class Wanted:
    """What the video shall show.

    Attributes:
        object: its name; action: what it does, with or without the name.
        seed: of the helper's noise.
        scene: a text that is another one for another first or last picture.
    """

    object: str
    action: str
    seed: int
    scene: str

    @property
    def text(self) -> str:
        """Object and action, as such models want to be told."""
        action = self.action.strip().rstrip(".")
        named = self.object.casefold() in action.casefold()
        return f"{action if named else f'{self.object} {action}'}. {STILL}"


def helper() -> Prior:
    """The one that makes the video. Raises Legs4dError where none is there."""
    for name in FPS:
        prior = find_prior(name)
        if is_there(prior, priors_folder()) and is_runnable(prior):
            return prior
    fix = how_to_get(find_prior(next(iter(FPS))), priors_folder())
    raise Legs4dError("no helper that makes videos is there", where="--prompt", fix=fix)


def takes_an_end() -> bool:
    """Whether a helper is there that makes what happens between two pictures."""
    prior = find_prior(BETWEEN)
    return is_there(prior, priors_folder()) and is_runnable(prior)


def clip(
    run: Path, wanted: Wanted, first: NDArray[np.float32], last: NDArray[np.float32] | None, device: torch.device
) -> tuple[Path, float]:
    """A folder of pictures of the size of the first [H, W, 3] (0..1), made unless it is there; pictures a second.

    Args:
        last: with which it ends; only where `takes_an_end`.

    Raises:
        Legs4dError: no helper is there, or its weights are not what they should be.
    """
    folder, record = run / FOLDER, run / RECORD
    told_of = repr((wanted, first.shape, last is not None))
    print_of = hashlib.blake2b(told_of.encode(), digest_size=16).hexdigest()
    if record.exists() and (told := json.loads(record.read_bytes()))["fingerprint"] == print_of:
        return folder, float(told["fps"])
    if last is None:
        name = helper().name
        fps, made = FPS[name], open_prior(name, device)
        pictures = made.video(first, wanted.text, NUM_FRAMES, wanted.seed)
    else:
        name, fps, between = BETWEEN, BETWEEN_FPS, open_prior(BETWEEN, device)
        pictures = between.video_between(first, last, wanted.text, NUM_FRAMES, wanted.seed)
    record.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        sized = area_resize(picture, first.shape[1], first.shape[0])
        Image.fromarray(as_bytes(sized)).save(folder / f"{number:04d}.png")
    told = {"fingerprint": print_of, "fps": fps, "helper": name, "text": wanted.text}
    write_file(record, json.dumps(told).encode())
    return folder, fps
