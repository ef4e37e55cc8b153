"""Prompts on their way to the backend, and answers on their way into layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import bpy

from .. import wire
from ..cache import storage
from ..cache.frames import Answer, CacheError, RunCache, prompt_key
from ..layers import contrast, layers
from ..sequence import display, playback, sequence
from ..sequence.sequence import Sequence
from ..ui import undo
from .connection import Link
from .types import Failure, Received

WINDOW = 8
"""Frames that a stream may have under way."""


@dataclass
class Question:
    """A layer's prompt, unanswered or not answered in full.

    Attributes:
        request: its id; None while it waits for a connection.
        answered: whether intervals and curve have arrived.
        missing: frames whose relevancy per point has not.
        replace: whether the answer replaces keys and markers that a person changed.
        is_first: whether the layer never had an answer.
    """

    run_id: str
    layer_id: str
    prompt: str
    request: int | None = None
    answered: bool = False
    missing: int = 0
    replace: bool = False
    is_first: bool = False


class Questions:
    """All questions, by layer id: one per layer, a newer one takes an older one's place."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._all: dict[str, Question] = {}
        self._troubles: dict[str, str] = {}

    def get(self, layer_id: str) -> Question | None:
        """A layer's question; None if there is nothing to wait for."""
        return self._all.get(layer_id)

    def trouble(self, layer_id: str) -> str:
        """Why a layer has no answer, as a sentence; empty if there is no trouble."""
        return self._troubles.get(layer_id, "")

    @property
    def busy(self) -> bool:
        """Whether answers are on their way."""
        return any(question.request is not None for question in self._all.values())

    def ask(self, shown: Sequence, layer_id: str, replace: bool = False) -> None:
        """Ask a layer's prompt; the layer changes when the answer arrives. Nothing if it is already on its way.

        Args:
            replace: whether keys and markers that a person changed give way to the answer's.
        """
        layer = layers.find(shown, layer_id)
        if layer is None:
            return
        known = self._all.get(layer_id)
        if known and known.prompt == layer.prompt:
            return
        layer.asked = layer.prompt
        question = self._all[layer_id] = Question(
            shown.its.run_id, layer_id, layer.prompt, replace=replace, is_first=not layer.answer_key
        )
        if self._link.ready:
            self._send(question)
        elif (answer := _known(shown, question.prompt)) is not None:
            del self._all[layer_id]
            self._troubles.pop(layer_id, None)
            _take_answer(shown, question, answer)
            if question.is_first:
                contrast.choose(shown, layer_id)
        else:
            self._troubles[layer_id] = "No backend is connected; it is asked as soon as there is one."

    def cancel(self, layer_id: str) -> None:
        """Stop waiting for a layer's answer; what has arrived stays."""
        question = self._all.pop(layer_id, None)
        self._troubles.pop(layer_id, None)
        if question:
            self._link.cancel(question.request)

    def resume(self) -> None:
        """Ask what a lost connection left unanswered."""
        for question in list(self._all.values()):
            if question.request is None:
                self._send(question)

    def _send(self, question: Question) -> None:
        shown = _with_layer(question)
        if shown is None:  # the layer was removed, or undone
            del self._all[question.layer_id]
            return
        try:
            if shown.its.files:
                raise CacheError(
                    f"'{shown.empty.name}' plays splat files of this machine, which no backend has given meaning; "
                    "make a run of them with `legs4d import-splats` and `lift`, and import that"
                )
            cache = storage.recreate(shown.empty)
        except CacheError as unwritable:
            self._failed(question, Failure("local", f"{unwritable}."))
            return
        self._troubles.pop(question.layer_id, None)
        question.missing, question.answered = cache.description.num_frames, False
        question.request = self._link.request(
            wire.Kind.QUERY,
            {
                "run": cache.description.run,
                "revision": cache.description.revision,
                "prompt": question.prompt,
                "layer": question.layer_id,
                "around": sequence.playhead(question.run_id),
                "window": WINDOW,
            },
            sink=_sink(cache, question.prompt),
            on_event=lambda event: self._arrived(question, event),
            on_reply=lambda _: self._ended(question),
            on_failure=lambda failure: self._failed(question, failure),
        )

    def _arrived(self, question: Question, event: Received) -> None:
        shown = _with_layer(question)
        if shown is None or self._all.get(question.layer_id) is not question:
            return
        if event.kind == wire.Kind.ANSWER:
            question.answered = True
            _take_answer(shown, question, event.stored)
            return
        question.missing -= 1
        scene = sequence.home(shown.empty)
        if scene is not None and shown.shows(event.body["frame"], scene.frame_current_final):
            playback.refresh(shown.empty, layers_only=True)

    def _ended(self, question: Question) -> None:
        if self._all.get(question.layer_id) is question:
            del self._all[question.layer_id]
            shown = _with_layer(question)
            if shown is not None and question.is_first:
                contrast.choose(shown, question.layer_id)

    def _failed(self, question: Question, failure: Failure) -> None:
        if self._all.get(question.layer_id) is not question:
            return  # cancelled, or a newer question took its place
        if failure.code == "lost":
            question.request = None
            self._troubles[question.layer_id] = "The connection was lost; it is asked again as soon as there is one."
            return
        del self._all[question.layer_id]
        self._troubles[question.layer_id] = failure.sentence


def _known(shown: Sequence, prompt: str) -> Answer | None:
    """What the cache has of this prompt, where it has all of it: no backend is needed to be told again."""
    try:
        cache, key = storage.find(shown.empty), prompt_key(prompt)
    except CacheError:
        return None
    return None if cache.missing_relevancy(key) else cache.answer(key)


def _take_answer(shown: Sequence, question: Question, answer: Answer) -> None:
    scene = sequence.home(shown.empty) or next(iter(bpy.data.scenes))
    layers.take_answer(shown, question.layer_id, prompt_key(question.prompt), answer, scene, question.replace)
    playback.invalidate(shown.empty)
    display.update(shown.empty)
    undo.remember(f"Keyframes of {question.prompt}")


def _sink(cache: RunCache, prompt: str) -> Callable[[wire.Message], Answer | None]:
    key = prompt_key(prompt)

    def store(message: wire.Message) -> Answer | None:
        if message.kind != wire.Kind.ANSWER:
            arrays = message.arrays
            cache.write_relevancy(key, message.body["frame"], arrays["relevancy"], arrays.get("loose"))
            return None
        found = tuple((i["start"], i["end"], i["peak"], i["score"]) for i in message.body["intervals"])
        curve, warnings = message.arrays["relevancy"], message.body.get("warnings", ())  # older backends have none
        answer = Answer(prompt, found, tuple(map(float, curve)), tuple(warnings))
        cache.write_answer(key, answer, message.arrays["static"])
        return answer

    return store


def _with_layer(question: Question) -> Sequence | None:
    """The sequence with this layer, looked up anew each time: undo replaces every Python reference."""
    for _, shown in sequence.everywhere():
        if shown.its.run_id == question.run_id and layers.find(shown, question.layer_id) is not None:
            return shown
    return None
