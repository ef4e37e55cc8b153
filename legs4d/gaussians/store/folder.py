"""What all parts of a run's folder share: run.json, the arrays beside it, and what there is of both.

The parts are in files of their own: `geometry`, `attached` (what speaks of Gaussians, and cameras), `language`; `run`
puts them together, and has the stages.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.arrays import StoredArray, open_array
from legs4d.gaussians.store.files import write_file
from legs4d.gaussians.store.stage_records import GEOMETRY_STAGES, WHOLE_STAGES, MadeFrom, StageRecord

FORMAT = 2
"""Version of the run folders that are made; a run goes on in the one that it was begun in."""

READABLE = (1, 2)
"""Versions that are read. Format 2 adds loose Gaussians, what may change in time, and view dependence to format 1."""

CHANGEABLE = ("scales", "opacities", "sh_rest")
"""What of the dynamic Gaussians is constant in most runs, and may change from frame to frame."""
MOVING = ("means", "quats", "colors")
CONSTANT = ("scales", "opacities", "is_foreground")
FIELDS = (*MOVING, *CONSTANT)
WIDTHS: dict[str, tuple[int, ...]] = {
    "means": (3,),
    "quats": (4,),
    "colors": (3,),
    "scales": (3,),
    "opacities": (),
    "is_foreground": (),
}


class RunFolder:
    """A run folder as its parts know it; see `run.Run`."""

    format: int
    """Version of the run folder."""
    info: dict[str, Any]
    """What the run was made from: dataset (path), scale, fps, encoder, frame_numbers; change it by `set_info`."""
    stages: dict[str, StageRecord]
    """What has been done, by stage name; change it by `begin_stage`, `frame_done`, `finish_stage`, `forget_stage`."""
    geometry_id: str
    """Random, another one whenever Gaussians are laid out anew; "" in runs of earlier versions. Copies keep it."""
    _geometry_or_none: dict[str, int] | None

    def __init__(self, path: Path, state: dict[str, Any]) -> None:
        self.path = path
        self._arrays: dict[str, StoredArray] = {}
        self._constants: dict[str, NDArray[Any]] = {}
        self._there: dict[str, bool] = {}
        self._adopt(state)

    @property
    def num_frames(self) -> int:
        return self._geometry["num_frames"]

    @property
    def num_static(self) -> int:
        return self._geometry["num_static"]

    @property
    def num_dynamic(self) -> int:
        return self._geometry["num_dynamic"]

    @property
    def num_gaussians(self) -> int:
        """Those with an id: static and dynamic ones."""
        return self.num_static + self.num_dynamic

    @property
    def max_loose(self) -> int:
        """R, the most loose Gaussians that a frame holds; 0 where a run has none."""
        return self._geometry.get("max_loose", 0)

    @property
    def has_loose(self) -> bool:
        """Whether frames hold Gaussians without identity."""
        return self.max_loose > 0

    @property
    def loose_counts(self) -> NDArray[np.int32]:
        """[T] loose Gaussians of each frame; 0 in those that are not there yet."""
        return np.array([self._loose_count(frame) for frame in range(self.num_frames)], np.int32)

    def count(self, frame: int) -> int:
        """Gaussians of this frame: N + M + its loose ones."""
        return self.num_gaussians + self._loose_count(frame)

    @property
    def changing(self) -> tuple[str, ...]:
        """Which of CHANGEABLE the dynamic Gaussians have anew in every frame."""
        return tuple(
            name for name in CHANGEABLE if self._has("dynamic", name) and self._array(f"dynamic/{name}").per_frame
        )

    @property
    def has_geometry(self) -> bool:
        """Whether the first frame is there, so that counts and frames may be asked for."""
        return self._geometry_or_none is not None

    def has_frame(self, frame: int) -> bool:
        """Whether the geometry of this frame is there."""
        if not (self.has_geometry and 0 <= frame < self.num_frames):
            return False
        moving = all(self._array(f"dynamic/{name}").has(frame) for name in (*MOVING, *self.changing))
        return moving and (not self.has_loose or self._array("loose/count").has(frame))

    def available_frames(self) -> list[int]:
        """Frames whose geometry is complete."""
        if not self.has_geometry:
            return []
        for name in WHOLE_STAGES:
            stage = self.stages.get(name)
            if stage is not None and not stage.finished:
                return sorted({*stage.done_frames, *((0,) if name == "tracking" else ())})
        return [frame for frame in range(self.num_frames) if self.has_frame(frame)]

    @property
    def geometry_stages(self) -> tuple[str, ...]:
        """Those of GEOMETRY_STAGES that this run has begun, in their order."""
        return tuple(name for name in GEOMETRY_STAGES if name in self.stages)

    @property
    def layout(self) -> StageRecord | None:
        """The stage that says which Gaussians there are: births, where it has begun, else the one that makes all
        frames; None where neither has."""
        return next((self.stages[name] for name in ("births", *WHOLE_STAGES) if name in self.stages), None)

    def require_geometry(self) -> StageRecord:
        """The stage after which all frames and Gaussians are there; raises RunError when it is not finished."""
        stage = self.layout
        if stage is not None and stage.finished:
            return stage
        raise RunError(
            "is not reconstructed yet: its frames are not all there",
            where=str(self.path),
            fix="run the same command that made it again to resume",
        )

    def has_finished(self, stage: str) -> bool:
        """Whether nothing is left to do of a stage."""
        return stage in self.stages and self.stages[stage].finished

    def set_info(self, **values: Any) -> None:
        """Add to `info` (JSON values: dataset, scale, fps, encoder, frame_numbers, …)."""
        self.info.update(values)
        self._save()

    @property
    def language_cure(self) -> str:
        """What gives the run language, for the end of a sentence: what was imported was not trained here."""
        return "run `legs4d lift`" if self.info.get("kind") == "imported" else self._resume + ", or run `legs4d lift`"

    # -- for the parts ---------------------------------------------------------------------------------------------

    @property
    def _resume(self) -> str:
        """What goes on with a run that is not finished, for the end of a sentence."""
        command = (self.info.get("made_from") or {}).get("command", "train")
        return f"run the same `legs4d {command}` command again to resume"

    @property
    def _zarr(self) -> Path:
        return self.path / "run.zarr"

    def _group(self, name: str) -> Path:
        return self._zarr / name

    @property
    def _geometry(self) -> dict[str, int]:
        if self._geometry_or_none is None:
            raise RunError(
                "is not reconstructed yet: its first frame is not done", where=str(self.path), fix=self._resume
            )
        return self._geometry_or_none

    def _array(self, name: str) -> StoredArray:
        if name not in self._arrays:
            self._arrays[name] = open_array(self._zarr / name)
        return self._arrays[name]

    def _constant(self, name: str) -> NDArray[Any]:
        """An array without a time axis, read once; callers copy what they hand out."""
        if name not in self._constants:
            if name.startswith(("static/", "dynamic/")):
                _ = self._geometry  # the clearer error where there is none
            self._constants[name] = self._array(name).read()
        return self._constants[name]

    def _forget(self) -> None:
        """Drop what was read, after an array was written anew."""
        self._there.clear()
        self._arrays.clear()
        self._constants.clear()

    def _require_frame(self, frame: int) -> None:
        if not 0 <= frame < self.num_frames:
            raise RunError(f"has no frame {frame}: it has {self.num_frames}, counted from 0", where=str(self.path))
        if not self.has_frame(frame):
            raise RunError(f"has not reached frame {frame} yet", where=str(self.path), fix=self._resume)

    def _has(self, group: str, name: str) -> bool:
        """Whether a group has this array; looked up once."""
        place = f"{group}/{name}"
        if place not in self._arrays and place not in self._there:
            self._there[place] = (self._group(group) / name / "zarr.json").exists()
        return place in self._arrays or self._there[place]

    def _sh_rest(self, group: str) -> NDArray[np.float32] | None:
        return self._constant(f"{group}/sh_rest").copy() if self._has(group, "sh_rest") else None

    def _loose_count(self, frame: int) -> int:
        if not self.has_loose or not self._array("loose/count").has(frame):
            return 0
        return int(self._array("loose/count").read(frame))

    def _loose(self, name: str, frame: int) -> NDArray[Any]:
        return self._array(f"loose/{name}").read_rows(self._loose_count(frame), frame)

    def _adopt(self, state: dict[str, Any]) -> None:
        self._forget()
        self.format = int(state["format"])
        self._geometry_or_none = state.get("geometry")
        self.info = state.get("info", {})
        self.geometry_id = state.get("geometry_id", "")
        known = state.get("made_from", {})
        self.stages = {
            name: StageRecord(**record, made_from=MadeFrom(**known[name]) if name in known else None)
            for name, record in state.get("stages", {}).items()
        }
        if "births" not in state.get("knows", ()):
            self._tell_births_apart()

    def _tell_births_apart(self) -> None:
        """Give a run of before births were a stage, whose tracking ended with them if it knew of any, their record."""
        tracking = self.stages.get("tracking")
        if tracking is None or not tracking.finished:
            return
        made_from = tracking.made_from
        if made_from is not None:
            settings = {key: value for key, value in made_from.settings.items() if key.startswith("reconstruct.births")}
            made_from = replace(made_from, settings=settings, inputs={})
        record = StageRecord(tracking.fingerprint, finished=True, made_from=made_from)
        order = [name for stage in self.stages for name in ((stage, "births") if stage == "tracking" else (stage,))]
        self.stages = {name: record if name == "births" else self.stages[name] for name in order}

    def _save(self) -> None:
        state = {
            "format": self.format,
            # Stages that runs of before were not told apart by; earlier versions read over it.
            "knows": ["births"],
            "geometry": self._geometry_or_none,
            "info": self.info,
            "geometry_id": self.geometry_id,
            "stages": {name: record.to_json() for name, record in self.stages.items()},
            # Beside the records: earlier versions read these, and take no other fields in them.
            "made_from": {name: r.made_from.to_json() for name, r in self.stages.items() if r.made_from is not None},
        }
        # Neither indented nor copied deeply, which took 48 ms for every frame done at 10,000 frames; this takes 5.
        write_file(self.path / "run.json", json.dumps(state).encode())


def read_state(folder: Path) -> dict[str, Any]:
    """run.json, checked as far as every reader relies on it."""
    file = folder / "run.json"
    again = "train into a new folder"
    try:
        state = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        from legs4d.scene.given import which_takes

        fix = which_takes(folder) or "give a folder that `legs4d train` made"
        raise RunError("is not a run folder (no run.json)", where=str(folder), fix=fix) from error
    except (OSError, ValueError) as error:
        raise RunError(f"cannot be read ({error})", where=str(file), fix=again) from error
    if not isinstance(state, dict) or "format" not in state:
        raise RunError("is not a legs4d run", where=str(file), fix=again)
    if state["format"] not in READABLE:
        raise RunError(
            f"is of run format {state['format']!r}, this legs4d reads formats {' and '.join(map(str, READABLE))}",
            where=str(folder),
            fix="use the legs4d that made it, or train again into a new folder",
        )
    try:
        for record in state.get("stages", {}).values():
            StageRecord(**record)
        for known in state.get("made_from", {}).values():
            MadeFrom(**known)
    except (TypeError, AttributeError) as error:
        raise RunError(f"has stages that cannot be read ({error})", where=str(file), fix=again) from error
    return state


def kind_of(name: str) -> type:
    return np.bool_ if name == "is_foreground" else np.float32


def fields_of(gaussians: Gaussians, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """These fields as they are stored, and `sh_rest` where there is one."""
    arrays: dict[str, NDArray[Any]] = {name: np.asarray(getattr(gaussians, name), kind_of(name)) for name in names}
    return arrays if gaussians.sh_rest is None else {**arrays, "sh_rest": np.asarray(gaussians.sh_rest, np.float32)}
