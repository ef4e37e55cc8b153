"""What a run knows beside its points: its camera, keyed; its nodes, as empties, and subframes that follow them."""

import bpy
import numpy as np
import pytest
from conftest import Backend, library

_MAKE = """
import sys
import numpy as np
from legs4d.scene.camera import Cameras
from legs4d.scene.track import Track
from tests.deform.wheel import FRAMES, viewed_from, wheel, write_wheel
run = write_wheel(sys.argv[1] + "/wheel")
lens = viewed_from(0)
lens.intrinsics[0, :2, 2] = [13, 20]
shots = [viewed_from(40 * frame) for frame in range(FRAMES)]
cameras = Cameras.together([Cameras(s.world_to_camera, lens.intrinsics, s.width, s.height, s.ids) for s in shots])
train = Track(cameras, np.arange(FRAMES, dtype=np.int32), np.array([0, 1, 1.5]))
run.write_cameras(train, viewed_from(10), np.zeros((1, 3)), np.zeros((1, 3)))
half = wheel(1.5)
names = {"w2c": cameras.world_to_camera, "k": lens.intrinsics[0], "means": half.means, "quats": half.quats}
np.savez(sys.argv[1] + "/truth.npz", **names, straight=(wheel(1).means + wheel(2).means) / 2)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root = tmp_path_factory.mktemp("wheel")
    library("-c", _MAKE, str(root))
    backend = Backend(root, tmp_path_factory.mktemp("state"))
    yield backend
    backend.stop()


@pytest.fixture
def truth(served):
    return dict(np.load(served.root / "truth.npz"))


@pytest.fixture
def shown(served, until, monkeypatch):
    """The wheel, imported."""
    from blender_addon.link import session
    from blender_addon.sequence import sequence

    monkeypatch.setenv("LEGS4D_STATE_DIR", str(served.state))
    session.current.link.connect()
    until(lambda: len(bpy.context.window_manager.legs4d.runs) == 1, "the list of runs")
    bpy.ops.legs4d.import_run(run="wheel")
    until(lambda: sequence.find(bpy.context.scene), "the sequence")
    until(lambda: not session.current.transfers.pending and not session.current.tasks.busy, "all frames")
    return sequence.find(bpy.context.scene)[0]


def test_between_frames_points_go_round_with_their_node(shown, truth):
    from blender_addon.sequence import attributes

    bpy.context.scene.frame_set(shown.its.start_frame + 1, subframe=0.5)
    found = attributes.read(shown.dynamic_object.data, "position")
    np.testing.assert_allclose(found, truth["means"], atol=1e-4)
    assert np.abs(found - truth["straight"]).max() > 0.1
    along = np.einsum("ij,ij->i", attributes.read(shown.dynamic_object.data, "rotation"), truth["quats"])
    np.testing.assert_allclose(np.abs(along), 1, atol=1e-4)


def test_the_camera_that_filmed_is_where_it_was_when_it_was(shown, truth):
    from blender_addon.engine.camera import view

    scene = bpy.context.scene
    scene.camera = None
    assert bpy.ops.legs4d.bring_cameras() == {"FINISHED"}
    moving, still = (bpy.data.objects[f"wheel {name}"] for name in ("train 0", "test 0"))
    assert scene.camera == moving and still.animation_data is None
    for moment, w2c in zip((0, 1, 1.5), truth["w2c"], strict=True):
        scene.frame_set(shown.its.start_frame + int(moment), subframe=moment % 1)
        bpy.context.view_layer.update()
        graph = bpy.context.evaluated_depsgraph_get()
        projection = moving.evaluated_get(graph).calc_matrix_camera(graph, x=32, y=32)
        seen = view(projection, moving.evaluated_get(graph).matrix_world, 32, 32)
        of_run = seen.world_to_camera @ np.array(shown.empty.matrix_world)
        np.testing.assert_allclose(of_run, w2c, atol=1e-5)
        k = [[seen.fx, 0, seen.cx], [0, seen.fy, seen.cy], [0, 0, 1]]
        np.testing.assert_allclose(k, truth["k"], atol=1e-3)


def test_nodes_are_empties_that_turn_as_they_did(shown):
    assert bpy.ops.legs4d.bring_nodes(most=0) == {"FINISHED"}
    (node,) = bpy.data.collections["wheel nodes"].objects
    for moment, degrees in ((0, 0), (1, 90), (2, 180)):
        bpy.context.scene.frame_set(shown.its.start_frame + moment)
        local = np.array(shown.empty.matrix_world.inverted() @ node.matrix_world)[:3, :3]
        turn = np.radians(degrees)
        expected = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
        np.testing.assert_allclose(local, expected, atol=1e-5)


def test_a_run_without_nodes_says_so(imported):
    assert bpy.ops.legs4d.bring_nodes() == {"CANCELLED"}
    assert bpy.ops.legs4d.bring_cameras() == {"FINISHED"}  # its cameras stand still
    assert len([item for item in bpy.data.objects if item.type == "CAMERA" and item.animation_data is None]) > 2
