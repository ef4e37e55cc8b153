"""The animated scene as a run of its own: what was selected moves, everything else stays, and all that was known of
the Gaussians goes with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.animate.tracking.bend import Bends
from legs4d.animate.tracking.motions import Body, moved, quaternion
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.nodes import Nodes, write_nodes
from legs4d.gaussians.objects import Objects, read_objects, write_objects
from legs4d.gaussians.selections import Selection, read_selection, selection_names, write_selection
from legs4d.gaussians.store.run import Run
from legs4d.portable.turns import multiply
from legs4d.segment.segments import has_segments, num_slots, read_segments, slots_of, write_segments

STAGE = "animate"
MOSTLY = 0.5
"""Share of an object's Gaussians that are selected, from which it moves along."""
KEPT_INFO = (
    "near",
    "center",
    "radius",
    "floor",
    "down",
    "up",
    "origin",
    "cameras",
    "encoder",
    "background",
    "vignette",
)

Bent = Callable[[int], Gaussians]
"""Frame → the object's Gaussians there."""


class Result:
    """Writes an animated run.

    Args:
        source: the run that it is made from; frame: the moment of it that is kept.
        member: [count] which Gaussians of that frame are the object.
    """

    def __init__(self, source: Run, frame: int, member: NDArray[np.bool_]) -> None:
        self.source, self.frame = source, frame
        gaussians = source.frame(frame)
        there = gaussians.opacities > 0  # what is not alive in this frame has no part in the scene
        self._order = np.concatenate([np.flatnonzero(there & ~member), np.flatnonzero(there & member)])
        self._static = int((there & ~member).sum())
        self._gaussians = gaussians

    @property
    def still(self) -> Gaussians:
        """What stays."""
        return self._gaussians.take(self._order[: self._static])

    @property
    def thing(self) -> Gaussians:
        """What moves, at rest."""
        return self._gaussians.take(self._order[self._static :])

    def write(
        self, run: Run, name: str, body: Body, motions: NDArray[np.float64], bent: Bent, nodes: Nodes | None
    ) -> None:
        """Write all frames and what goes with them; the caller holds the lock of `run`, and has begun its stage.

        Args:
            name: of the object.
            motions: [T, 4, 4] the object's rigid part.
            bent: its Gaussians in every frame.
            nodes: what bends it, of the object's Gaussians alone; None: it moves as one.
        """
        first, count = bent(0), len(motions)
        changing = () if first.sh_rest is None else ("sh_rest",)
        run.write_geometry(self.still, first, count, changing=changing)
        for frame in range(count):
            now = bent(frame)
            run.write_frame(frame, now.means, now.quats, now.colors, **{what: getattr(now, what) for what in changing})
        # Said before language begins a stage: that deletes frames which nobody has said are done.
        run.frames_done(STAGE, dict.fromkeys(range(count), 0.0))
        self._write_cameras(run)
        self._write_marks(run, name, body, motions)
        write_nodes(run, self._nodes(nodes, body, motions))
        self._write_segments(run)
        self._write_language(run)

    def _split(self, values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Values of the source's frame [count, …], of what stays and of what moves."""
        ordered = values[self._order]
        return ordered[: self._static], ordered[self._static :]

    def _write_cameras(self, run: Run) -> None:
        source = self.source
        if not source.has_cameras:
            return
        gain, offset = source.gain()
        train = source.cameras("train", self.frame)
        test = source.cameras("test", self.frame) if source.has_test_cameras else None
        if len(train) != len(gain):  # cameras that move: these are of the first frame
            gain, offset = (np.zeros((len(train), 3), np.float32) for _ in range(2))
        run.write_cameras(train, test if test is not None and len(test) else None, gain, offset)

    def _write_marks(self, run: Run, name: str, body: Body, motions: NDArray[np.float64]) -> None:
        seen = self.source.seen(self.frame)
        if seen is not None:
            run.write_marks("seen", *self._split(seen))
        ids, known = self.source.object_ids(self.frame), read_objects(self.source)
        if ids is None or known is None:
            ids, known = np.full(len(self._gaussians), -1, np.int16), None
        objects, ids = self._objects(name, body, motions, known, ids.copy())
        run.write_marks("object", *self._split(ids))
        write_objects(run, objects)

    def _objects(
        self, name: str, body: Body, motions: NDArray[np.float64], known: Objects | None, ids: NDArray[np.int16]
    ) -> tuple[Objects, NDArray[np.int16]]:
        """The source's objects, of which those that are selected move; one more where none of them is."""
        count, moving = len(motions), np.zeros(len(ids), bool)
        moving[self._order[self._static :]] = True
        if known is None:
            known = Objects((), np.zeros((1, 0, 7), np.float32), np.zeros((1, 0), np.float32), np.zeros((1, 0), bool))
            at = 0
        else:
            at = self.frame
        # An object whose place is not known in this frame is not there.
        pose = np.tile(known.pose[at], (count, 1, 1)).astype(np.float32)
        scale, visible = (np.tile(values[at], (count, 1)) for values in (known.scale, known.visible))
        names, numbers, found = list(known.names), list(known.ids), False
        for row in range(len(known)):
            of = ids == row
            if of.any() and (of & moving).sum() > MOSTLY * of.sum():
                pose[:, row] = _carried(pose[0, row], motions)
                found = True
        if not found:
            rest = np.array([*body.center, 1, 0, 0, 0], np.float64)
            pose = np.concatenate([pose, _carried(rest, motions)[:, None]], axis=1)
            scale = np.concatenate([scale, np.ones((count, 1), np.float32)], axis=1)
            visible = np.concatenate([visible, np.ones((count, 1), bool)], axis=1)
            ids[moving] = len(names)
            names.append(name)
            numbers.append(max(numbers, default=-1) + 1)
        return (
            Objects(tuple(names), pose.astype(np.float32), scale.astype(np.float32), visible, tuple(numbers)),
            ids,
        )

    def _nodes(self, nodes: Nodes | None, body: Body, motions: NDArray[np.float64]) -> Nodes:
        """With what stays, which hangs on none; of what moves as one, its middle."""
        moving = len(self._order) - self._static
        if nodes is None:
            rest = np.array([*body.center, 1, 0, 0, 0], np.float64)
            nodes = Nodes(
                body.center[None].astype(np.float32),
                _carried(rest, motions)[:, None].astype(np.float32),
                np.zeros((moving, 1), np.int32),
                np.ones((moving, 1), np.float32),
            )
        shape = self._static, nodes.index.shape[1]
        return replace(
            nodes,
            index=np.concatenate([np.full(shape, -1, np.int32), nodes.index]),
            weight=np.concatenate([np.zeros(shape, np.float32), nodes.weight]),
        )

    def _write_segments(self, run: Run) -> None:
        slots = slots_of(self.source, self.frame)[self._order]
        if has_segments(self.source):
            segments = read_segments(self.source)
            write_segments(
                run, replace(segments, members=segments.members.tocsr()[slots].tocsc(), mass=segments.mass[slots])
            )
        for name in selection_names(self.source):
            selection = read_selection(self.source, name)
            flat = np.zeros(num_slots(self.source), np.float32)
            flat[: self.source.num_gaussians] = selection.weights
            if selection.loose is not None:
                flat[self.source.num_gaussians :] = selection.loose.ravel()
            write_selection(run, Selection(name, flat[slots], None, selection.made))

    def _write_language(self, run: Run) -> None:
        """The codes of the moment that is kept: what is said of the scene is said of all frames."""
        source, lift = self.source, self.source.stages.get("lift")
        if lift is None or not lift.finished:
            return
        stage = run.begin_stage("lift", lift.made_from or lift.fingerprint)
        run.write_codec(*_codec(source))
        parts = source.static_codes(), source.moving_codes(self.frame)
        codes, confidence = (np.concatenate([part[i] for part in parts]) for i in range(2))
        (still, moving), (sure, surely) = self._split(codes), self._split(confidence)
        run.write_static_codes(still, sure)
        for frame in range(run.num_frames):
            run.write_codes(frame, moving, surely)
        run.frames_done("lift", dict.fromkeys(range(run.num_frames), 0.0))
        if not stage.finished:
            run.finish_stage("lift")


def _codec(source: Run) -> tuple[str, dict[str, NDArray[Any]], dict[str, Any]]:
    arrays, attributes = source.codec()
    return attributes["name"], arrays, {key: value for key, value in attributes.items() if key != "name"}


def _carried(pose: NDArray[np.floating], motions: NDArray[np.float64]) -> NDArray[np.float64]:
    """[T, 7] a pose (place, then wxyz) under motions."""
    places = motions[:, :3, :3] @ np.asarray(pose[:3], np.float64) + motions[:, :3, 3]
    turns = np.stack([multiply(quaternion(motion), np.asarray(pose[3:], np.float64)) for motion in motions])
    return np.concatenate([places, turns], axis=1)


def kept_info(source: Run) -> dict[str, Any]:
    """What an animated run says of its space as its source does."""
    return {key: source.info[key] for key in KEPT_INFO if key in source.info}


def bent_by(thing: Gaussians, motions: NDArray[np.float64], bends: Bends) -> tuple[Bent, Nodes]:
    """The object bending and moving, and its nodes in all frames."""
    poses = []
    for motion, nodes in zip(motions, bends.nodes, strict=True):
        places = (bends.rest + nodes[:, :3]) @ motion[:3, :3].T + motion[:3, 3]
        poses.append(np.concatenate([places, multiply(quaternion(motion), nodes[:, 3:].astype(np.float64))], axis=1))
    return (
        lambda frame: moved(thing.replace(means=bends.means[frame], quats=bends.quats[frame]), motions[frame]),
        Nodes(bends.rest, np.stack(poses).astype(np.float32), bends.index, bends.weight),
    )


def rigid(thing: Gaussians, motions: NDArray[np.float64]) -> Bent:
    """The object moving as one."""
    return lambda frame: moved(thing, motions[frame])
