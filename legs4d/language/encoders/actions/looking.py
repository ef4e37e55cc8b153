"""What `tiny` sees of each object: what kind of thing it may be, and its colour, which no motion tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from legs4d.context import EncoderFiles
from legs4d.language.embedding.pyramid import window
from legs4d.language.encoders.actions.looks import Looks
from legs4d.language.encoders.tiny.encoder import WEIGHTS, TinyEncoder
from legs4d.language.encoders.tiny.text_half import read_text_half
from legs4d.scene.sequence import Sequence

KINDS = (
    *("man", "woman", "robot", "dog", "bird"),
    *("ball", "balloon", "box", "cylinder", "cone", "ring", "wheel", "door", "book", "chair", "table", "lamp", "cup"),
    *("bottle", "plate", "hammer", "car", "plane", "tree"),
)
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "gray", "white")
"""Of which `tiny` knows how they look."""

TIMES, VIEWS = 4, 3
"""Moments, spread evenly, and views of each that show an object best."""
ROOM = 1.5
"""Side of a crop, in the longer sides of what the mask shows."""
SMALLEST = 12
"""Pixels of a crop's side: in smaller ones there is nothing to see."""
KIND_LIKELY = 0.25
"""Probability, as `tiny` was trained to tell it, from which an object may be called so."""
PEOPLE = ("man", "woman")
"""Whom `tiny` finds, and often takes for each other."""


def look(sequence: Sequence, ids: tuple[int, ...]) -> dict[int, Looks]:
    """What objects look like in the training views.

    Args:
        sequence: footage with object masks.
        ids: of the masks.

    Returns:
        id → looks, of those that show anywhere.
    """
    encoder = TinyEncoder(EncoderFiles(None))
    model, half = encoder.vision(torch.device("cpu")), read_text_half(WEIGHTS)
    seen: dict[int, list[NDArray[np.float32]]] = {number: [] for number in ids}
    times = np.unique(np.linspace(0, sequence.num_frames - 1, TIMES).round().astype(int)).tolist()
    for time in times:
        frames, masks = window(time, sequence.num_frames), sequence.objects("train", time)
        assert masks is not None
        for number in ids:
            for camera, box in _best(masks, number):
                pictures = {frame: sequence.images("train", frame, [camera])[0] for frame in dict.fromkeys(frames)}
                crops = np.stack([_cut(pictures[frame], box, encoder.input_size) for frame in frames])
                values = torch.from_numpy((crops - encoder.mean) / encoder.std).permute(0, 3, 1, 2).float()
                seen[number].append(model.embed_windows(model.embed_frames(values)[None])[0, :-1].numpy())
    return {number: _told(np.stack(some), half) for number, some in seen.items() if some}


def _best(masks: NDArray[np.uint8], number: int) -> list[tuple[int, tuple[int, int, int]]]:
    """(camera, (row, column, side) of a crop) of the views [C, H, W] that show most of an object, and little else."""
    found = []
    for camera, ids in enumerate(masks):
        rows, columns = np.flatnonzero((ids == number).any(axis=1)), np.flatnonzero((ids == number).any(axis=0))
        if not len(rows):
            continue
        side = int(np.ceil(ROOM * max(np.ptp(rows) + 1, np.ptp(columns) + 1)))
        if side < SMALLEST:
            continue
        inside = ids[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        own, others = int((inside == number).sum()), int(((inside != number) & (inside > 0)).sum())
        row, column = (rows[0] + rows[-1] + 1) // 2 - side // 2, (columns[0] + columns[-1] + 1) // 2 - side // 2
        found.append((own * (own / (own + others)) ** 2, camera, (int(row), int(column), side)))
    return [(camera, box) for _, camera, box in sorted(found, reverse=True)[:VIEWS]]


def _cut(image: NDArray[np.float32], box: tuple[int, int, int], size: int) -> NDArray[np.float32]:
    """[size, size, 3], black outside the picture."""
    row, column, side = box
    padded = np.pad(image, ((side, side), (side, side), (0, 0)))
    crop = padded[row + side : row + 2 * side, column + side : column + 2 * side]
    values = torch.from_numpy(crop).permute(2, 0, 1)[None]
    resized = F.interpolate(values, size=(size, size), mode="bilinear", antialias=side > size)
    return resized[0].permute(1, 2, 0).numpy()


def _told(seen: NDArray[np.float32], half: Any) -> Looks:
    """From embeddings [n, 256]."""
    seen = seen / np.linalg.norm(seen, axis=1, keepdims=True)

    def likely(phrases: list[str]) -> NDArray[np.float64]:
        features = half.text.features(half.words.encode(phrases))
        features = features / np.linalg.norm(features, axis=1, keepdims=True)
        odds = half.scale * seen @ features.T + half.bias
        return 1 / (1 + np.exp(-np.median(odds, axis=0)))

    kinds = likely([f"a {kind}" for kind in KINDS])
    order = np.argsort(-kinds)
    best = KINDS[int(order[0])]
    called = {} if kinds[order[0]] < KIND_LIKELY else {_called(best): round(float(kinds[order[0]]), 3)}
    colors = likely([f"a {color} {best}" for color in COLORS])
    return Looks(called, {color: round(float(value), 3) for color, value in zip(COLORS, colors, strict=True)})


def _called(kind: str) -> str:
    return "person" if kind in PEOPLE else kind
