"""What a run knows beside its points: its camera, keyed; its nodes, as empties, and subframes that follow them."""

import bpy
import numpy as np
import pytest
from conftest import import_whole, serving
from mathutils import Vector
from pictures import add_camera

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
    yield from serving(_MAKE, tmp_path_factory)


@pytest.fixture
def truth(served):
    return dict(np.load(served.root / "truth.npz"))


@pytest.fixture
def shown(served, until, monkeypatch):
    """The wheel, imported."""
    from blender_addon.link import session

    monkeypatch.setenv("LEGS4D_STATE_DIR", str(served.state))
    session.current.link.connect()
    until(lambda: len(bpy.context.window_manager.legs4d.runs) == 1, "the list of runs")
    return import_whole("wheel", until)


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


def places(shown):
    """[N, 3] and [N, 4] of the points that move, in the run's axes."""
    from blender_addon.sequence import attributes

    cloud = shown.dynamic_object.data
    return attributes.read(cloud, "position"), attributes.read(cloud, "rotation")


def about_y(quarter):
    """[3, 3] of a quarter of a turn."""
    return np.array([[0, 0, quarter], [0, 1, 0], [-quarter, 0, 0]], float)


def test_moving_a_node_bends_what_hangs_on_it_at_once_and_at_other_times_too(shown):
    scene = bpy.context.scene
    shown.empty.location, shown.empty.scale = (1, 2, 3), (2, 2, 2)
    scene.frame_set(shown.its.start_frame)
    captured = [places(shown)[0]]
    bpy.ops.legs4d.bring_nodes(most=0)
    (node,) = bpy.data.collections["wheel nodes"].objects
    assert node.location.length == 0
    np.testing.assert_array_equal(places(shown)[0], captured[0])
    # As with a mouse: no frame changes.
    node.location = (0.5, 0, 0.25)
    bpy.context.view_layer.update()
    np.testing.assert_allclose(places(shown)[0], captured[0] + [0.5, 0, 0.25], atol=1e-6)
    node.rotation_quaternion = (np.sqrt(0.5), 0, np.sqrt(0.5), 0)
    bpy.context.view_layer.update()
    np.testing.assert_allclose(places(shown)[0], captured[0] @ about_y(1).T + [0.5, 0, 0.25], atol=1e-5)
    # In a later frame, which turned it by a quarter about z, it is turned about its own y as much.
    scene.frame_set(shown.its.start_frame + 1)
    about_z = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], float)
    turned = about_z @ about_y(1) @ about_z.T
    np.testing.assert_allclose(places(shown)[0], captured[0] @ about_z.T @ turned.T + [0.5, 0, 0.25], atol=1e-5)
    # Other timing: what is done to the node stays what it is.
    node.rotation_quaternion = (1, 0, 0, 0)
    shown.its.start_frame -= 1
    scene.frame_set(shown.its.start_frame + 2)
    half = np.array([[-1, 0, 0], [0, -1, 0], [0, 0, 1]], float)
    np.testing.assert_allclose(places(shown)[0], captured[0] @ half.T + [0.5, 0, 0.25], atol=1e-5)
    node.location = (0, 0, 0)
    bpy.context.view_layer.update()
    np.testing.assert_allclose(places(shown)[0], captured[0] @ half.T, atol=1e-5)


def test_keys_drivers_and_constraints_of_nodes_bend_and_files_and_undo_keep_them(shown, tmp_path):
    from blender_addon.export import gaussians

    scene = bpy.context.scene
    bpy.ops.legs4d.bring_nodes(most=0)
    (node,) = bpy.data.collections["wheel nodes"].objects
    first = shown.its.start_frame
    for at, x in ((first, 0.0), (first + 2, 1.0)):
        node.location.x = x
        node.keyframe_insert("location", frame=at)
    for curve in bpy.data.actions[node.animation_data.action.name].layers[0].strips[0].channelbags[0].fcurves:
        for key in curve.keyframe_points:
            key.interpolation = "LINEAR"
    scene.frame_set(first + 1)
    wheel = np.array([[0, 0.8, 0], [-0.5, 0, 0.2], [0.6, -0.4, 0]])
    np.testing.assert_allclose(places(shown)[0], wheel + np.array([0.5, 0, 0]), atol=1e-5)
    np.testing.assert_allclose(
        gaussians.read(shown, first + 1, baked=False).means, wheel + np.array([0.5, 0, 0]), atol=1e-5
    )
    leader = bpy.data.objects.new("leader", None)
    scene.collection.objects.link(leader)
    hangs = node.constraints.new("COPY_LOCATION")
    hangs.target, hangs.use_offset = leader, True
    leader.location = shown.to_world.to_3x3() @ Vector((0, 0, 2))
    bpy.context.view_layer.update()
    np.testing.assert_allclose(places(shown)[0], wheel + np.array([0.5, 0, 2]), atol=1e-5)
    path, name = str(tmp_path / "bent.blend"), shown.empty.name
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    from blender_addon.sequence.sequence import Sequence

    again = Sequence(bpy.data.objects[name])
    bpy.context.scene.frame_set(first + 2)
    bpy.context.scene.frame_set(first + 1)
    np.testing.assert_allclose(places(again)[0], wheel + np.array([0.5, 0, 2]), atol=1e-5)


def test_a_copy_has_nodes_of_its_own_and_the_backend_s_engine_says_that_it_cannot_bend(shown):
    from blender_addon.engine import shot
    from blender_addon.whole import copies

    scene = bpy.context.scene
    scene.frame_set(shown.its.start_frame)
    bpy.ops.legs4d.bring_nodes(most=0)
    (node,) = bpy.data.collections["wheel nodes"].objects
    placed = shot.placements(scene, bpy.context.view_layer)
    assert not shot.obstacle(placed)
    captured = places(shown)[0]
    node.location.y = 0.5
    bpy.context.view_layer.update()
    assert "Control nodes bend" in shot.obstacle(placed)
    made = copies.copy(shown, shown.empty.users_collection)
    (twin,) = [one for one in made.empty.children if one.type == "EMPTY" and "legs4d_node" in one]
    bpy.context.view_layer.update()
    np.testing.assert_allclose(places(made)[0], captured + np.array([0, 0.5, 0]), atol=1e-5)
    twin.location.y = -1
    bpy.context.view_layer.update()
    np.testing.assert_allclose(places(made)[0], captured + np.array([0, -1, 0]), atol=1e-5)
    np.testing.assert_allclose(places(shown)[0], captured + np.array([0, 0.5, 0]), atol=1e-5)
    bpy.data.objects.remove(node)
    bpy.context.view_layer.update()
    np.testing.assert_allclose(places(shown)[0], captured, atol=1e-5)


def test_a_motion_s_file_without_what_the_run_s_nodes_bend_says_so(shown, tmp_path):
    from blender_addon.things import motion

    scene = bpy.context.scene
    bpy.context.view_layer.objects.active = shown.empty
    scene.frame_start, scene.frame_end = 1, 2
    for _ in range(2):
        bpy.ops.legs4d.bring_nodes(most=0)  # in the place of those of before
    assert [one.name for one in bpy.data.collections] == ["wheel nodes"]
    (node,) = bpy.data.collections["wheel nodes"].objects
    assert motion.untold(shown.empty, shown) == ""
    node.location.x = 1
    bpy.context.view_layer.update()
    assert motion.untold(shown.empty, shown) == "What the run's own nodes bend is not in it."
    assert motion.untold(node, shown) == ""
    # One of a run with more nodes, put below this one: it bends nothing, and the others go on.
    captured = places(shown)[0]
    twin = node.copy()
    node.users_collection[0].objects.link(twin)
    twin["legs4d_node"], twin.location.x = 40, 9
    bpy.context.view_layer.update()
    node.location.x = 2
    bpy.context.view_layer.update()
    np.testing.assert_allclose(places(shown)[0], captured + np.array([1, 0, 0]), atol=1e-5)


def test_a_run_without_nodes_says_so(imported):
    assert bpy.ops.legs4d.bring_nodes() == {"CANCELLED"}
    assert bpy.ops.legs4d.bring_cameras() == {"FINISHED"}  # its cameras stand still
    assert len([item for item in bpy.data.objects if item.type == "CAMERA" and item.animation_data is None]) > 2


def test_renders_and_bakes_show_each_frame_as_it_is_bent(shown, tmp_path):
    scene, first = bpy.context.scene, shown.its.start_frame
    bpy.ops.legs4d.bring_nodes(most=0)
    (node,) = bpy.data.collections["wheel nodes"].objects
    for at, x in ((first, 0.0), (first + 1, 1.0)):
        node.location.x = x
        node.keyframe_insert("location", frame=at)
    shown.empty.matrix_world = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))
    add_camera(scene, (0, 0, 8), (0, 0, 0), 48, 32)
    scene.camera.data.type, scene.camera.data.ortho_scale = "ORTHO", 4.8
    scene.render.engine, scene.cycles.samples, scene.render.film_transparent = "CYCLES", 4, True
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    scene.frame_start, scene.frame_end, scene.render.filepath = first, first + 1, f"{tmp_path}/frame_"
    bpy.ops.render.render(animation=True)
    middles = []
    for at in (first, first + 1):
        picture = bpy.data.images.load(f"{tmp_path}/frame_{at:04d}.png")
        alpha = np.array(picture.pixels[:]).reshape(32, 48, 4)[..., 3]
        middles.append((alpha.sum(axis=0) * (np.arange(48) - 23.5)).sum() / alpha.sum() / 10)
    # The spokes' middle turns by a quarter meanwhile, from x = 0.13 to 0.03, and goes one to the right.
    assert middles[0] == pytest.approx(0.13, abs=0.08) and middles[1] - middles[0] == pytest.approx(0.9, abs=0.1)
    assert bpy.ops.legs4d.bake(filepath=str(tmp_path / "native.blend")) == {"FINISHED"}
    x = []
    for number in range(2):
        content = (tmp_path / "native_points" / f"{number:06d}.ply").read_bytes()
        head, body = content.split(b"end_header\n")
        names = [line.split()[-1].decode() for line in head.splitlines() if line.startswith(b"property")]
        x.append(np.frombuffer(body, "<f4").reshape(3, len(names))[:, names.index("x")])
    np.testing.assert_allclose(x[0], [0.8, 0, -0.4], atol=1e-5)
    np.testing.assert_allclose(x[1], [1, 0.5, 1.6], atol=1e-5)
