"""A run's language kept on a GPU: a prompt then costs one sweep of its memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.store import Run
from legs4d.language.codec import LinearCodec
from legs4d.language.features import TextEncoder
from legs4d.language.field import LanguageField
from legs4d.language.scoring import BINS, Sweep
from legs4d.progress import go_on
from legs4d.raster.cuda_lift import load_kernels

_TINY = 1e-300


class ResidentField(LanguageField):
    """`LanguageField` that reads all codes at once and keeps them; `sweep` then runs on the GPU.

    Args:
        run: with a finished lift, by a linear codec.
        device: a CUDA device with room for the codes (N + T·M of 2·K bytes) and, a prompt, 2 bytes a code.
        encoder, canonical: as of LanguageField.

    Raises:
        RunError: as LanguageField, or the codec is not linear.
        Legs4dError: csrc/cuda is not built.
    """

    def __init__(
        self,
        run: Run,
        device: str | torch.device = "cuda",
        *,
        encoder: TextEncoder | None = None,
        canonical: Sequence[str] | None = None,
    ) -> None:
        super().__init__(run, encoder=encoder, canonical=canonical)
        if not isinstance(self._codec, LinearCodec):
            raise RunError(
                "has codes that must be decoded to be scored, which is not done on the GPU",
                where=str(run.path),
                fix="ask it through LanguageField, or lift it with --codec linear",
            )
        self._kernels = load_kernels()
        self._static = _Codes.of([run.static_codes()], device)
        self._dynamic = _Codes.of([run.map_dynamic_codes(frame) for frame in range(run.num_frames)], device)

    def sweep(
        self,
        prompts: NDArray[np.float32],
        front_static: NDArray[np.bool_],
        front_dynamic: NDArray[np.bool_],
        shares: tuple[float, float],
        check: Callable[[], None] = go_on,
    ) -> Sweep:
        check()
        still, still_spread = self._score(self._static, prompts, front_static)
        moving, spread = self._score(self._dynamic, prompts, front_dynamic)
        curves = _mean_of_most_relevant(spread + still_spread, shares).cpu().numpy()
        return Sweep(still[:, 0].cpu().numpy(), [_FramesOnDevice(of_prompt) for of_prompt in moving], curves)

    def _score(
        self, codes: _Codes, prompts: NDArray[np.float32], front: NDArray[np.bool_]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """([Q, T, n] strengths float16, [Q, T, 2, 2, BINS] histograms) on the device."""
        codec, device = self._codec, codes.values.device
        assert isinstance(codec, LinearCodec)
        frames, count = codes.confidence.shape
        phrases = np.concatenate([self._canonical, prompts])
        directions = np.concatenate([codec.mean[None], phrases]) @ codec.basis.T
        strength = torch.empty((len(prompts), frames * count), dtype=torch.float16, device=device)
        histograms = torch.zeros((len(prompts), frames, 2, 2, BINS), device=device)
        stream = torch.cuda.current_stream(device).cuda_stream
        self._kernels.score_strengths(
            codes.values.view(torch.int16),
            codes.confidence.reshape(-1),
            len(self._canonical),
            torch.as_tensor(np.ascontiguousarray(directions, np.float32), device=device),
            torch.as_tensor(np.ascontiguousarray(phrases @ codec.mean, np.float32), device=device),
            float(codec.mean @ codec.mean),
            self.calibration.temperature,
            strength.view(torch.int16),
            stream,
        )
        by_frame = strength.view(len(prompts), frames, count)
        group = torch.as_tensor(front, device=device).view(torch.uint8)
        self._kernels.histogram_strengths(by_frame.view(torch.int16), codes.confidence, group, histograms, stream)
        return by_frame, histograms


def _mean_of_most_relevant(spread: torch.Tensor, shares: tuple[float, float]) -> torch.Tensor:
    """`scoring.mean_of_most_relevant` of [Q, T, 2, 2, BINS], masses first, on its device."""
    mass, moment = spread.double().flip(-1).unbind(-2)
    above = mass.cumsum(dim=-1)
    wanted = torch.tensor(shares, device=spread.device)[:, None] * above[..., -1:]
    taken = torch.minimum((wanted - (above - mass)).clamp(min=0), mass)
    mean = torch.where(mass > 0, moment / mass.clamp(min=_TINY), 0)
    return ((taken * mean).sum(-1) / taken.sum(-1).clamp(min=_TINY)).float()


class _Codes:
    """Of T frames of n Gaussians: values [T·n, K] float16, confidence [T, n] float32, on a device."""

    def __init__(self, values: torch.Tensor, confidence: torch.Tensor) -> None:
        self.values, self.confidence = values, confidence

    @classmethod
    def of(cls, frames: list[tuple[NDArray[np.float16], NDArray[np.float32]]], device: str | torch.device) -> _Codes:
        count, width = frames[0][0].shape
        values = torch.empty((len(frames), count, width), dtype=torch.float16, device=device)
        confidence = torch.empty((len(frames), count), device=device)
        for frame, (codes, weight) in enumerate(frames):
            values[frame], confidence[frame] = torch.from_numpy(codes.copy()), torch.from_numpy(weight)
        return cls(values.view(-1, width), confidence)


class _FramesOnDevice:
    """[T, M] float16 that stays where it is; of most frames nobody wants to see it."""

    def __init__(self, values: torch.Tensor) -> None:
        self._values = values

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._values.shape)

    def __getitem__(self, frame: int) -> NDArray[np.float16]:
        return self._values[frame].cpu().numpy()
