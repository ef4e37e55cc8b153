"""ALIKED points (Zhao et al. 2023) and LightGlue (Lindenberger et al. 2023), run by kornia."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.errors import Legs4dError
from legs4d.priors.picture_crops import as_tensor
from legs4d.priors.protocols import Pairs
from legs4d.priors.state_dicts import read_state

MOST_POINTS = 2048
"""Points that are looked for in a picture."""
_FIX = "fetch it by `legs4d priors get lightglue`"


class LightGlueMatches:
    """See `protocols.MatchesPrior`.

    Args:
        path: of the converted weights.
        device: where to compute.
        most_points: that are looked for in a picture.

    Raises:
        Legs4dError: kornia is not installed, or the weights are another network's.
    """

    def __init__(self, path: Path, device: torch.device, most_points: int = MOST_POINTS) -> None:
        try:
            from kornia.feature import LightGlue
            from kornia.feature.aliked import ALIKED
        except ImportError as error:
            fix = "install it with `pip install 'legs4d[priors]'`"
            raise Legs4dError("LightGlue needs the package kornia", where="matches", fix=fix) from error
        state = read_state(path, _FIX)
        # without early ends: on so few points they gain little, and change what is found
        self._points = ALIKED(model_name="aliked-n16", max_num_keypoints=most_points)
        # no name of features, as with one it would download weights
        self._matcher = LightGlue(None, input_dim=128, depth_confidence=-1, width_confidence=-1)  # type: ignore[arg-type]
        _load(self._points, _below(state, "aliked."), path)
        _load(self._matcher, _below(state, "lightglue."), path)
        self._points.to(device).eval()
        self._matcher.to(device).eval()
        self._device = device

    @torch.no_grad()
    def matches(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> Pairs:
        """Pairs of points of two pictures [H, W, 3], which may be of two sizes."""
        return self.match(self.points(first), self.points(second))

    @torch.no_grad()
    def points(self, picture: NDArray[np.float32]) -> dict[str, Any]:
        """Points of a picture with what they look like, to be matched with those of several others by `match`."""
        (found,) = self._points(as_tensor(picture, self._device))
        height, width = picture.shape[:2]
        size = torch.tensor([[width, height]], device=self._device, dtype=torch.float32)
        return {"keypoints": found.keypoints[None], "descriptors": found.descriptors[None], "image_size": size}

    @torch.no_grad()
    def match(self, first: dict[str, Any], second: dict[str, Any]) -> Pairs:
        """Pairs of the points of two pictures."""
        if not (first["keypoints"].shape[1] and second["keypoints"].shape[1]):
            none = np.zeros((0, 2), np.float32)
            return Pairs(none, none, np.zeros(0, np.float32))
        told = self._matcher({"image0": first, "image1": second})
        pairs, scores = told["matches"][0].cpu().numpy(), told["scores"][0].float().cpu().numpy()
        order = np.argsort(-scores, kind="stable")
        # kornia's points are at the centres of pixels that begin at 0
        here, there = (
            view["keypoints"][0].float().cpu().numpy()[pairs[order, side]] + 0.5
            for side, view in enumerate((first, second))
        )
        return Pairs(here.astype(np.float32), there.astype(np.float32), scores[order].astype(np.float32))


def _below(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _load(network: torch.nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    try:
        told = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise Legs4dError("is another network's weights", where=str(path), fix=_FIX) from error
    # other buffers follow from the settings; a checkpoint may lack them
    learned = {name for name, _ in network.named_parameters()}
    learned |= {name for name, _ in network.named_buffers() if name.endswith(("running_mean", "running_var"))}
    wrong = [name for name in told.missing_keys if name in learned] + list(told.unexpected_keys)
    if wrong:
        what = f"{'lacks' if wrong[0] in learned else 'has'} {wrong[0]!r}: these are another network's weights"
        raise Legs4dError(what, where=str(path), fix=_FIX)
