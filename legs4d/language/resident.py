"""A run's language kept on a GPU: a prompt then costs one sweep of its memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.store.run import Run
from legs4d.language.codec.linear import LinearCodec
from legs4d.language.embedding.features import TextEncoder
from legs4d.language.field import LanguageField
from legs4d.language.scoring import BINS, Sweep
from legs4d.progress import go_on
from legs4d.raster.cuda_lift import load_kernels

_TINY = 1e-300


class ResidentField(LanguageField):
    """`LanguageField` that reads all codes at once and keeps them; `sweep` then runs on the GPU.

    Args:
        run: with a finished lift, by a linear codec.
        device: a CUDA device with room for the codes (N + T·(M + R) of 2·K bytes) and, a prompt, 2 bytes a code.
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
        self._moving = _Codes.of([run.map_moving_codes(frame) for frame in range(run.num_frames)], device)
        self._counts = [run.count(frame) - run.num_static for frame in range(run.num_frames)]

    def sweep(
        self,
        prompts: NDArray[np.float32],
        front_static: NDArray[np.bool_],
        front_moving: Callable[[int], NDArray[np.bool_]],
        shares: tuple[float, float],
        check: Callable[[], None] = go_on,
    ) -> Sweep:
        check()
        still, still_spread = self._score(self._static, prompts, [front_static])
        moving, spread = self._score(self._moving, prompts, self._fronts(front_moving))
        curves = _mean_of_most_relevant(spread + still_spread, shares).cpu().numpy()
        return Sweep(still[:, 0].cpu().numpy(), [_FramesOnDevice(m, self._counts) for m in moving], curves)

    def _fronts(self, front_moving: Callable[[int], NDArray[np.bool_]]) -> list[NDArray[np.bool_]]:
        """One group for all frames, or one each where Gaussians have no identity; rows beyond a frame's are in none."""
        if not self._run.has_loose:
            return [front_moving(0)]
        fronts = np.zeros(tuple(self._moving.confidence.shape), bool)
        for frame, count in enumerate(self._counts):
            fronts[frame, :count] = front_moving(frame)
        return list(fronts)

    def _score(
        self, codes: _Codes, prompts: NDArray[np.float32], fronts: list[NDArray[np.bool_]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """([Q, T, n] strengths float16, [Q, T, 2, 2, BINS] histograms) on the device.

        Args:
            fronts: [n] who is in group 1: one for all frames, or one a frame.
        """
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
        for frame, front in enumerate(fronts):
            group = torch.as_tensor(front, device=device).view(torch.uint8)
            some = slice(None) if len(fronts) == 1 else slice(frame, frame + 1)
            part, counted = by_frame[:, some].contiguous(), torch.zeros_like(histograms[:, some])
            self._kernels.histogram_strengths(part.view(torch.int16), codes.confidence[some], group, counted, stream)
            histograms[:, some] = counted
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
        count, width = max(len(codes) for codes, _ in frames), frames[0][0].shape[1]
        values = torch.zeros((len(frames), count, width), dtype=torch.float16, device=device)
        confidence = torch.zeros((len(frames), count), device=device)
        for frame, (codes, weight) in enumerate(frames):  # a frame of fewer has rows without weight, which say nothing
            values[frame, : len(codes)], confidence[frame, : len(codes)] = (
                torch.from_numpy(codes.copy()),
                torch.from_numpy(weight),
            )
        return cls(values.view(-1, width), confidence)


class _FramesOnDevice:
    """[T, n] float16 that stays where it is, and how many of n each frame has; of most nobody wants to see it."""

    def __init__(self, values: torch.Tensor, counts: list[int]) -> None:
        self._values, self._counts = values, counts

    def __getitem__(self, frame: int) -> NDArray[np.float16]:
        return self._values[frame, : self._counts[frame]].cpu().numpy()
