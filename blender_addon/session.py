"""What the add-on does with a backend while Blender runs: one connection, what is under way on it, what it offers.

Everything here runs on Blender's main thread, driven by `pump`; a timer calls it in a window, tests call it themselves.
"""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from . import backends, layers, playback, preferences, sequence, storage, wire
from .backends import BackendError, LocalBackend
from .cache import Answer, CacheError, RunCache, prompt_key
from .client import Address, Client, Failure, NoBackend, Received, State, Status
from .sequence import Sequence

log = logging.getLogger(__name__)

BUSY_SECONDS, IDLE_SECONDS = 0.02, 0.25
"""How often the timer looks: while answers are expected, and otherwise."""
PUMP_SECONDS = 0.01
"""How long one look may keep the interface waiting."""
WINDOW = 8
"""Frames that a stream may have under way."""

Done = Callable[[], None]


@dataclass
class Transfer:
    """The frames of a run on their way into its cache.

    Attributes:
        request: the stream's id; None while it waits for a connection.
        aimed: capture frame it was last aimed at.
        failure: why it stopped, as a sentence; it is not started again by itself then.
    """

    cache: RunCache
    missing: int
    request: int | None = None
    aimed: int = 0
    failure: str = ""


@dataclass
class Question:
    """A layer's prompt on its way to the backend and back.

    Attributes:
        request: its id; None while it waits for a connection.
        missing: frames whose relevancy has not arrived.
    """

    run_id: str
    layer_id: str
    prompt: str
    request: int | None = None
    missing: int = 0
    answered: bool = False


@dataclass
class Session:
    """One connection and all that depends on it.

    Attributes:
        message: what happened last that a person should know, beside the connection's status.
        transfers: by run id.
        questions: unanswered, by layer id.
        troubles: why a layer's last question failed, by layer id.
    """

    client: Client | None = None
    backend: LocalBackend | None = None
    message: str = ""
    transfers: dict[str, Transfer] = field(default_factory=dict)
    questions: dict[str, Question] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    opening: set[str] = field(default_factory=set)

    # The connection

    @property
    def status(self) -> Status:
        """The connection's state and a sentence about it."""
        return self.client.status if self.client else Status(State.OFF, "Not connected.")

    @property
    def ready(self) -> bool:
        """Whether a backend listens."""
        return self.status.state is State.READY

    @property
    def busy(self) -> bool:
        """Whether answers are expected soon."""
        return bool(
            self.opening
            or self.questions
            or any(transfer.request for transfer in self.transfers.values())
            or self.status.state is State.CONNECTING
        )

    def connect(self) -> None:
        """Connect as the preferences say, and stay connected: the client looks again whenever the backend goes away."""
        self.disconnect()
        self.client = Client(_locator(), addon_version())
        self.client.on_status = self._status_changed
        self.client.start()

    def disconnect(self) -> None:
        """Close the connection; what is under way goes on when there is one again."""
        if self.client:
            self.client.stop()
            self.client.pump(1.0)
            self.client = None

    def start_backend(self) -> None:
        """Start a backend on this machine and connect. BackendError if that cannot be done."""
        chosen = preferences.get()
        argv = backends.command(chosen.command and bpy.path.abspath(chosen.command))
        if not chosen.root:
            raise BackendError("Choose the folder with your runs and datasets first, in the panel or the preferences")
        root = Path(bpy.path.abspath(chosen.root))
        self.backend = LocalBackend(argv, [root], preferences.user_folder() / preferences.LOG_FILE)
        self.message = ""
        self.connect()

    def stop_backend(self) -> None:
        """Ask the backend that was started here to end."""
        if self.backend:
            self.backend.stop()
        self.disconnect()

    def close(self) -> None:
        """End everything: Blender ends, or the add-on is disabled."""
        self.disconnect()
        if self.backend:
            self.backend.finish()
            self.backend = None

    def pump(self, seconds: float = PUMP_SECONDS) -> bool:
        """Do what is due; whether the panel changed."""
        changed = self.client.pump(seconds) if self.client else False
        if self.backend and not self.backend.running:
            self.message = self.backend.complaint() or self.message
            self.backend = None
            changed = True
        if self.ready:
            self._aim()
        return changed

    def _status_changed(self, status: Status) -> None:
        if status.state is State.READY:
            self.message = ""
            self.refresh()
            self.watch_jobs()
            self.resume()

    # Runs

    def refresh(self) -> None:
        """Ask what runs and datasets there are."""
        self._request(wire.Kind.RUNS, on_reply=lambda reply: _list_runs(reply.body))
        self._request(wire.Kind.DATASETS, on_reply=lambda reply: _list_datasets(reply.body))

    def import_run(self, run: str, start_frame: int, set_range: bool) -> None:
        """Open a run; its objects are made when the backend has answered, its frames follow."""
        if run in self.opening:
            return
        self.opening.add(run)

        def failed(failure: Failure) -> None:
            self.opening.discard(run)
            self.message = failure.sentence

        def opened(reply: Received) -> None:
            self.opening.discard(run)
            storage.adopt(reply.stored)
            self._make_sequence(reply.stored, start_frame, set_range)
            self.fetch(reply.stored)

        self._request(wire.Kind.OPEN, {"run": run}, on_reply=opened, on_failure=failed, sink=_constants_sink())

    def _make_sequence(self, cache: RunCache, start_frame: int, set_range: bool) -> None:
        scene = bpy.context.scene
        made = Sequence.create(cache.description, bpy.context.collection or scene.collection, start_frame)
        made.empty.legs4d.cache_folder = str(cache.path.parent)
        if set_range:
            scene.frame_start, scene.frame_end = start_frame, made.scene_frame(cache.description.num_frames - 1)
        for item in bpy.context.selected_objects:
            item.select_set(False)
        made.empty.select_set(True)
        bpy.context.view_layer.objects.active = made.empty
        playback.refresh(made.empty)
        _sync_look(made.empty)
        remember(f"Import {made.empty.name}")

    # Frames

    def fetch(self, cache: RunCache) -> None:
        """Have a run's missing frames sent, those around the playhead first; nothing if it is under way."""
        name = cache.description.run_id
        known = self.transfers.get(name)
        if known and known.request is not None:
            return
        missing = cache.missing_frames()
        if not missing:
            self.transfers.pop(name, None)
            return
        transfer = self.transfers[name] = Transfer(cache, len(missing), aimed=_playhead(name))
        if not self.ready:
            return
        chosen = preferences.get()
        half = chosen.connection == "ADDRESS" and chosen.half_precision
        transfer.request = self._request(
            wire.Kind.FRAMES,
            {
                "run": cache.description.run,
                "revision": cache.description.revision,
                "frames": missing,
                "around": transfer.aimed,
                "precision": "float16" if half else "float32",
                "window": WINDOW,
            },
            sink=lambda message: cache.write_frame(message.body["frame"], dict(message.arrays)),
            on_event=lambda event: self._frame_arrived(transfer, event),
            on_reply=lambda reply: self._transfer_ended(name, reply.body),
            on_failure=lambda failure: self._transfer_failed(transfer, failure),
        )

    def fetch_sequence(self, shown: Sequence) -> None:
        """Have whatever this machine lacks of a sequence sent. CacheError if it cannot be stored."""
        cache = storage.recreate(shown.empty)
        if cache.has_constants():
            self.fetch(cache)
            return

        def opened(reply: Received) -> None:
            self.opening.discard(cache.description.run)
            if reply.body["revision"] != cache.description.revision:
                self.message = f"'{cache.description.run}' was trained anew since it was imported; import it again."
                return
            _refresh_run(cache.description.run_id)
            self.fetch(cache)

        def failed(failure: Failure) -> None:
            self.opening.discard(cache.description.run)
            self.message = failure.sentence

        self.opening.add(cache.description.run)
        body = {"run": cache.description.run}
        self._request(wire.Kind.OPEN, body, on_reply=opened, on_failure=failed, sink=_constants_sink())

    def cancel_fetch(self, run_id: str) -> None:
        """Stop a run's frames; what has arrived stays."""
        transfer = self.transfers.pop(run_id, None)
        if transfer and transfer.request is not None and self.client:
            self.client.cancel(transfer.request)

    def resume(self) -> None:
        """Go on with what a lost connection interrupted, and with what the file's sequences still miss."""
        for transfer in list(self.transfers.values()):
            if transfer.request is None and not transfer.failure:
                self.fetch(transfer.cache)
        for _, shown in sequence.everywhere():
            try:
                cache = storage.find(shown.empty)
            except CacheError:
                continue  # said in the panel by playback; it is fetched when its user asks for it
            known = self.transfers.get(cache.description.run_id)
            if cache.has_constants() and not (known and known.failure):
                self.fetch(cache)
        for question in list(self.questions.values()):
            if question.request is None:
                self._send_question(question)

    def _frame_arrived(self, transfer: Transfer, event: Received) -> None:
        transfer.missing -= 1
        users = [shown for _, shown in sequence.everywhere() if _runs(shown, transfer.cache)]
        if not users:  # deleted, or its import undone
            self.cancel_fetch(transfer.cache.description.run_id)
        for scene, shown in sequence.everywhere():
            if _runs(shown, transfer.cache) and shown.capture_frame(scene.frame_current) == event.body["frame"]:
                playback.refresh(shown.empty)

    def _transfer_ended(self, name: str, body: Mapping[str, Any]) -> None:
        transfer = self.transfers.pop(name, None)
        if transfer and body.get("missing"):
            self.message = f"{len(body['missing'])} frames of '{transfer.cache.description.run}' are not trained yet."

    def _transfer_failed(self, transfer: Transfer, failure: Failure) -> None:
        transfer.request = None
        if failure.code in ("lost", wire.Code.STALLED):
            return  # `resume` asks again
        if failure.code != wire.Code.CANCELLED:
            transfer.failure = self.message = failure.sentence

    def _aim(self) -> None:
        """Send streams to the playhead when it stands on a frame that has not arrived."""
        for name, transfer in self.transfers.items():
            frame = _playhead(name)
            if transfer.request and self.client and frame != transfer.aimed and not transfer.cache.has_frame(frame):
                self.client.aim(transfer.request, frame)
                transfer.aimed = frame

    # Prompts

    def ask(self, shown: Sequence, layer_id: str) -> None:
        """Ask a layer's prompt; the layer changes when the answer arrives. Nothing if it is already on its way."""
        layer = layers.find(shown, layer_id)
        if layer is None:
            return
        known = self.questions.get(layer_id)
        if known and known.prompt == layer.prompt:
            return
        layer.asked = layer.prompt
        self.troubles.pop(layer_id, None)
        question = self.questions[layer_id] = Question(shown.empty.legs4d.run_id, layer_id, layer.prompt)
        if self.ready:
            self._send_question(question)
        else:
            self.troubles[layer_id] = "No backend is connected; it is asked as soon as there is one."

    def cancel_question(self, layer_id: str) -> None:
        """Stop waiting for a layer's answer."""
        question = self.questions.pop(layer_id, None)
        self.troubles.pop(layer_id, None)
        if question and question.request is not None and self.client:
            self.client.cancel(question.request)

    def _send_question(self, question: Question) -> None:
        shown = _with_layer(question.run_id, question.layer_id)
        if shown is None:  # the layer was removed, or undone
            self.questions.pop(question.layer_id, None)
            return
        try:
            cache = storage.recreate(shown.empty)
        except CacheError as unwritable:
            self._question_failed(question, Failure("local", f"{unwritable}."))
            return
        self.troubles.pop(question.layer_id, None)
        question.missing = cache.description.num_frames
        question.request = self._request(
            wire.Kind.QUERY,
            {
                "run": cache.description.run,
                "prompt": question.prompt,
                "layer": question.layer_id,
                "around": _playhead(question.run_id),
                "window": WINDOW,
            },
            sink=_relevancy_sink(cache, question.prompt),
            on_event=lambda event: self._relevancy_arrived(question, event),
            on_reply=lambda _: self._question_ended(question),
            on_failure=lambda failure: self._question_failed(question, failure),
        )

    def _relevancy_arrived(self, question: Question, event: Received) -> None:
        shown = _with_layer(question.run_id, question.layer_id)
        if shown is None or self.questions.get(question.layer_id) is not question:
            return
        if event.kind == wire.Kind.ANSWER:
            question.answered = True
            key = prompt_key(question.prompt)
            layers.take_answer(shown, question.layer_id, key, event.stored, _scene_of(shown))
            playback.invalidate(shown.empty)
            playback.refresh(shown.empty)
            _sync_look(shown.empty)
            remember(f"Keyframes of {question.prompt}")
        else:
            question.missing -= 1
            if any(
                shown.capture_frame(scene.frame_current) == event.body["frame"] for scene in shown.empty.users_scene
            ):
                playback.refresh(shown.empty)

    def _question_ended(self, question: Question) -> None:
        if self.questions.get(question.layer_id) is question:
            del self.questions[question.layer_id]

    def _question_failed(self, question: Question, failure: Failure) -> None:
        if self.questions.get(question.layer_id) is not question:
            return  # a newer question took its place
        if failure.code == "lost":
            question.request = None  # `resume` asks again
            self.troubles[question.layer_id] = "The connection was lost; it is asked again as soon as there is one."
            return
        del self.questions[question.layer_id]
        if failure.code not in (wire.Code.CANCELLED, wire.Code.SUPERSEDED):
            self.troubles[question.layer_id] = failure.sentence

    # Jobs

    def train(self, dataset: str, out: str, scale: float, encoder: str) -> None:
        """Have a dataset reconstructed into a run; the job shows in the panel."""
        body: dict[str, Any] = {"dataset": dataset, "out": out, "scale": round(scale, 4)}
        if encoder:
            body["encoder"] = encoder

        def submitted(reply: Received) -> None:
            self.message = ""
            self._show_job(reply.body["job"])

        self._request(wire.Kind.TRAIN, body, on_reply=submitted)

    def cancel_job(self, job: str) -> None:
        """Cancel a job; the frames it finished stay in its run."""
        self._request(wire.Kind.CANCEL_JOB, {"job": job}, on_reply=lambda reply: _show_job(reply.body))

    def _show_job(self, job: str) -> None:
        self._request(wire.Kind.JOB, {"job": job}, on_reply=lambda reply: _show_job(reply.body))

    def watch_jobs(self) -> None:
        """List the backend's jobs and follow them."""

        def listed(reply: Received) -> None:
            bpy.context.window_manager.legs4d.jobs.clear()
            for job in reversed(reply.body["jobs"]):
                _show_job(job)

        def progressed(event: Received) -> None:
            known, state = _show_progress(event.body), event.body["state"]
            if known is None or state == "failed":  # new since the list, or with a reason that progress does not carry
                self._show_job(event.body["job"])
            if state == "done":
                self.refresh()

        self._request(wire.Kind.JOBS, on_reply=listed)
        self._request(wire.Kind.SUBSCRIBE, on_event=progressed)

    def _request(self, kind: str, body: Mapping[str, Any] | None = None, **options: Any) -> int | None:
        if self.client is None:
            return None
        options.setdefault("on_failure", self._say_failure)
        return self.client.request(kind, body, **options)

    def _say_failure(self, failure: Failure) -> None:
        if failure.code not in ("lost", wire.Code.CANCELLED):  # a lost connection is the status's own sentence
            self.message = failure.sentence


current = Session()
"""The one session of this Blender."""


def addon_version() -> str:
    """The extension's version, as its manifest says."""
    return str(tomllib.loads(Path(__file__).with_name("blender_manifest.toml").read_text())["version"])


def remember(label: str) -> None:
    """An undo step for what happened outside an operator: else undoing the next thing would undo this one too."""
    if bpy.ops.ed.undo_push.poll():
        bpy.ops.ed.undo_push(message=f"4-LEGS: {label}")


def register() -> None:
    """Start the timer; connect if the preferences say so and somebody is looking."""
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=IDLE_SECONDS, persistent=True)
    chosen = preferences.get()
    if not bpy.app.background and chosen.connection == "LOCAL" and chosen.connect_at_start:
        current.connect()


def unregister() -> None:
    """Stop the timer, the connection, and the backend if it was started here."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    current.close()


def _tick() -> float:
    if current.pump():
        for window in bpy.context.window_manager.windows:
            for area in window.screen.areas:
                if area.type in {"VIEW_3D", "PREFERENCES"}:
                    area.tag_redraw()
    return BUSY_SECONDS if current.busy else IDLE_SECONDS


def _locator() -> Callable[[], Address]:
    """How the client finds the backend. It is called on the client's thread: no bpy in what is returned."""
    chosen = preferences.get()
    if chosen.connection == "LOCAL":
        return backends.locate
    endpoint, token = chosen.endpoint.strip(), chosen.token.strip()
    problem = backends.obstacle(endpoint, bpy.app.online_access)

    def address() -> Address:
        if problem:
            raise NoBackend(problem)
        return Address(endpoint, token)

    return address


def _constants_sink() -> Callable[[wire.Message], RunCache]:
    root = preferences.cache_root()  # read here: the sink runs on the client's thread
    return lambda message: storage.store_constants(root, message.body, message.arrays)


def _relevancy_sink(cache: RunCache, prompt: str) -> Callable[[wire.Message], Answer | None]:
    key = prompt_key(prompt)

    def store(message: wire.Message) -> Answer | None:
        if message.kind != wire.Kind.ANSWER:
            cache.write_relevancy(key, message.body["frame"], message.arrays["relevancy"])
            return None
        found = tuple((i["start"], i["end"], i["peak"], i["score"]) for i in message.body["intervals"])
        answer = Answer(prompt, found, tuple(map(float, message.arrays["relevancy"])))
        cache.write_answer(key, answer, message.arrays["static"])
        return answer

    return store


def _runs(shown: Sequence, cache: RunCache) -> bool:
    return bool(shown.empty.legs4d.run_id == cache.description.run_id)


def _refresh_run(run_id: str) -> None:
    for _, shown in sequence.everywhere():
        if shown.empty.legs4d.run_id == run_id:
            playback.refresh(shown.empty)


def _with_layer(run_id: str, layer_id: str) -> Sequence | None:
    """The sequence with this layer, looked up anew each time: undo replaces every Python reference."""
    for _, shown in sequence.everywhere():
        if shown.empty.legs4d.run_id == run_id and layers.find(shown, layer_id) is not None:
            return shown
    return None


def _scene_of(shown: Sequence) -> bpy.types.Scene:
    return shown.empty.users_scene[0]


def _playhead(run_id: str) -> int:
    """The capture frame that is looked at: in the window's scene, else in any that has the run."""
    found = [(scene, shown) for scene, shown in sequence.everywhere() if shown.empty.legs4d.run_id == run_id]
    found.sort(key=lambda pair: pair[0] != bpy.context.scene)
    return found[0][1].capture_frame(found[0][0].frame_current) if found else 0


def _list_runs(body: Mapping[str, Any]) -> None:
    shown = bpy.context.window_manager.legs4d
    chosen = shown.runs[shown.active_run].name if shown.active_run < len(shown.runs) else ""
    shown.runs.clear()
    for run in body["runs"]:
        item = shown.runs.add()
        item.name, item.frames, item.points = run["name"], run["frames"], run["static"] + run["dynamic"]
        item.finished, item.language = run["finished"], run["language"]
    for problem in body["problems"]:
        item = shown.runs.add()
        item.name, item.problem = problem["name"], problem["message"]
    shown.active_run = max(shown.runs.find(chosen), 0)


def _list_datasets(body: Mapping[str, Any]) -> None:
    shown = bpy.context.window_manager.legs4d
    shown.datasets.clear()
    for dataset in body["datasets"]:
        shown.datasets.add().name = dataset["name"]


def _show_job(job: Mapping[str, Any]) -> None:
    jobs = bpy.context.window_manager.legs4d.jobs
    item = jobs.get(job["job"])
    if item is None:
        item = jobs.add()
        item.name = job["job"]
        jobs.move(len(jobs) - 1, 0)
        item = jobs[0]
    item.label = str(job["request"].get("out", job["kind"]))
    item.state = job["state"]
    if job["progress"]:
        _show_progress(job["progress"])
    if job["error"]:
        item.message = job["error"]["message"]


def _show_progress(progress: Mapping[str, Any]) -> bpy.types.PropertyGroup | None:
    item = bpy.context.window_manager.legs4d.jobs.get(progress["job"])
    if item is None:
        return None
    item.state, item.stage = progress["state"], progress["stage"]
    item.done, item.total = progress["done"], progress["total"]
    left = progress["seconds_left"]
    item.seconds_left = -1.0 if left is None else left
    item.message = progress["message"]
    return item


def _sync_look(empty: bpy.types.Object) -> None:
    from . import look

    look.sync(empty)
