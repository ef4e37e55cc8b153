"""What a command would make of which footage, and in what that is not what a run holds.

Some of what is asked for follows from the run that is there: "auto" means what the run was made with, whatever this
machine would choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from legs4d.config import (
    DeformSettings,
    ExtractSettings,
    LiftSettings,
    Preset,
    ReconstructSettings,
    TrainSettings,
)
from legs4d.context import Context
from legs4d.gaussians.store.footage import footage_differences
from legs4d.gaussians.store.recorded import (
    RECONSTRUCTION,
    differences_of_matches,
    made_from_of,
    matches_of,
    meant_by,
    recorded_deform,
    recorded_reconstruction,
    recorded_settings,
    set_beside,
)
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import (
    BESIDE,
    WITHOUT_OUT,
    Difference,
    MadeFrom,
    StageRecord,
    flatten,
    listed,
)
from legs4d.language.embedding.grids import GridFeatures, GridStore, forget_grids, has_grids, is_complete
from legs4d.language.encoders import AUTO, choose_encoder, get_encoder, sees
from legs4d.language.lift.stage import lift_stage
from legs4d.scene.checks import check_camera_count, check_picture_count
from legs4d.scene.sequence import Sequence

if TYPE_CHECKING:
    import torch

PIXELS = {"cpu": (1_000_000, 350_000), "cuda": (4_000_000, 2_500_000)}
"""Of a picture, per engine: with more a smaller scale is advised, and the most that it should leave."""
BYTES_A_PIXEL = 16
"""Three colours and a mask, in float32."""

FEW_CAMERAS = 4
"""In a timestep: with fewer training cameras, frames do not determine what is in them one by one. Of three, held-out
views gain 1.6 dB in the mean where all are fitted together, at four times the work; of six they lose
(docs/experiments/one-camera.md)."""

Method = Literal["tracking", "deform"]


@dataclass(frozen=True)
class Making:
    """Settings in which nothing is left open.

    Attributes:
        means: of the reconstruction's settings, as `MadeFrom` has them: the preset's name, where they are one.
        method: which of `reconstruct` and `deform` counts.
        extract: None where nothing needs to be extracted.
        encoder: its name.
    """

    means: dict[str, str]
    method: Method
    reconstruct: ReconstructSettings
    deform: DeformSettings
    extract: ExtractSettings | None
    lift: LiftSettings
    encoder: str


class Plan:
    """What is to be made.

    Args:
        sequence: the footage.
        settings: as they were asked for.
        context: with which engine, and with what files of the encoder.
        parts: of "reconstruct", "extract" and "lift" those that are asked for.
        extracts: whether `settings.extract` was asked for; else what was extracted before is lifted.
        again: whether a run that is there may be made anew.
    """

    def __init__(
        self,
        sequence: Sequence,
        settings: TrainSettings,
        context: Context,
        parts: tuple[str, ...],
        *,
        extracts: bool = False,
        again: bool = False,
    ) -> None:
        self.sequence, self.settings, self.context = sequence, settings, context
        self._parts, self._extracts, self._again = parts, extracts, again

    @cached_property
    def device(self) -> torch.device:
        """Of the reconstruction. Raises Legs4dError when the engine cannot run here."""
        from legs4d.reconstruct.stages import choose_device

        return choose_device(self.context.engine)

    @property
    def _preset_here(self) -> Preset:
        """What "auto" means where nothing was made yet."""
        return "full" if self.device.type == "cuda" else "quick"

    @property
    def fix(self) -> str:
        """What to do where a run was made otherwise; empty where another --out can be given."""
        return "" if "reconstruct" in self._parts else WITHOUT_OUT

    def check(self, run: Run | None) -> None:
        """Fail now on what would fail after minutes of reconstruction of a run, if there is one already.

        Raises:
            DatasetError: there are too few cameras, or captions cannot be read.
            EncoderError: the encoder's weights are not there.
            Legs4dError: the engine cannot run here.
        """
        if "lift" in self._parts:
            encoder = get_encoder(self._choose_encoder(run), self.context.files)
            _ = encoder.weights_id if sees(encoder) else encoder.sample_rows(self.sequence)
        if "reconstruct" in self._parts:
            if self.method(run) == "tracking":
                check_camera_count(len(self.sequence.cameras("train", 0)), f"{self.sequence.root}, frame 0")
            else:
                check_picture_count(_pictures(self.sequence), str(self.sequence.root))
            _ = self.device
            if self.settings.matches == "lightglue":
                from legs4d.reconstruct.calibration import check_matcher

                check_matcher()

    def advice(self, run: Run | None) -> str | None:
        """What should be known before a reconstruction begins: that pictures are larger than suits this machine."""
        if "reconstruct" not in self._parts or (run is not None and run.stages):
            return None
        cameras = self.sequence.cameras("train", 0)
        pixels, (most, suitable) = (
            cameras.width * cameras.height,
            PIXELS["cuda" if self.device.type == "cuda" else "cpu"],
        )
        if pixels <= most:
            return None
        share = next(share for n in range(1, 20) if pixels * (share := 0.5**n) * share <= suitable)
        width, height = round(share * cameras.width), round(share * cameras.height)
        memory = len(cameras) * pixels * BYTES_A_PIXEL / 2**30
        return (
            f"The pictures are of {cameras.width}×{cameras.height} pixels, {memory:.2g} GiB a frame: "
            f"--scale {share * self.sequence.reading.scale:g} ({width}×{height}) takes about a "
            f"{share**-2:.0f}th of the time."
        )

    def word_on_pixels(self, run: Run | None) -> str | None:
        """What is set and will be less, as the footage has too few pixels for it."""
        if "reconstruct" not in self._parts or (run is not None and run.stages):
            return None
        bends = self.method(run) == "deform"
        given, place = (self.settings.deform, "deform") if bends else (self.settings.reconstruct, "reconstruct")
        asked = flatten(given.model_dump(exclude_unset=True), place).keys()
        if not asked:
            return None
        cameras = self.sequence.cameras("train", 0)
        pixels = cameras.width * cameras.height * (_pictures(self.sequence) if bends else len(cameras))
        name = self._preset_here if self.settings.preset == "auto" else self.settings.preset
        full = given if name is None else given.with_preset(name)
        taken, all_of_it = (flatten(settings.model_dump(), place) for settings in (full.suited(pixels), full))
        less = [
            f"{key} is {taken[key]}, not {all_of_it[key]}"
            for key in sorted(asked & all_of_it.keys())
            if taken[key] != all_of_it[key] and not key.endswith(".enough_pixels")
        ]
        if not less:
            return None
        where = "in all" if bends else "in those of a frame"
        return (
            f"The pictures have {pixels:,} pixels {where}, too few for what is set: {'; '.join(less)}. With "
            "enough_pixels=1 in the same settings numbers are taken as they stand."
        )

    def word_on_matches(self, run: Run | None) -> str | None:
        """That a run was begun otherwise than this machine would, where nobody asked for either."""
        if run is None or "reconstruct" not in self._parts or self.settings.matches != "auto":
            return None
        from legs4d.reconstruct.calibration import has_matcher

        was = matches_of(run)
        if was == "none" and has_matcher() and not self._again:
            return f"{run.path} was begun without matches of LightGlue, which is here; --again begins it with them."
        if was == "lightglue" and self._again and not has_matcher():
            return f"{run.path} was begun with matches of LightGlue, which is not here: anew it begins without them."
        return None

    def word_on_preset(self, run: Run | None) -> str | None:
        """That a run is kept as it was made by a preset that is another one now."""
        preset = self.settings.preset
        if run is None or "reconstruct" not in self._parts or self._again or preset in (None, "auto"):
            return None
        was, now = (
            {
                **flatten(reconstruct.model_dump(mode="json"), "reconstruct"),
                **flatten(deform.model_dump(mode="json"), "deform"),
            }
            for reconstruct, deform in (self._meant(run, preset, again=again) for again in (False, True))
        )
        changed = [Difference.of_values("", key, was[key], now.get(key)) for key in was if was[key] != now.get(key)]
        if not changed:
            return None
        return (
            f"{run.path}: its preset {preset} was another one than it is now ({listed(changed)}), and is kept; --again "
            "makes anew what that changes."
        )

    def making(self, run: Run) -> Making:
        """What is asked for, with what follows from a run that is there."""
        encoder = self._choose_encoder(run)
        means, reconstruct, deform = self._reconstruction(run)
        extract = None
        if self._parts != ("reconstruct",) and sees(get_encoder(encoder)):
            anew = self._extracts or self.context.files is not None
            if anew or not is_complete(run.path, encoder, self.sequence):
                extract = self.settings.extract if self._extracts else self._recorded_extraction(run, encoder)
        lift = self.settings.lift.model_copy(update={"encoder": encoder})
        return Making(means, self.method(run), reconstruct, deform, extract, lift, encoder)

    def wanted(self, run: Run, making: Making) -> dict[str, MadeFrom]:
        """Stage → what it is to be made from, in the order in which they are made."""
        stages: dict[str, MadeFrom] = {}
        if "reconstruct" in self._parts:
            from legs4d.deform.stage import deform_stages
            from legs4d.reconstruct.stages import reconstruction_stages

            means = {"engine": self.device.type} | making.means
            if making.method == "deform":
                stages |= deform_stages(self.sequence, self.sequence.reading, making.deform, means)
            else:
                stages |= reconstruction_stages(self.sequence, self.sequence.reading, making.reconstruct, means)
            if making.method == "tracking" and "refinement" in run.stages and "refinement" not in stages:
                settings = {"reconstruct.refinement.steps": making.reconstruct.refinement.steps}
                stages["refinement"] = replace(stages["tracking"], settings=settings)
            if self.tells_objects(run):
                from legs4d.reconstruct.objects.place import STAGE, objects_stage

                stages[STAGE] = objects_stage(run, self.sequence)
        if making.extract is not None:
            from legs4d.language.embedding.extract import extraction

            encoder = get_encoder(making.encoder, self.context.files)
            assert sees(encoder)
            stages["extract"] = extraction(self.sequence, encoder, making.extract)
        if "lift" in self._parts:
            name, there = making.encoder, has_grids(run.path, making.encoder)
            source = GridFeatures(run.path, name) if there else get_encoder(name, self.context.files)
            stages["lift"] = lift_stage(run, self.sequence, source, making.lift)
        return stages

    def explain(self, run: Run, found: list[Difference]) -> list[Difference]:
        """Differences with the names of files, and those of a run that an earlier version made."""
        told: list[Difference] = []
        keys = {one.key for one in found}
        for one in found:
            files = []
            if one.key in ("footage", "language"):
                listed = footage_differences(run, self.sequence, language=one.key == "language")
                files = [replace(file, stage=one.stage) for file in listed if file.key == one.key]
            if one.key != "language" or files or "footage" not in keys:
                told += files or [one]
        if "reconstruct" in self._parts:
            told += differences_of_matches(run, self.settings.matches)
        return [*self._of_earlier_versions(run), *told]

    def _of_earlier_versions(self, run: Run) -> list[Difference]:
        found = []
        first, lift = run.stages.get("first_frame"), run.stages.get("lift")
        if "reconstruct" in self._parts and first is not None and first.has_begun and first.made_from is None:
            was, now = run.info.get("scale"), self.settings.dataset.scale
            if was in (None, now):
                found += footage_differences(run, self.sequence)
            else:
                found.append(Difference.of_values("first_frame", "dataset.scale", was, now))
        if "lift" in self._parts and lift is not None and lift.has_begun and lift.made_from is None:
            was, asked = run.info.get("encoder"), self.settings.lift.encoder
            if asked != AUTO and was not in (None, asked):
                found.append(Difference.of_values("lift", "lift.encoder", was, asked))
        return found

    def _choose_encoder(self, run: Run | None) -> str:
        asked = self.settings.lift.encoder
        lift = None if run is None else run.stages.get("lift")
        if asked == AUTO and run is not None and lift is not None and lift.has_begun:
            recorded = lift.made_from.settings.get("lift.encoder") if lift.made_from else None
            return str(recorded or run.info.get("encoder") or choose_encoder(asked, self.sequence))
        chosen = choose_encoder(asked, self.sequence)
        if asked == AUTO and chosen == "actions" and run is not None:
            # a run of before there were objects, that is only lifted, cannot be given any here
            told = self.tells_objects(run) if "reconstruct" in self._parts else "objects" in run.stages
            return chosen if told else "tiny"
        return chosen

    def tells_objects(self, run: Run) -> bool:
        """Whether the run is told of objects: the footage tells them apart, and the run's format has them."""
        return run.format >= 2 and self.sequence.objects("train", 0, []) is not None

    def method(self, run: Run | None) -> Method:
        """The road that is asked for, or that a run has begun, or that suits the footage."""
        asked = self.settings.method
        if asked != "auto":
            return asked
        begun: set[str] = set() if run is None else {name for name, record in run.stages.items() if record.has_begun}
        if "deform" in begun or "first_frame" in begun:
            return "deform" if "deform" in begun else "tracking"
        return suited_method(self.sequence)

    def _reconstruction(self, run: Run) -> tuple[dict[str, str], ReconstructSettings, DeformSettings]:
        settings, deform, preset = self.settings.reconstruct, self.settings.deform, self.settings.preset
        if preset is None or "reconstruct" not in self._parts:
            return {}, settings, deform
        bends = self.method(run) == "deform"
        name: str | None = preset
        goes_on: tuple[str, ...] = ()
        if preset == "auto":
            there = recorded_deform(run) if bends else recorded_reconstruction(run)
            if there is None:
                name = preset = self._preset_here
            else:
                name, goes_on = there[0], ("deform",) if bends else RECONSTRUCTION
        beside = set_beside(run, goes_on, *((deform, "deform") if bends else (settings, "reconstruct")))
        means = {"preset": name, BESIDE: beside} if name else {}
        return means, *self._meant(run, preset, again=self._again)

    def _meant(
        self, run: Run, preset: Preset | Literal["auto"], *, again: bool
    ) -> tuple[ReconstructSettings, DeformSettings]:
        settings = self.settings
        return (
            meant_by(preset, settings.reconstruct, run, recorded_reconstruction(run), again=again),
            meant_by(preset, settings.deform, run, recorded_deform(run), again=again),
        )

    def _recorded_extraction(self, run: Run, encoder: str) -> ExtractSettings:
        there = made_from_of(records(run, encoder).get("extract"))
        return recorded_settings(there, "extract", self.settings.extract)


def suited_method(sequence: Sequence) -> Method:
    """The road that suits footage: few cameras, or one moment, are fitted together."""
    most = max(len(sequence.cameras("train", frame)) for frame in range(sequence.num_frames))
    return "deform" if most < FEW_CAMERAS or sequence.num_frames == 1 else "tracking"


def records(run: Run, encoder: str) -> Mapping[str, StageRecord]:
    """What there is of each stage; of "extract" what this encoder has, whatever another one extracted last."""
    found = {name: record for name, record in run.stages.items() if name != "extract"}
    if has_grids(run.path, encoder):
        found["extract"] = GridStore.open(run.path, encoder).record()
    return found


def forget(run: Run, stage: str, encoder: str) -> None:
    """Lose what a run has of a stage; of "extract" what this encoder has."""
    if stage == "extract":
        forget_grids(run.path, encoder)
    run.forget_stage(stage)


def _pictures(sequence: Sequence) -> int:
    return sum(len(sequence.cameras("train", frame)) for frame in range(sequence.num_frames))
