"""What a stage was made from, kept beside what it made, and what differs from it in what is asked for now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError, RunError
from legs4d.scene.content import digest_at, digest_of

if TYPE_CHECKING:
    from pydantic import BaseModel

NAMED = 6
"""Differences that an error names; it counts the others, and has all of them as data."""
WITHOUT_OUT = "give --again to make it anew (it stays until that is done), or to a copy of the run, to have both"
"""What to do about differences, of commands that have no --out."""
NOT_GIVEN = ""
"""Stands for an input that was not given, where giving one makes another result."""
BESIDE = "set"
"""Of a stage's means: dotted keys of the settings that were given beside the preset, with blanks between them."""
_UNKNOWN = object()

FOLLOWING = {
    "import": ("objects", "lift"),
    "deform": ("objects", "lift"),
    "animate": ("objects", "lift"),
    "object": ("objects", "lift"),
    "video": ("objects", "lift"),
    "first_frame": ("tracking", "births", "refinement", "objects", "lift"),
    "tracking": ("births", "refinement", "objects", "lift"),
    "births": ("refinement", "objects", "lift"),
    "refinement": ("objects", "lift"),
    "objects": (),
    "extract": (),
    "lift": (),
}
"""Stage → those whose output means nothing without its own. Codes stay what they are when features are made anew."""

GEOMETRY_STAGES = ("import", "deform", "animate", "object", "video", "first_frame", "tracking", "births", "refinement")
"""Those that make Gaussians, in their order; a run has those of one road."""
LAYOUT_STAGES = ("import", "deform", "animate", "object", "video", "first_frame")
"""Those that decide how many Gaussians there are."""
WHOLE_STAGES = ("import", "deform", "animate", "object", "video", "tracking")
"""Those after which all frames are there."""


def inputs_of(files: Mapping[str, str | Path | None], context: Context = QUIET) -> dict[str, str]:
    """Inputs of a stage by what is in files or folders; NOT_GIVEN for None.

    Raises:
        DatasetError: one is not there, or cannot be read.
        Stopped: `stop` was set.
    """
    found = dict.fromkeys(files, NOT_GIVEN)
    for name, path in files.items():
        if path is None:
            continue
        if not Path(path).exists():
            raise DatasetError("there is no such file or folder", where=str(path), fix="check its name")
        found[name] = digest_at(Path(path), context)
    return found


@dataclass
class StageRecord:
    """What a stage has done so far.

    Attributes:
        fingerprint: of what it was made from.
        done_frames: in ascending order.
        finished: whether nothing is left to do.
        seconds: of work, summed over all its runs.
        made_from: None where that is not known: a run of an earlier version, which kept the fingerprint alone.
    """

    fingerprint: str
    done_frames: list[int] = field(default_factory=list)
    finished: bool = False
    seconds: float = 0.0
    made_from: MadeFrom | None = None

    def to_json(self) -> dict[str, Any]:
        """All but `made_from`, as run.json keeps it."""
        return {
            "fingerprint": self.fingerprint,
            "done_frames": self.done_frames,
            "finished": self.finished,
            "seconds": self.seconds,
        }

    @property
    def has_begun(self) -> bool:
        """Whether there is anything that would be lost by making it anew."""
        return self.finished or bool(self.done_frames)

    def begun_alike(self, stage: str, made_from: MadeFrom | str) -> bool:
        """Whether what is asked for differs from what this was begun with in nothing but settings that there were not
        then, at their defaults: its fingerprint is then another one, and what is kept of a fit is of the same."""
        was = self.made_from
        if was is None or isinstance(made_from, str) or was.version != made_from.version:
            return False
        same = was.settings.keys() <= made_from.settings.keys() and was.inputs.keys() == made_from.inputs.keys()
        return same and not differences(stage, was, made_from)


@dataclass(frozen=True)
class MadeFrom:
    """All that decides on what a stage makes.

    Attributes:
        settings: JSON values by dotted key, as `config.TrainSettings` has them: "reconstruct.tracking.steps".
        version: of the stage's code.
        inputs: name → fingerprint of what the stage reads.
        means: with what it was made, which makes it no other result: the engine, the preset's name, and `BESIDE`.
        by: what made it, where that is not training: "import of Dynamic3DGS".
        defaults: what settings are where nobody says otherwise; a record made before there was a setting had it so.
    """

    settings: dict[str, Any]
    version: int | str
    inputs: dict[str, str] = field(default_factory=dict)
    means: dict[str, str] = field(default_factory=dict)
    by: str = ""
    defaults: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        settings: Mapping[str, BaseModel],
        version: int | str,
        inputs: Mapping[str, str] | None = None,
        means: Mapping[str, str] | None = None,
    ) -> MadeFrom:
        """From settings by where they are in all settings ("reconstruct.tracking")."""
        flat: dict[str, Any] = {}
        defaults: dict[str, Any] = {}
        for place, model in settings.items():
            flat |= flatten(model.model_dump(mode="json"), place)
            defaults |= flatten(type(model)().model_dump(mode="json"), place)
        return cls(flat, version, dict(inputs or {}), dict(means or {}), defaults=defaults)

    @property
    def fingerprint(self) -> str:
        """Hash of all but the means."""
        return digest_of([self.settings, self.version, self.inputs, self.by])

    def to_json(self) -> dict[str, Any]:
        """As run.json keeps it; `MadeFrom(**…)` reads it."""
        return {name: getattr(self, name) for name in ("settings", "version", "inputs", "means", "by")}


@dataclass(frozen=True)
class Difference:
    """One thing in which what is asked for is not what a stage was made from.

    Attributes:
        stage: that stage.
        key: the setting's dotted key, "footage", or another input's name.
        was, now: JSON values.
        text: for a person: "dataset.scale: 0.25 → 0.5".
    """

    stage: str
    key: str
    was: Any
    now: Any
    text: str

    @classmethod
    def of_values(cls, stage: str, key: str, was: Any, now: Any) -> Difference:
        return cls(stage, key, was, now, f"{key}: {_shown(was)} → {_shown(now)}")

    @classmethod
    def of_version(cls, stage: str, was: int | str, now: int | str) -> Difference:
        text = f"{stage.replace('_', ' ')}: begun by version {was} of its code, this is {now}"
        return cls(stage, "version", was, now, text)

    def to_json(self) -> dict[str, Any]:
        return {"stage": self.stage, "key": self.key, "was": self.was, "now": self.now, "text": self.text}


class RunDiffers(RunError):
    """What a run holds was made otherwise than is asked for now; nothing was changed.

    Args:
        differences: all of them.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "", differences: Sequence[Difference] = ()) -> None:
        super().__init__(what, where=where, fix=fix)
        self.differences = tuple(differences)

    @classmethod
    def of(cls, run: Path, differences: Sequence[Difference], *, fix: str = "") -> RunDiffers:
        """For a run, and the differences, of which there is one at least."""
        return cls(
            f"was made otherwise ({listed(differences)}), and is left as it is",
            where=str(run),
            fix=fix or "give --again to make it anew (it stays until that is done), or another --out to have both",
            differences=differences,
        )


def listed(found: Sequence[Difference]) -> str:
    """The first `NAMED` of them, and how many more there are."""
    texts = list(dict.fromkeys(one.text for one in found))
    more = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return "; ".join(texts[:NAMED]) + more


def differences(stage: str, was: MadeFrom, now: MadeFrom) -> list[Difference]:
    """Settings, then inputs, in which a stage's record differs from what is asked for; not its code's version.

    Inputs that either side does not know are not compared.
    """
    if was.by != now.by:
        return [Difference.of_values(stage, "made by", was.by or "training", now.by or "training")]
    found = []
    for key, value in now.settings.items():
        before = was.settings.get(key, now.defaults.get(key, _UNKNOWN))
        if before is not _UNKNOWN and before != value:
            found.append(Difference.of_values(stage, key, before, value))
    presets = was.means.get("preset"), now.means.get("preset")
    if found and None not in presets and presets[0] != presets[1]:
        found.insert(0, Difference.of_values(stage, "preset", *presets))
    for name in sorted(was.inputs.keys() & now.inputs.keys()):
        before, after = was.inputs[name], now.inputs[name]
        if before == after:
            continue
        if NOT_GIVEN in (before, after):
            told = ("none" if one == NOT_GIVEN else "given" for one in (before, after))
            found.append(Difference.of_values(stage, name, *told))
        else:
            text = f"{name}: another one than {stage.replace('_', ' ')} was made from"
            found.append(Difference(stage, name, before, after, text))
    return found


def flatten(tree: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Values of nested maps by dotted key."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{place}.{name}" if place else name
        flat |= flatten(value, key) if isinstance(value, Mapping) else {key: value}
    return flat


def unflatten(flat: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The nested maps below a dotted key: what `flatten` took apart."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        if not key.startswith(f"{place}."):
            continue
        *parents, name = key.removeprefix(f"{place}.").split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[name] = value
    return tree


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
