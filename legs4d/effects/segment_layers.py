"""Layers of a film that show a run's segments and selections: where each is, as cameras see it among all the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.nodes import frame_between
from legs4d.gaussians.part import BELONGS
from legs4d.gaussians.selections import read_selection
from legs4d.gaussians.store.run import Run
from legs4d.grounding.masks import OPAQUE
from legs4d.portable.pointing import DEFAULT_SCALE
from legs4d.raster import render
from legs4d.scene.camera_path import Shot
from legs4d.segment.appearance import colored, components, similarity
from legs4d.segment.segments import num_slots, read_segments, slots_of

SegmentLayer = Literal["mask", "similarity", "segments", "components"]
SEGMENT_LAYERS: tuple[SegmentLayer, ...] = get_args(SegmentLayer)


class SegmentLayers:
    """Pictures of what selections and segments of a run are.

    mask: 1 where what is selected fills half of a pixel or more; similarity: 0..1, how far what is seen is in the same
    segments as what is selected; segments: a colour for each, at a scale; components: their principal components.

    Args:
        run: the whole run.
        layers: those that will be asked for.
        selections: names; mask and similarity are of them together.
        scale: 0..1, of segments.

    Raises:
        RunError: the run has no segments, or a layer needs a selection and none is named.
    """

    def __init__(
        self, run: Run, layers: Sequence[SegmentLayer], selections: Sequence[str], scale: float = DEFAULT_SCALE
    ) -> None:
        self._run, self._values = run, dict[SegmentLayer, Callable[[int], NDArray[np.float32]]]()
        needing = [layer for layer in layers if layer in ("mask", "similarity")]
        if needing and not selections:
            raise RunError("is of a selection", where=f"--{needing[0]}", fix="name one by --selection")
        weights = self._weights(selections)
        segments = None if not set(layers) - {"mask"} else read_segments(run)
        for layer in layers:
            if layer == "mask":
                values = (weights >= BELONGS).astype(np.float32)[:, None]
            elif layer == "similarity":
                assert segments is not None
                values = similarity(segments, weights)[:, None]
            else:
                assert segments is not None
                values = colored(segments, scale) if layer == "segments" else components(segments)
            self._values[layer] = self._of_frame(values)

    def pictures(self, shot: Shot, near: float, device: torch.device) -> dict[SegmentLayer, NDArray[np.float32]]:
        """[C, H, W] or [C, H, W, 3] of each layer."""
        values = {layer: torch.from_numpy(of(shot.frame)) for layer, of in self._values.items()}
        gaussians = frame_between(self._run, shot.moment).torch(device)
        made = render(gaussians, shot.cameras, torch.cat(list(values.values()), 1).to(device), near=near)
        assert made.features is not None
        alpha = made.alpha[..., None]
        shown = torch.where(alpha >= OPAQUE, made.features / alpha.clamp(min=OPAQUE), 0).clamp(0, 1).cpu().numpy()
        found, at = dict[SegmentLayer, NDArray[np.float32]](), 0
        for layer, features in values.items():
            part = shown[..., at : at + features.shape[1]]
            at += features.shape[1]
            found[layer] = (part[..., 0] >= BELONGS).astype(np.float32) if layer == "mask" else part
        return {name: values[..., 0] if values.shape[-1] == 1 else values for name, values in found.items()}

    def _weights(self, selections: Sequence[str]) -> NDArray[np.float32]:
        """[G] of the selections together."""
        most, ids = np.zeros(num_slots(self._run), np.float32), self._run.num_gaussians
        for name in selections:
            one = read_selection(self._run, name)
            most[:ids] = np.maximum(most[:ids], one.weights)
            if one.loose is not None:
                most[ids:] = np.maximum(most[ids:], one.loose.ravel())
        return most

    def _of_frame(self, values: NDArray[np.float32]) -> Callable[[int], NDArray[np.float32]]:
        return lambda frame: np.ascontiguousarray(values[slots_of(self._run, frame)], np.float32)
