"""What a lifted run says about phrases: relevancy of every Gaussian in every frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.store.run import Run
from legs4d.language.codec.linear import LinearCodec, codec_from_arrays
from legs4d.language.embedding.features import Calibration, Explaining, LimitedReader, TextEncoder
from legs4d.language.encoders import encoder_of
from legs4d.language.scoring import BINS, LinearQuery, Sweep, mean_of_most_relevant, spread_of, strength_of
from legs4d.progress import go_on


@dataclass(frozen=True)
class Relevancy:
    """Of N Gaussians at one frame.

    Attributes:
        values: [N, Q] float32 in 0..1, LERF's relevancy of each prompt; 0 where no camera saw the Gaussian.
        confidence: [N] float32, pixels of the training views that the Gaussian fills.
    """

    values: NDArray[np.float32]
    confidence: NDArray[np.float32]


class LanguageField:
    """The language of a run whose lift is finished. Reads a frame's codes when asked for it, and keeps none.

    Args:
        encoder: what embeds phrases; the one that the run was lifted with by default.
        canonical: phrases that a prompt has to fit better than, in place of the encoder's; see `lerf_relevancy`.

    Raises:
        RunError: the run has no language, or one of another version of its encoder.
        EncoderError: the encoder that made it is unknown here, or lacks its weights.
    """

    def __init__(self, run: Run, *, encoder: TextEncoder | None = None, canonical: Sequence[str] | None = None) -> None:
        self._run = run
        self._codec = codec_from_arrays(*run.codec())
        self._encoder = encoder or encoder_of(run)
        if self._codec.feature_dim != self._encoder.dim:
            raise RunError(
                f"was lifted by another version of the encoder {self._encoder.name!r} "
                f"({self._codec.feature_dim} numbers a feature, now {self._encoder.dim})",
                where=str(run.path),
                fix="lift it again with `legs4d lift`",
            )
        self._canonical = self._encoder.encode_text(list(canonical or self.calibration.canonical))

    @property
    def calibration(self) -> Calibration:
        """The encoder's."""
        return self._encoder.calibration

    def embed(self, prompts: list[str]) -> NDArray[np.float32]:
        """[Q, D] unit vectors, for `static` and `dynamic`."""
        return self._encoder.encode_text(prompts)

    def remarks(self, prompt: str) -> list[str]:
        """What the encoder reads otherwise than it is written, or not at all; see `LimitedReader`."""
        return self._encoder.remarks(prompt) if isinstance(self._encoder, LimitedReader) else []

    def origins(self, prompt: str) -> dict[str, str]:
        """Where the answer comes from; see `Explaining`. Of other encoders, all of it from what they said."""
        encoder = self._encoder
        return encoder.origins(prompt) if isinstance(encoder, Explaining) else {"prompt": encoder.name}

    def static(self, prompts: NDArray[np.float32]) -> Relevancy:
        """Of the N Gaussians that do not move, which have one relevancy for all frames."""
        return self.relevancy(*self._run.static_codes(), prompts)

    def moving(self, frame: int, prompts: NDArray[np.float32]) -> Relevancy:
        """Of the Gaussians that are not static, in this frame: the M with ids, then the loose ones."""
        return self.relevancy(*self._run.map_moving_codes(frame), prompts)

    def sweep(
        self,
        prompts: NDArray[np.float32],
        front_static: NDArray[np.bool_],
        front_moving: Callable[[int], NDArray[np.bool_]],
        shares: tuple[float, float],
        check: Callable[[], None] = go_on,
    ) -> Sweep:
        """All frames, one after the other; their codes are read once, however many prompts there are.

        Args:
            prompts: [Q, D] unit vectors, at least one.
            front_static, front_moving: [N], and of a frame [M + its loose ones], which Gaussians are in group 1.
            shares: of the weight of group 0 and 1 that make their curves; see `scoring.mean_of_most_relevant`.
            check: called before each frame; what it raises ends the work.
        """
        run, linear = self._run, self._linear(prompts)
        if linear is None:
            return self._decoding_sweep(prompts, front_static, front_moving, shares, check)
        codes, confidence = run.static_codes()
        still, still_spread = strength_of(linear.relevancy(codes, confidence)), np.zeros((len(prompts), 2, BINS, 2))
        linear.spread(codes, confidence, front_static, still_spread)
        curves = np.empty((len(prompts), run.num_frames, 2), np.float32)
        for frame in range(run.num_frames):
            check()
            spread = still_spread.copy()
            linear.spread(*run.map_moving_codes(frame), front_moving(frame), spread)
            curves[:, frame] = mean_of_most_relevant(spread, shares)
        return Sweep(still, [_ScoredFrames(self, run, prompt) for prompt in prompts], curves)

    def _decoding_sweep(
        self,
        prompts: NDArray[np.float32],
        front_static: NDArray[np.bool_],
        front_moving: Callable[[int], NDArray[np.bool_]],
        shares: tuple[float, float],
        check: Callable[[], None],
    ) -> Sweep:
        """With codes that must be decoded, which takes so long that every frame's strengths are kept."""
        run, count = self._run, len(prompts)

        def scored(relevancy: Relevancy, front: NDArray[np.bool_]) -> tuple[NDArray[np.float16], NDArray[np.float64]]:
            strength = strength_of(relevancy.values)
            return strength, spread_of(strength, relevancy.confidence, front)

        still, still_spread = scored(self.static(prompts), front_static)
        moving: list[NDArray[np.float16]] = []
        curves = np.empty((count, run.num_frames, 2), np.float32)
        for frame in range(run.num_frames):
            check()
            strength, spread = scored(self.moving(frame, prompts), front_moving(frame))
            moving.append(strength)
            curves[:, frame] = mean_of_most_relevant(spread + still_spread, shares)
        return Sweep(still, [[strength[which] for strength in moving] for which in range(count)], curves)

    def relevancy(
        self, codes: NDArray[np.floating], confidence: NDArray[np.float32], prompts: NDArray[np.float32]
    ) -> Relevancy:
        """Of any codes [N, K], such as those that a camera's pixels show; 0 where `confidence` [N] is."""
        temperature, count = self.calibration.temperature, len(prompts)
        if codes.dtype == np.float16 and (linear := self._linear(prompts)):
            return Relevancy(linear.relevancy(codes, confidence), confidence)
        cosines = self._codec.cosines(codes, np.concatenate([prompts, self._canonical]))
        values = lerf_relevancy(cosines[:, :count], cosines[:, count:], temperature)
        return Relevancy(values * (confidence > 0)[:, None], confidence)

    def _linear(self, prompts: NDArray[np.float32]) -> LinearQuery | None:
        """The prompts as they are compared with codes that need no decoding, if they are such."""
        if not isinstance(self._codec, LinearCodec) or not len(prompts):
            return None
        return LinearQuery.of(self._codec, prompts, self._canonical, self.calibration.temperature)


class _ScoredFrames:
    """Strengths of one prompt; a frame is scored when it is first asked for, as most never are."""

    def __init__(self, field: LanguageField, run: Run, prompt: NDArray[np.float32]) -> None:
        self._field, self._run, self._prompt = field, run, prompt[None]
        self._lifted, self._known = run.language_mark(), dict[int, NDArray[np.float16]]()

    def __getitem__(self, frame: int) -> NDArray[np.float16]:
        found = self._known.get(frame)
        if found is None:
            if self._run.language_mark() != self._lifted:
                raise RunError(
                    "has been lifted anew since it was asked", where=str(self._run.path), fix="ask the prompt again"
                )
            found = self._known[frame] = strength_of(self._field.moving(frame, self._prompt).values)[0]
        return found


def lerf_relevancy(
    prompts: NDArray[np.float32], canonical: NDArray[np.float32], temperature: float
) -> NDArray[np.float32]:
    """min over canonical phrases c of exp(τ⟨f,p⟩) / (exp(τ⟨f,p⟩) + exp(τ⟨f,c⟩)) (Kerr et al. 2023, section 3.4).

    Args:
        prompts: [N, Q] cosines between features and prompts.
        canonical: [N, K] cosines between features and canonical phrases.
        temperature: τ.

    Returns:
        [N, Q] in 0..1.
    """
    # The least is that of the phrase that fits best; written as a logistic it cannot overflow into 0/0.
    rival = canonical.max(axis=1, keepdims=True)
    return 1 / (1 + np.exp(-temperature * (prompts - rival)))
