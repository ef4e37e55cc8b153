"""An object as Gaussians, from the frame that shows it best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians
from legs4d.video.input.clip import Clip
from legs4d.video.input.things import Crop, Thing, box_of
from legs4d.video.objects.surface import Blown, blow_up
from legs4d.video.scene.filming import Filming
from legs4d.video.settings import VideoSettings

MARGIN = 1.12
"""Of the crop against the object's longer side."""
FINEST = 0.5
"""Picture's pixels that a crop's pixel covers at least."""
SMALL = 40
"""Pixels of a crop's side up to which objects are looked at more finely than the picture is."""


@dataclass(frozen=True)
class Canonical:
    """One object at rest.

    Attributes:
        blown: its Gaussians, those that were seen first, in an order by chance.
        frame: that shows it best.
        points: [P, 2] pixels of that frame's picture where the seen ones lie.
        crop: in which it was looked at.
        is_cut: whether the picture's border cuts it there.
    """

    blown: Blown
    frame: int
    points: NDArray[np.float64]
    crop: Crop
    is_cut: bool


def canonical_of(
    clip: Clip,
    thing: Thing,
    frame: int,
    filming: Filming,
    settings: VideoSettings,
) -> Canonical:
    """Cut the object out of a frame and blow it up."""
    mask = thing.mask(frame)
    box = box_of(mask)
    assert box is not None, "the frame that shows an object best shows it"
    left, top, right, bottom = box
    size = MARGIN * max(right - left, bottom - top) + 2
    finest = max(FINEST, min(1.0, size / SMALL))
    side = int(np.clip(round(size / finest), 16, settings.canonical_side))
    share = mask.sum() / size**2 * side**2
    if share > settings.most_pixels:
        side = max(16, int(side * (settings.most_pixels / share) ** 0.5))
    crop = Crop.around((left + right) / 2, (top + bottom) / 2, size, side)
    alpha = crop.take(mask.astype(np.float32))
    picture = thing.picture(frame, clip.pictures[frame]).astype(np.float32) / np.float32(255)
    # colours of the object alone: those along its edge would be half of what is behind
    weight = np.maximum(crop.take(mask.astype(np.float32)), 1e-3)[..., None]
    colors = crop.take(picture * mask[..., None]) / weight
    inside = alpha > 0.5
    if not inside.any():
        inside = alpha >= alpha.max()
    up = filming.turn(frame) @ filming.up
    blown = blow_up(np.clip(colors, 0, 1), inside, crop.intrinsics(filming.intrinsics[frame]), up)
    count = int(blown.seen.sum())
    order = np.random.default_rng(settings.seed).permutation(count)
    order = np.concatenate([order, np.arange(count, len(blown.seen))])
    blown = Blown(blown.gaussians.take(order), blown.seen[order], blown.pixels[order])
    points = (blown.pixels[:count] + 0.5) * crop.scale + [crop.left, crop.top]
    cut = bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
    return Canonical(blown, frame, points, crop, cut)


def stored(canonical: Canonical, name: str) -> dict[str, NDArray[np.generic]]:
    """As arrays, to be kept."""
    g = canonical.blown.gaussians
    arrays = {n: getattr(g, n) for n in ("means", "quats", "scales", "opacities", "colors")}
    crop = canonical.crop
    arrays |= {
        "seen": canonical.blown.seen,
        "pixels": canonical.blown.pixels,
        "points": canonical.points,
        "frame": np.array([canonical.frame, canonical.is_cut, crop.side], np.int64),
        "crop": np.array([crop.left, crop.top, crop.scale]),
    }
    return {f"{name}.{key}": value for key, value in arrays.items()}


def restored(state: dict[str, NDArray[np.generic]], name: str) -> Canonical:
    """What `stored` gave."""
    own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
    frame, is_cut, side = (int(v) for v in own["frame"])
    left, top, scale = (float(v) for v in own["crop"])
    fields = {n: own[n] for n in ("means", "quats", "scales", "opacities", "colors")}
    gaussians = Gaussians(**fields, is_foreground=np.ones(len(own["seen"]), bool))
    blown = Blown(gaussians, own["seen"].astype(np.float32), own["pixels"].astype(np.int64))
    return Canonical(blown, frame, own["points"].astype(np.float64), Crop(left, top, scale, side), bool(is_cut))
