"""What a run tells beside its Gaussians: objects and their poses, named selections, nodes, what is between frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from legs4d.errors import RunError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.nodes import Nodes, frame_between, read_nodes, write_nodes
from legs4d.gaussians.objects import Objects, name_object, read_objects, write_objects
from legs4d.gaussians.selections import Selection, delete_selection, read_selection, selection_names, write_selection
from legs4d.gaussians.store.run import Run

FRAMES = 3


def at(means: object, quats: object = (1.0, 0, 0, 0)) -> Gaussians:
    """Gaussians at these places."""
    where = np.asarray(means, np.float32).reshape(-1, 3)
    turn = np.broadcast_to(np.asarray(quats, np.float32), (len(where), 4)).copy()
    ones = np.ones((len(where), 3), np.float32)
    return Gaussians(where, turn, 0.1 * ones, ones[:, 0], 0 * ones, ones[:, 0] > 0)


def run_of(path: Path, frames: list[Gaussians], still: Gaussians | None = None) -> Run:
    run = Run.create(path)
    run.write_geometry(at([]) if still is None else still, frames[0], len(frames))
    for frame, gaussians in enumerate(frames):
        run.write_frame(frame, gaussians.means, gaussians.quats, gaussians.colors)
    return run


def about_z(degrees: float) -> tuple[float, float, float, float]:
    half = np.radians(degrees) / 2
    return (float(np.cos(half)), 0.0, 0.0, float(np.sin(half)))


# -- objects -----------------------------------------------------------------------------------------------------------


def test_objects_come_back_and_are_named(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [at([0, 0, 0])] * FRAMES)
    assert read_objects(run) is None
    with pytest.raises(RunError, match="it has no objects"):
        name_object(run, 0, "ball")
    pose = np.random.default_rng(0).random((FRAMES, 2, 7)).astype(np.float32)
    visible = np.array([[True, False]] * FRAMES)
    write_objects(run, Objects(("", "man"), pose, np.ones((FRAMES, 2), np.float32), visible))
    name_object(run, 0, " basketball ")
    found = read_objects(Run.open(run.path))
    assert found is not None and found.names == ("basketball", "man")
    assert np.array_equal(found.pose, pose) and np.array_equal(found.visible, visible)
    with pytest.raises(RunError, match="has no object 2: it has objects 0, 1"):
        name_object(run, 2, "x")
    with pytest.raises(ValueError, match="pose: shape"):
        write_objects(run, Objects(("a",), pose, np.ones((FRAMES, 1), np.float32), visible[:, :1]))


def test_new_geometry_takes_what_spoke_of_the_old_with_it(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", [at([0, 0, 0])])
    write_selection(run, Selection("all", np.ones(1)))
    run.write_geometry(at([]), at([[0, 0, 0], [1, 1, 1]]), 1)
    assert selection_names(run) == []


# -- selections --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ball", "the man's left hand", "a/b\\c:*?", "..", "Ärmel ✋", "con.", " x "])
def test_selections_keep_any_name(tmp_path: Path, name: str) -> None:
    run = run_of(tmp_path / "run", [at([0, 0, 0])] * FRAMES, still=at([[1, 1, 1], [2, 2, 2]]))
    weights = np.array([0.25, 1, 0])
    write_selection(run, Selection(name, weights, made={"prompt": "a ball", "threshold": 0.5}))
    run = Run.open(run.path)
    found = read_selection(run, name)
    assert (found.name, found.weights.tolist(), found.made["prompt"]) == (name, weights.tolist(), "a ball")
    assert selection_names(run) == [name] and found.frame(run, 1).tolist() == weights.tolist()
    assert sorted(path.name for path in run.path.iterdir()) == ["run.json", "run.zarr"]
    delete_selection(run, name)
    assert selection_names(run) == []
    with pytest.raises(RunError, match="has no selection"):
        read_selection(run, name)


def test_selections_of_frames_without_identity(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run")
    run.write_geometry(at([0, 0, 0]), at([]), 2, max_loose=3)
    run.write_loose(0, at([[1, 0, 0]] * 3))
    run.write_loose(1, at([[2, 0, 0]]))
    write_selection(run, Selection("rows", np.ones(1), np.array([[0.5, 0, 1], [0.75, 0, 0]])))
    found = read_selection(run, "rows")
    assert [found.frame(run, frame).tolist() for frame in range(2)] == [[1, 0.5, 0, 1], [1, 0.75]]
    write_selection(run, Selection("found", np.zeros(1), made={"box": [0, 1]}))
    found = read_selection(run, "found")
    assert found.frame(run, 0).tolist() == [0, 0, 0, 0]
    assert found.frame(run, 0, lambda frame: np.full(3, 0.5)).tolist() == [0, 0.5, 0.5, 0.5]


# -- between frames ----------------------------------------------------------------------------------------------------


def test_a_wheel_on_a_node_goes_round_and_does_not_cut_the_corner(tmp_path: Path) -> None:
    """A quarter turn a frame about a hub that moves along x: halfway everything is an eighth of a turn on."""
    spokes = np.array([[1, 0, 0], [0, 2, 0], [-3, 0, 0.5]])
    hub = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]], float)

    def wheel(frame: float) -> Gaussians:
        turn = np.radians(90 * frame)
        matrix = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        return at(spokes @ matrix.T + [frame, 0, 0], about_z(90 * frame))

    run = run_of(tmp_path / "run", [wheel(frame) for frame in range(FRAMES)], still=at([[9, 9, 9]]))
    pose = np.array([[[*hub[frame], *about_z(90 * frame)]] for frame in range(FRAMES)], np.float32)
    index = np.array([[-1], [0], [0], [0]], np.int32)
    write_nodes(run, Nodes(np.zeros((1, 3), np.float32), pose, index, (index + 1).astype(np.float32)))
    run = Run.open(run.path)
    for moment in (0.0, 0.5, 1.25, 2.0):
        found = frame_between(run, moment)
        np.testing.assert_allclose(found.means[0], [9, 9, 9])
        np.testing.assert_allclose(found.means[1:], wheel(moment).means, atol=1e-5)
        agreement = np.abs((found.quats[1:] * wheel(moment).quats).sum(axis=1))
        np.testing.assert_allclose(agreement, 1, atol=1e-6)
    nodes = read_nodes(run)
    assert nodes is not None and nodes.index.dtype == np.int32


def test_without_nodes_things_go_straight_and_stored_frames_are_met(tmp_path: Path) -> None:
    frames = [at([[0, 0, 0]]), at([[2, 0, 0]], about_z(90)), at([[2, 4, 0]], about_z(180))]
    run = run_of(tmp_path / "run", frames)
    found = frame_between(run, 0.25)
    np.testing.assert_allclose(found.means, [[0.5, 0, 0]])
    np.testing.assert_allclose(found.quats, [about_z(22.5)], atol=1e-6)
    for frame, expected in enumerate(frames):
        np.testing.assert_allclose(frame_between(run, frame).means, expected.means)
    np.testing.assert_allclose(frame_between(run, 7).means, frames[-1].means)  # clamped


def test_what_has_no_identity_is_that_of_the_nearest_frame(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run")
    run.write_geometry(at([]), at([]), 2, max_loose=2)
    run.write_loose(0, at([[1, 0, 0]]))
    run.write_loose(1, at([[2, 0, 0], [3, 0, 0]]))
    assert frame_between(run, 0.4).means[:, 0].tolist() == [1]
    assert frame_between(run, 0.6).means[:, 0].tolist() == [2, 3]
