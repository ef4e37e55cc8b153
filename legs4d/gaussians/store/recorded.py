"""The settings that a run was made with, and in what others differ from them. Needs neither footage nor torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeVar

from pydantic import ValidationError

from legs4d.config import DeformSettings, LiftSettings, Preset, ReconstructSettings, Settings, TrainSettings
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import (
    BESIDE,
    Difference,
    MadeFrom,
    StageRecord,
    differences,
    flatten,
    unflatten,
)

Model = TypeVar("Model", bound=Settings)
Made = TypeVar("Made", ReconstructSettings, DeformSettings)

AUTO = LiftSettings().encoder
"""An encoder that follows from the footage, or from the run."""
RECONSTRUCTION = ("first_frame", "tracking", "births", "refinement")
"""Stages whose settings are fields of `ReconstructSettings` of the same names."""


def differences_of_settings(run: Run, settings: TrainSettings, parts: tuple[str, ...]) -> list[Difference]:
    """In what a run was made otherwise, as far as that can be told without its footage: settings alone.

    Args:
        parts: as in `Plan`.
    """
    wanted: dict[str, tuple[dict[str, Settings], dict[str, str]]] = {}
    if "reconstruct" in parts:
        preset = settings.preset
        reconstruct = meant_by(preset, settings.reconstruct, run, recorded_reconstruction(run))
        deform = meant_by(preset, settings.deform, run, recorded_deform(run))
        means: dict[str, str] = {} if preset is None or preset == "auto" else {"preset": preset}
        first: dict[str, Settings] = {"dataset": settings.dataset, "reconstruct.first_frame": reconstruct.first_frame}
        wanted["first_frame"] = first, means
        wanted["tracking"] = {"reconstruct.tracking": reconstruct.tracking}, means
        wanted["births"] = {"reconstruct.births": reconstruct.births}, means
        wanted["refinement"] = {"reconstruct.refinement": reconstruct.refinement}, means
        wanted["deform"] = {"dataset": settings.dataset, "deform": deform}, means
    if "lift" in parts:
        there = made_from_of(run.stages.get("lift"))
        asked = settings.lift
        if asked.encoder == AUTO and there is not None:
            asked = asked.model_copy(update={"encoder": there.settings.get("lift.encoder", AUTO)})
        wanted["lift"] = {"lift": asked}, {}
    found = differences_of_matches(run, settings.matches) if "reconstruct" in parts else []
    for stage, (models, means) in wanted.items():
        was = made_from_of(run.stages.get(stage))
        if was is not None:
            now = MadeFrom.of(models, was.version, means=means)
            found += differences(stage, was, replace(now, by=was.by))
    return found


def meant_by(
    preset: Preset | Literal["auto"] | None,
    settings: Made,
    run: Run,
    recorded: tuple[str | None, Made] | None,
    *,
    again: bool = False,
) -> Made:
    """What settings mean under the name of a preset, of a run that may be there: "auto" is what it was made with, where
    that is `recorded`, and any other what it was then, in stages that were made by it.

    Args:
        again: it is to be made anew, with what a preset is now.
    """
    if preset is None:
        return settings
    if preset == "auto":
        return settings if recorded is None else settings.on(recorded[1])
    return settings.with_preset(preset) if again else settings.on(_then(run, preset, type(settings)()))


def _then(run: Run, preset: Preset, plain: Made) -> Made:
    """A preset as it was when stages of a run were made by it; what was set beside it then is what it is now."""
    today = plain.with_preset(preset)
    if isinstance(today, DeformSettings):
        return _stage_then(run, "deform", preset, "deform", today)
    stages = {
        name: _stage_then(run, name, preset, f"reconstruct.{name}", getattr(today, name)) for name in RECONSTRUCTION
    }
    return today.model_copy(update=stages)


def _stage_then(run: Run, stage: str, preset: Preset, place: str, today: Model) -> Model:
    made = made_from_of(run.stages.get(stage))
    if made is None or made.means.get("preset") != preset:
        return today
    own = made.settings | {
        key: value
        for key, value in flatten(today.model_dump(mode="json"), place).items()
        if key in made.means.get(BESIDE, "").split()
    }
    return recorded_settings(replace(made, settings=own), place, today)


def set_beside(run: Run, stages: tuple[str, ...], given: Settings, place: str) -> str:
    """`BESIDE` of settings that are given on top of what stages of a run were made with."""
    keys = set(flatten(given.model_dump(mode="json", exclude_unset=True), place))
    for stage in stages:
        if (made := made_from_of(run.stages.get(stage))) is not None:
            keys |= set(made.means.get(BESIDE, "").split())
    return " ".join(sorted(keys))


def matches_of(run: Run) -> str | None:
    """What a run's reconstruction was begun with, as `TrainSettings.matches` names it; None where it does not know."""
    if "matches" not in run.info:  # of before it was noted: where there are points of matches, it was with them
        return "lightglue" if run.info.get("matched_points") else None
    told = run.info["matches"]
    return None if told is None else str(told)


def differences_of_matches(run: Run, asked: str) -> list[Difference]:
    """That a run was begun with other matches between cameras than are asked for; "auto" asks for none of them."""
    stage = next((name for name in ("deform", "first_frame") if made_from_of(run.stages.get(name)) is not None), None)
    was = matches_of(run)
    if stage is None or asked == "auto" or was in (None, asked):
        return []
    return [Difference.of_values(stage, "matches", was, asked)]


def recorded_reconstruction(run: Run) -> tuple[str | None, ReconstructSettings] | None:
    """The name of the preset, if there was one, and the settings that a run was made with; None if it does not know."""
    made = {name: made_from_of(run.stages.get(name)) for name in RECONSTRUCTION}
    first = made["first_frame"]
    if first is None:
        return None
    named, like = _preset_of(first, ReconstructSettings())
    recorded = {
        name: recorded_settings(there, f"reconstruct.{name}", getattr(like, name)) for name, there in made.items()
    }
    return named, like.model_copy(update=recorded)


def recorded_deform(run: Run) -> tuple[str | None, DeformSettings] | None:
    """The same of a deformation."""
    made = made_from_of(run.stages.get("deform"))
    if made is None:
        return None
    named, like = _preset_of(made, DeformSettings())
    return named, recorded_settings(made, "deform", like)


def _preset_of(made: MadeFrom, plain: Made) -> tuple[str | None, Made]:
    """The name of the preset that a stage was made with, if there was one, and its settings; `plain` without."""
    named = made.means.get("preset")
    return named, plain.with_preset(named) if named in ("quick", "full") else plain  # type: ignore[arg-type]


def made_from_of(record: StageRecord | None) -> MadeFrom | None:
    return record.made_from if record is not None and record.has_begun else None


def recorded_settings(made_from: MadeFrom | None, place: str, otherwise: Model) -> Model:
    """The settings that a stage was made with, without those that this version has no more; `otherwise` where it did
    not keep them, or kept values that this version does not take."""
    if made_from is None:
        return otherwise
    settings, model = made_from.settings, type(otherwise)
    try:
        return model.model_validate(unflatten(settings, place))
    except ValidationError as error:
        wrong = error.errors(include_url=False)
    if any(one["type"] != "extra_forbidden" for one in wrong):
        return otherwise
    gone = [".".join([place, *map(str, one["loc"])]) for one in wrong]
    known = {
        key: value for key, value in settings.items() if not f"{key}.".startswith(tuple(f"{one}." for one in gone))
    }
    return model.model_validate(unflatten(known, place))
