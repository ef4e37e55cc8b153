"""The extract stage: crops of the training views embedded, timestep by timestep, as few as will do.

What is left out, each by a setting: crops of a few pixels, in which there is nothing to see; crops that no pixel of the
foreground reads; crops in which nothing has changed since they were last embedded; timesteps between others, which are
interpolated when they are read. An encoder that sees frames one by one is not shown a crop again that looks as in an
earlier frame.

Timesteps come in blocks. At the first of a block all crops are embedded, those of the background too; at the others,
those that the foreground reads and that have changed. A crop of the background that has changed says what it said at
the first: what the foreground left behind would be said of the background otherwise. So blocks do not depend on each
other, and several machines may do one each.
"""

from __future__ import annotations

import functools
import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.config import ExtractSettings
from legs4d.context import QUIET, Context, EncoderFiles
from legs4d.errors import Legs4dError, RunError
from legs4d.gaussians.store.files import forget_unfinished
from legs4d.gaussians.store.handed import not_as_told
from legs4d.gaussians.store.mirror import here
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.language.embedding.changes import FRAME_SHARE, StillCrops, crop_change
from legs4d.language.embedding.crops import FrameRing
from legs4d.language.embedding.embed import CropEmbedder
from legs4d.language.embedding.features import CropEncoder
from legs4d.language.embedding.grids import Grid, GridsDescription, GridStore, grids_folder
from legs4d.language.embedding.pyramid import Pyramid, pyramid, window
from legs4d.language.embedding.rendered import handed_sequence
from legs4d.language.encoders import PACKAGED, get_encoder, sees, text_folder
from legs4d.progress import StageReporter
from legs4d.scene.sequence import Sequence

VERSION = 2
"""Of this stage's code: raise it when the same input gives other embeddings, so that old runs are told apart."""


def extract(
    run: Run,
    sequence: Sequence,
    encoder: CropEncoder,
    settings: ExtractSettings,
    device: torch.device,
    context: Context = QUIET,
) -> None:
    """Embed what the training views show, into grids beside the run; goes on where a stopped one ended.

    Needs the footage alone, so it may go before the reconstruction.

    Args:
        run: the caller holds its lock.
        sequence: the footage.
        encoder: whose weights are there.
        device: that embeds.
        context: its executor does the blocks; the grids do not depend on it. Asked between batches whether to stop.

    Raises:
        DatasetError: the footage cannot be read.
        RunDiffers: there are other features of this encoder.
        EncoderError: the weights are missing, damaged or another model's.
        Stopped: `stop` was set; the timesteps that are done are kept.
    """
    store = GridStore.begin(run.path, describe(sequence, encoder, settings))
    forget_unfinished(store.path)
    description = store.description
    there = store.record()
    if "extract" not in run.stages or run.stages["extract"].fingerprint != there.fingerprint:
        run.forget_stage("extract")  # the record; another encoder's features stay where they are
        run.begin_stage("extract", there.made_from or there.fingerprint)
        run.frames_done("extract", dict.fromkeys(there.done_frames, 0.0))
    if there.finished:
        if not run.stages["extract"].finished:
            run.finish_stage("extract")
        return
    encoder.save_text(text_folder(run.path, encoder.name))
    reporter = context.reporter("extract")
    blocks = range(0, len(description.timesteps), settings.block)
    extractor = Extractor(store, sequence, encoder, settings, device, reporter)
    try:
        for batch in context.executor.each(extractor.extract_block, blocks, reporter.check):
            run.frames_done("extract", {t: seconds for done in batch for t, seconds in done.result.items()})
            reporter.step(sum(map(store.has, description.timesteps)), len(description.timesteps))
    finally:
        extractor.close()
    missing = [timestep for timestep in description.timesteps if not store.has(timestep)]
    if missing:
        raise RunError(
            f"lacks timestep {missing[0]}, though its worker says that it is done",
            where=str(store.path),
            fix="keep runs on storage that all machines see under the same path",
        )
    run.finish_stage("extract")


def extraction(sequence: Sequence, encoder: CropEncoder, settings: ExtractSettings) -> MadeFrom:
    """All that the grids depend on."""
    inputs, version = {"footage": sequence.fingerprint(), "weights": encoder.weights_id}, f"{VERSION}.{encoder.version}"
    if encoder.name in PACKAGED:  # other weights come with another version of the code, and not otherwise
        version = f"{version}.{inputs.pop('weights')}"
    made = MadeFrom.of({"extract": settings}, version, inputs)
    return replace(made, settings={"lift.encoder": encoder.name, **made.settings})


def describe(sequence: Sequence, encoder: CropEncoder, settings: ExtractSettings) -> GridsDescription:
    """What the grids will be; their fingerprint is a hash of all that they depend on."""
    made_from = extraction(sequence, encoder, settings)
    cameras = sequence.cameras("train", 0)
    last = sequence.num_frames - 1
    return GridsDescription(
        fingerprint=made_from.fingerprint,
        footage=sequence.fingerprint(),
        encoder=encoder.name,
        dim=encoder.dim,
        cameras=len(cameras),
        height=cameras.height,
        width=cameras.width,
        timesteps=tuple(sorted({*range(0, last, settings.every), last})),
        made_from=json.dumps(made_from.to_json()),
    )


def large_crops(pyramid: Pyramid, smallest: int) -> NDArray[np.bool_]:
    """[R] bool: crops of at least so many pixels a side; the largest there are, where none is."""
    sides = pyramid.boxes[:, 2]
    return sides >= min(smallest, int(sides.max()))


def choose_device(engine: str) -> torch.device:
    """The device of an engine: "cpu", "cuda", or "auto" for CUDA where there is one.

    Raises:
        Legs4dError: "cuda" was asked for where there is none.
    """
    if engine == "cpu" or (engine == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise Legs4dError("PyTorch finds no CUDA device", where="--engine cuda", fix="use --engine cpu")
    return torch.device("cuda")


Places = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]
"""Source, slot and validity of all crops [C, R], as `Grid` has them."""

Planned = tuple[NDArray[np.bool_], Places]
"""Which crops a timestep embeds [C, R], and the places that its grid then has."""


@dataclass(frozen=True)
class Plan:
    """Which crops a timestep embeds.

    Attributes:
        embed: [C, R] bool.
        keep: [C, R] bool, whose earlier embedding still holds.
        large: [R] bool, crops that are ever embedded.
    """

    embed: NDArray[np.bool_]
    keep: NDArray[np.bool_]
    large: NDArray[np.bool_]

    def places(self, timestep: int, first: int, previous: Grid | None, *, background: bool) -> Places:
        """Source, slot and validity of all crops, as `Grid` has them.

        Args:
            first: of the timestep's block.
            previous: the timestep before, unless this is the first.
            background: whether all large crops were embedded at the first.
        """
        # At the first of a block all large crops are embedded, in the order in which they are counted.
        there = np.broadcast_to(self.large & background, self.embed.shape)
        source = np.where(there, np.int32(first), np.int32(-1))
        slot = np.where(there, there.cumsum(dtype=np.int32).reshape(there.shape) - 1, np.int32(-1))
        if previous is not None:
            source[self.keep], slot[self.keep] = previous.source[self.keep], previous.slot[self.keep]
        source[self.embed] = timestep
        slot[self.embed] = np.arange(self.embed.sum())
        return source, slot, source >= 0


class Extractor:
    """Embeds any block of timesteps. Another process gets it as names, and opens it anew."""

    def __init__(
        self,
        store: GridStore,
        sequence: Sequence,
        encoder: CropEncoder,
        settings: ExtractSettings,
        device: torch.device,
        reporter: StageReporter | None = None,
    ) -> None:
        self.store, self.sequence, self.encoder, self.settings = store, sequence, encoder, settings
        self._device, self._reporter = device, reporter or StageReporter("extract")
        told = store.description
        self._pyramid: Pyramid = pyramid(told.height, told.width)
        self._ring = FrameRing(sequence, self._pyramid, device)
        self._planner = ThreadPoolExecutor(1, "plan")
        self._ahead: dict[int, Future[Planned]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        again = reopening(self.store, self.encoder, self.settings, self._device)
        return again.func, again.args

    def close(self) -> None:
        """Let go of the threads that plan, decode and embed."""
        self._planner.shutdown(cancel_futures=True)
        self._ring.close()
        if "_embedder" in vars(self):
            self._embedder.close()

    def extract_block(self, first: int) -> dict[int, float]:
        """Embed what is not there of the block that starts at the `first` of the timesteps; seconds by timestep."""
        timesteps = self.store.description.timesteps
        seconds = {}
        self._ring.forget_means()
        for timestep in timesteps[first : first + self.settings.block]:
            started = time.perf_counter()
            if not self.store.has(timestep):
                self.extract_frame(timestep)
            seconds[timestep] = time.perf_counter() - started
        return seconds

    def extract_frame(self, timestep: int) -> Grid:
        """Embed one timestep into the store.

        Whatever it depends on is read from the footage and from the store, in which the timestep before it has to be
        unless it is the first of a block.
        """
        timesteps = self.store.description.timesteps
        at = timesteps.index(timestep)
        self._reporter.step(at, len(timesteps))
        following = timesteps[at + 1 : at + 2]
        last = self.sequence.num_frames
        needs = self._embedder.needs
        self._ring.keep(needs(window(timestep, last)), [frame for t in following for frame in needs(window(t, last))])
        planned = self._ahead.pop(timestep, None)
        chosen, places = planned.result() if planned else self._planned(timestep, self._before(at))
        if following and (at + 1) % self.settings.block:  # planned while this one is embedded
            before = Grid(np.zeros((0, 0), np.float16), *places)
            self._ahead = {t: self._planner.submit(self._planned, t, before) for t in following}
        cameras, crops = np.nonzero(chosen)
        rows = self._embedder.embed(window(timestep, last), cameras, crops, self._reporter.check)
        grid = Grid(rows, *places)
        self.store.write(timestep, grid)
        return grid

    def _before(self, at: int) -> Grid | None:
        """The timestep before one, unless that begins a block."""
        return self.store.read(self.store.description.timesteps[at - 1]) if at % self.settings.block else None

    def _planned(self, timestep: int, previous: Grid | None) -> Planned:
        timesteps = self.store.description.timesteps
        at = timesteps.index(timestep)
        plan, background = self.plan(timestep, previous), self.settings.background != "never"
        first = timesteps[at - at % self.settings.block]
        return plan.embed, plan.places(timestep, first, previous, background=background)

    def plan(self, timestep: int, previous: Grid | None) -> Plan:
        """Which crops to embed, and of which the `previous` timestep's embedding still holds."""
        large = large_crops(self._pyramid, self.settings.smallest)
        read = self._read_by_foreground(timestep) & large
        if previous is None:
            everything = np.broadcast_to(large, read.shape)
            return Plan(read if self.settings.background == "never" else everything, np.zeros_like(read), large)
        if self.settings.background == "always":
            read[:] = large
        changed = self._changed(timestep, previous.source)
        return Plan(read & changed, ~changed, large)

    def _read_by_foreground(self, timestep: int) -> NDArray[np.bool_]:
        """[C, R] whether any pixel of the foreground mixes the crop; all, where there are no masks."""
        masks = self.sequence.masks("train", timestep)
        if masks is None:
            return np.ones((self.store.description.cameras, self._pyramid.num_crops), bool)
        return self._pyramid.read_by(masks > 0)

    def _changed(self, timestep: int, source: NDArray[np.int32]) -> NDArray[np.bool_]:
        """[C, R] whether the crop's clip differs from the one that was embedded at `source`, if any was."""
        changed = source < 0
        now = self._means(timestep)
        for earlier in np.unique(source[~changed]).tolist():
            change = crop_change(self._pyramid, now, self._means(earlier))
            changed |= (source == earlier) & (change >= self.settings.change)
        return changed

    def _means(self, timestep: int) -> list[NDArray[np.float32]]:
        return [self._ring.means(frame) for frame in window(timestep, self.sequence.num_frames)]

    @functools.cached_property
    def _embedder(self) -> CropEmbedder:
        threshold = FRAME_SHARE * self.settings.change
        still = StillCrops(self._pyramid, self.store.description.cameras, self._ring.means, threshold)
        return CropEmbedder(self.encoder, self._pyramid, self._ring, self._device, still)


def reopening(
    store: GridStore, encoder: CropEncoder, settings: ExtractSettings, device: torch.device
) -> functools.partial[Extractor]:
    """What gives the extractor of a run in another process: names alone."""
    place, weights = str(store.path.parents[1].resolve()), str(encoder.files.weights or "")
    return functools.partial(_reopen, place, store.description, settings.model_dump_json(), weights, device.type)


def _reopen(run_folder: str, told: GridsDescription, settings: str, weights: str, device: str) -> Extractor:
    """The extractor of a run, in a process that was handed its blocks.

    Raises:
        RunError: the run is not there, or its features have been begun anew meanwhile.
    """
    run_folder = str(here(run_folder))
    if GridStore.open(Path(run_folder), told.encoder).description != told:
        raise not_as_told(run_folder, "extracted")
    return _open(run_folder, told, settings, weights, device)


@functools.lru_cache(maxsize=1)
def _open(run_folder: str, told: GridsDescription, settings: str, weights: str, device: str) -> Extractor:
    run = Run.open(run_folder)
    sequence = handed_sequence(run)
    encoder = get_encoder(told.encoder, EncoderFiles(Path(weights) if weights else None))
    assert sees(encoder), told.encoder
    store = GridStore(grids_folder(run.path, told.encoder), told)
    return Extractor(store, sequence, encoder, ExtractSettings.model_validate_json(settings), torch.device(device))
