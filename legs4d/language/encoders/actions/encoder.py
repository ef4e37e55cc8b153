"""The encoder `actions`: a Gaussian says what its object does, and a prompt is compared with that.

An embedding has a place for each state of a story (an object, and all that it does at a time), one for what is no
object, and one for nothing at all. A Gaussian's is its object's state; a prompt's is how well each state fits it, which
`asking.score` finds out with all that it knows of words. So names are looked up when a prompt is asked: whoever renames
an object is understood at once.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.context import EncoderFiles
from legs4d.errors import DatasetError, EncoderError, RunError
from legs4d.gaussians.objects import Objects, read_objects
from legs4d.gaussians.store.run import Run
from legs4d.language.calibration import ACTIONS
from legs4d.language.embedding.features import FeatureMap
from legs4d.language.encoders.actions.asking import Actor, origins, remarks, score
from legs4d.language.encoders.actions.looks import Looks
from legs4d.language.encoders.actions.names import is_being
from legs4d.language.encoders.actions.story import MOST_STATES, Story, tell
from legs4d.motion import stored
from legs4d.motion.recognise import Kind
from legs4d.motion.recognised import LIKELY, Recognised
from legs4d.motion.stored import note_motion, read_motion
from legs4d.scene.sequence import Sequence

OWN_VERSION = 1
NOTHING, PLACE, FIRST = 0, 1, 2
"""Numbers of an embedding: of what fits no state, of what is no object, of the first state."""


class ActionEncoder:
    """Rows are states of objects; pixels point at their object's.

    Args:
        run: that it is of; without one it only says whether footage will do.
    """

    name = "actions"
    dim = FIRST + MOST_STATES + 1
    calibration = ACTIONS

    def __init__(self, run: Run | None = None) -> None:
        self._run = run

    @property
    def version(self) -> int:
        """Of this code and of what recognises actions: either may give a run another story."""
        return OWN_VERSION + stored.VERSION

    @classmethod
    def open(cls, variant: str, files: EncoderFiles) -> ActionEncoder:
        """As `get_encoder` calls it. Raises EncoderError when a variant or weights are given: there are none."""
        if variant or files.weights or files.download:
            raise EncoderError(
                "has no variants and takes no weights",
                where=f"encoder {cls.name}",
                fix="leave out --weights and --download",
            )
        return cls()

    def of_run(self, run: Run) -> ActionEncoder:
        """The same, of a run. See `RunEncoder`."""
        return ActionEncoder(run)

    def encode_text(self, phrases: list[str]) -> NDArray[np.float32]:
        """[P, 64] float32 unit vectors; the empty phrase is nothing.

        Raises:
            EncoderError: it is of no run.
            RunError: the run has been given new geometry since it was lifted.
        """
        out = np.zeros((len(phrases), self.dim), np.float32)
        story, cast = self._story, self._cast
        for row, phrase in zip(out, phrases, strict=True):
            if phrase.strip():
                row[FIRST : FIRST + len(story.states)] = score(story, cast, phrase)
            row[NOTHING] = np.sqrt(max(0.0, 1 - float(row @ row)))
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    def remarks(self, phrase: str) -> list[str]:
        """See `LimitedReader`."""
        return remarks(self._story, self._cast, phrase)

    def feature_map(self, sequence: Sequence, frame: int) -> FeatureMap:
        """What objects do at a frame, where the training views show them.

        Raises:
            DatasetError: the dataset has no object masks.
        """
        masks = _masks(sequence, frame)
        story, objects = self._story, self._objects
        rows = np.eye(self.dim, dtype=np.float32)
        table = np.full(256, -1, np.int32)
        table[0] = PLACE
        for row, number in enumerate(objects.ids):
            state = int(story.at[frame, row])
            table[number] = FIRST + state if state >= 0 else PLACE
        index = table[masks][..., None]
        return FeatureMap(rows, index, (index >= 0).astype(np.float32))

    def sample_rows(self, sequence: Sequence) -> list[NDArray[np.float32]]:
        """Every state once. Recognises what objects do, and keeps that in the run, whose lock the caller holds.

        Raises:
            DatasetError: the dataset has no object masks.
            RunError: the run has no objects.
        """
        _masks(sequence, 0, [])
        if self._run is None:
            return []
        from legs4d.language.encoders.actions.looking import look

        objects = read_objects(self._run)
        looks = look(sequence, objects.ids) if objects is not None else {}
        extra = {"looks": {str(number): one.to_json() for number, one in looks.items()}}
        if objects is None or note_motion(self._run, lambda row: _kind(_actor(objects, row, looks)), extra) is None:
            raise RunError(
                "has no objects, of which the encoder `actions` could say what they do",
                where=str(self._run.path),
                fix="reconstruct it again (--again), from footage with object masks, or choose another encoder",
            )
        for stale in ("_told", "_story"):
            self.__dict__.pop(stale, None)
        used = [NOTHING, PLACE, *range(FIRST, FIRST + len(self._story.states))]
        return [np.eye(self.dim, dtype=np.float32)[used]]

    def origins(self, phrase: str) -> dict[str, str]:
        """See `Explaining`."""
        return origins(self._story, self._cast, phrase)

    @cached_property
    def _told(self) -> tuple[Recognised, dict[str, Any]]:
        found = read_motion(self._of)
        if found is None:
            raise RunError("does not say what its objects do", where=str(self._of.path), fix=self._of.language_cure)
        return found

    @cached_property
    def _story(self) -> Story:
        return tell(self._told[0])

    @property
    def _objects(self) -> Objects:
        objects = read_objects(self._of)
        if objects is None:
            raise RunError("has no objects", where=str(self._of.path), fix="reconstruct it again, with --again")
        return objects

    @property
    def _cast(self) -> list[Actor]:
        found, extra = self._told
        objects = self._objects
        looks = {int(number): Looks.from_json(told) for number, told in extra.get("looks", {}).items()}
        hinged = [sure for action, sure in found.sure.items() if action in ("open", "close")]
        swings = np.array([any(sure[:, row].max() >= LIKELY for sure in hinged) for row in range(len(objects))])
        return [_actor(objects, row, looks, swings=bool(swings[row])) for row in range(len(objects))]

    @property
    def _of(self) -> Run:
        if self._run is None:
            raise EncoderError(
                "reads prompts only of a run", where=f"encoder {self.name}", fix="use `encoders.encoder_of(run)`"
            )
        return self._run


def _actor(objects: Objects, row: int, looks: dict[int, Looks], *, swings: bool = False) -> Actor:
    """An object by its name, else, if it turns on a hinge, as a door, else by its looks."""
    seen = looks.get(objects.ids[row], Looks({}, {}))
    if objects.names[row]:
        return Actor(objects.names[row], "name", seen.colors)
    if swings:
        return Actor("door", "motion", seen.colors)
    return Actor(next(iter(seen.kinds), ""), "tiny", seen.colors)


def _kind(actor: Actor) -> Kind | None:
    """What a name says for motion."""
    being = is_being(actor.name)
    return None if being is None else "being" if being else "thing"


def _masks(sequence: Sequence, frame: int, cameras: list[int] | None = None) -> NDArray[np.uint8]:
    masks = sequence.objects("train", frame, cameras)
    if masks is None:
        raise DatasetError(
            "there are no object masks, which the encoder `actions` needs",
            where=str(sequence.root),
            fix="let `legs4d objects` find what moves, or choose another encoder",
        )
    return masks
