"""The look: soft ellipsoids against float64 compositing of the same Gaussians, and what layers do to them."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from conftest import ANGLE, DISTANCE, SIZE
from pictures import linear, psnr, srgb


def rotations(quats: np.ndarray) -> np.ndarray:
    """[N, 3, 3] of unit quaternions wxyz."""
    w, x, y, z = quats.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows).transpose(2, 0, 1)


def composited(gaussians: dict[str, np.ndarray]) -> np.ndarray:
    """[H, W, 4] premultiplied linear picture by the rasteriser's rules, float64, seen from -y at DISTANCE."""
    focal = SIZE / 2 / np.tan(ANGLE / 2)
    turn = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # world to OpenCV camera
    centers = gaussians["means"] @ turn.T + np.array([0, 0, DISTANCE])
    root = turn @ rotations(gaussians["quats"]) * gaussians["scales"][:, None, :]
    x, y, z = centers.T
    jacobian = np.zeros((len(z), 2, 3))
    jacobian[:, 0, 0] = jacobian[:, 1, 1] = focal / z
    jacobian[:, 0, 2], jacobian[:, 1, 2] = -focal * x / z**2, -focal * y / z**2
    spread = jacobian @ root
    precision = np.linalg.inv(spread @ spread.transpose(0, 2, 1))
    middle = np.stack([focal * x / z, focal * y / z], axis=1) + SIZE / 2
    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    picture, transmitted = np.zeros((SIZE, SIZE, 4)), np.ones((SIZE, SIZE))
    for i in np.argsort(z):
        offset = np.stack([columns, rows], axis=-1) - middle[i]
        alpha = gaussians["opacities"][i] * np.exp(-0.5 * np.einsum("hwi,ij,hwj->hw", offset, precision[i], offset))
        alpha = np.where(alpha < 1 / 255, 0, np.minimum(alpha, 0.999))
        picture += (transmitted * alpha)[..., None] * np.append(linear(gaussians["rgb"][i]), 1.0)
        transmitted *= 1 - alpha
    return picture


def some_gaussians(count: int, seed: int) -> dict[str, np.ndarray]:
    """Gaussians around the origin, each at a depth of its own, so that their order is no matter of taste."""
    rng = np.random.default_rng(seed)
    quats = rng.normal(size=(count, 4))
    means = np.stack([rng.uniform(-1, 1, count), np.linspace(-2, 2, count), rng.uniform(-1, 1, count)], axis=1)
    return {
        "means": means,
        "quats": quats / np.linalg.norm(quats, axis=1, keepdims=True),
        "scales": np.exp(rng.uniform(np.log(0.03), np.log(0.08), (count, 3))),
        "rgb": rng.uniform(0.1, 0.9, (count, 3)),
        "opacities": rng.uniform(0.3, 0.95, count),
    }


def over_black(picture: np.ndarray) -> np.ndarray:
    """sRGB-encoded RGB of an 8-bit picture with straight alpha, over black."""
    return srgb(linear(picture[..., :3]) * picture[..., 3:])


def test_soft_ellipsoids_composite_like_the_rasteriser(splats, photo) -> None:
    from blender_addon import look

    gaussians = some_gaussians(40, seed=3)
    look.sync(splats(gaussians).empty)
    expected, found = composited(gaussians), photo()
    assert psnr(over_black(found), srgb(expected[..., :3].clip(0, 1))) > 34
    assert np.abs(found[..., 3] - expected[..., 3]).mean() < 0.01


def test_colours_depend_on_the_view_as_the_harmonics_say(splats, photo) -> None:
    from blender_addon import look
    from blender_addon.portable.sh import sh_basis

    gaussians, rng = some_gaussians(40, seed=5), np.random.default_rng(6)
    gaussians["sh_rest"] = rng.uniform(-0.3, 0.3, (40, 15, 3))
    look.sync(splats(gaussians).empty)
    rays = gaussians["means"] - np.array([0, -DISTANCE, 0])
    basis = sh_basis(rays / np.linalg.norm(rays, axis=1, keepdims=True), 3)
    seen = gaussians["rgb"] + np.einsum("nk,nkc->nc", basis, gaussians["sh_rest"])
    assert np.abs(seen - gaussians["rgb"]).mean() > 0.1
    expected, found = composited({**gaussians, "rgb": seen.clip(0, 1)}), photo()
    assert psnr(over_black(found), srgb(expected[..., :3].clip(0, 1))) > 34


def test_a_captured_grey_is_the_same_grey_under_standard(splats, photo) -> None:
    from blender_addon import look

    for grey in (0.2, 0.5, 0.8):
        wall = {
            "means": np.zeros((1, 3)),
            "quats": np.array([[1.0, 0, 0, 0]]),
            "scales": np.array([[9.0, 0.05, 9.0]]),
            "rgb": np.full((1, 3), grey),
            "opacities": np.array([0.999]),
        }
        sequence = splats(wall)
        look.sync(sequence.empty)
        middle = photo(4)[SIZE // 2, SIZE // 2]
        np.testing.assert_allclose(middle[:3], grey, atol=1.5 / 255)
        look.remove(sequence.empty)
        for item in (sequence.static_object, sequence.empty):
            bpy.data.objects.remove(item)


@pytest.fixture
def pair(splats) -> object:
    """Two grey-red blobs side by side; the left one is what the layer means."""
    from blender_addon import look, names
    from blender_addon.layers import layers
    from blender_addon.sequence import highlighter

    blobs = {
        "means": np.array([[-0.7, 0.0, 0.0], [0.7, 0.0, 0.0]]),
        "quats": np.tile([1.0, 0, 0, 0], (2, 1)),
        "scales": np.full((2, 3), 0.25),
        "rgb": np.tile([0.7, 0.4, 0.4], (2, 1)),
        "opacities": np.full(2, 0.99),
    }
    sequence = splats(blobs)
    layer_id = layers.add(sequence, "the left one")
    highlighter.write_levels(sequence.static_object.data, layer_id, np.array([255, 51], np.uint8))
    sequence.empty[names.curve_property(layer_id, "active")] = 1.0
    layer = sequence.layers[0]
    layer.color, layer.threshold, layer.softness = (0.0, 0.8, 1.0), 0.5, 0.1
    look.sync(sequence.empty)
    return sequence


def blobs(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RGBA in the middles of the left and the right blob."""
    focal = SIZE / 2 / np.tan(ANGLE / 2)
    reach = round(0.7 * focal / DISTANCE)
    return picture[SIZE // 2, SIZE // 2 - reach], picture[SIZE // 2, SIZE // 2 + reach]


def saturation(color: np.ndarray) -> float:
    return float(color[:3].max() - color[:3].min())


def test_tint_colours_what_the_layer_means_and_nothing_else(pair, photo) -> None:
    left, right = blobs(photo(4))
    assert left[2] > left[0] + 0.2
    np.testing.assert_allclose(right[:3], [0.7, 0.4, 0.4], atol=0.02)


def test_desaturate_greys_the_others(pair, photo) -> None:
    pair.empty.legs4d.mode = "DESATURATE"
    left, right = blobs(photo(4))
    np.testing.assert_allclose(left[:3], [0.7, 0.4, 0.4], atol=0.02)
    assert saturation(right) < 0.02


def test_isolate_hides_the_others(pair, photo) -> None:
    pair.empty.legs4d.mode = "ISOLATE"
    left, right = blobs(photo(4))
    assert left[3] > 0.95
    assert right[3] < 0.02


def test_grades_of_everything_a_layer_and_a_selection_follow_one_another(pair, photo) -> None:
    """The left blob is graded thrice, the right once; a key counts, a disabled grade does not."""
    from blender_addon import look, names
    from blender_addon.portable import look as formulas
    from blender_addon.selection import grades, selecting

    empty = pair.empty
    empty.legs4d.mode = "NONE"
    selecting.choose_weights(pair, np.array([1.0, 0.0]))
    values = [{"exposure": 0.5}, {"hue": 1.0, "saturation": 0.5}, {"lift": (0.1, 0.0, 0.0), "gamma": (1.0, 1.5, 1.0)}]
    made = [grades.add(pair, where, pair.layers[0].layer_id) for where in ("ALL", "LAYER", "SELECTION")]
    for grade_id, told in zip(made, values, strict=True):
        for name, value in told.items():
            empty[names.grade_property(grade_id, name)] = value
    empty.keyframe_insert(names.grade_path(made[0], "exposure"), frame=1)
    empty[names.grade_property(grades.add(pair, "ALL"), "gain")] = (0.0, 0.0, 0.0)
    pair.its.grades[3].enabled = False
    look.sync(empty)
    found = blobs(photo(4))
    for color, count in zip(found, (3, 1), strict=True):
        expected = linear(np.array([[0.7, 0.4, 0.4]]))
        for told in values[:count]:
            expected = formulas.graded(formulas.NUMPY, expected, np.ones(1), formulas.Grade(**told))
        np.testing.assert_allclose(color[:3], srgb(expected[0].clip(0, 1)), atol=0.02)
    grades.remove(pair, made[1])
    look.sync(empty)
    assert made[1] not in " ".join(list(empty.keys())) and len(pair.its.grades) == 3


def test_viewports_show_the_most_important_share_and_renders_all(splats, photo) -> None:
    from blender_addon import look, names
    from blender_addon.cache import importance
    from blender_addon.sequence import attributes

    gaussians = some_gaussians(40, seed=3)
    sequence = splats(gaussians)
    cloud = sequence.static_object.data
    ranks = importance.ranks(gaussians["scales"], gaussians["opacities"])
    attributes.write(cloud, names.RANK, "FLOAT", ranks)
    look.sync(sequence.empty)
    whole = photo(4)
    sequence.empty.legs4d.detail = 0.25
    sequence.empty.legs4d.viewport = "SPLATS"
    instances = bpy.context.evaluated_depsgraph_get().object_instances
    seen = np.array([tuple(item.matrix_world.translation) for item in instances if item.is_instance])
    area = np.sort(gaussians["scales"], axis=1)[:, 1:].prod(axis=1) * gaussians["opacities"]
    expected = gaussians["means"][np.argsort(-area)[:11]]  # 0.25 of 40, and the one on the edge
    np.testing.assert_allclose(seen[np.lexsort(seen.T)], expected[np.lexsort(expected.T)], atol=1e-5)
    np.testing.assert_allclose(photo(4), whole, atol=0.02)


def test_viewports_cut_huge_splats_and_needles_and_renders_do_not(pair, photo) -> None:
    from blender_addon import look, names
    from blender_addon.sequence import attributes, viewport

    still = pair.static_object
    scales = np.array([[0.9, 0.1, 0.1], [0.5, 0.5, 0.5]], np.float32)
    attributes.write(still.data, names.SCALE, "FLOAT_VECTOR", scales)
    look.sync(pair.empty)
    whole = photo(4)
    pair.its.viewport = "SPLATS"

    def sizes() -> np.ndarray:
        """Of the two ellipsoids' axes in a viewport, of each as shares of its shortest without limits."""
        instances = bpy.context.evaluated_depsgraph_get().object_instances
        found = [tuple(item.matrix_world.to_scale()) for item in instances if item.is_instance]
        return np.sort(np.array(sorted(found, key=min)), axis=1)

    before = sizes()
    pair.its.largest = 0.3
    np.testing.assert_allclose(sizes() / before, [[1, 1, 0.3 / 0.9], [0.6, 0.6, 0.6]], rtol=1e-3)
    pair.its.largest, pair.its.slenderness = 0.0, 4.0
    np.testing.assert_allclose(sizes() / before, [[1, 1, 4 / 9], [1, 1, 1]], rtol=1e-3)
    pair.its.largest = 0.05
    np.testing.assert_allclose(viewport.shown_points(pair, still, 1)[2], 0.05, rtol=1e-5)
    np.testing.assert_allclose(photo(4), whole, atol=0.02)


def test_motion_blur_follows_the_velocity(splats, photo) -> None:
    from blender_addon import look, names
    from blender_addon.sequence import attributes

    dot = {
        "means": np.zeros((1, 3)),
        "quats": np.array([[1.0, 0, 0, 0]]),
        "scales": np.full((1, 3), 0.1),
        "rgb": np.full((1, 3), 0.5),
        "opacities": np.array([0.99]),
    }
    sequence = splats(dot)
    scene = bpy.context.scene
    scene.render.fps, scene.render.motion_blur_shutter = 10, 1.0
    velocity = np.array([[10.0, 0, 0]], np.float32)  # one unit while the shutter is open
    attributes.write(sequence.static_object.data, names.VELOCITY, "FLOAT_VECTOR", velocity)
    look.sync(sequence.empty)
    scene.render.use_motion_blur = False
    still = photo(16)[SIZE // 2, :, 3]
    scene.render.use_motion_blur = True
    moving = photo(64)[SIZE // 2, :, 3]
    way = SIZE / 2 / np.tan(ANGLE / 2) / DISTANCE  # pixels
    columns = np.arange(SIZE)
    before, after = (np.cov(columns, aweights=line) for line in (still, moving))
    assert after == pytest.approx(before + way**2 / 12, rel=0.15)
    assert moving.sum() == pytest.approx(still.sum(), rel=0.15)


def test_outline_surrounds_what_the_layer_means_and_leaves_it_as_it_is(pair, photo) -> None:
    pair.empty.legs4d.mode = "NONE"
    plain = photo(4)
    pair.empty.legs4d.mode = "OUTLINE"
    picture = photo(4)
    np.testing.assert_allclose(blobs(picture)[0][:3], [0.7, 0.4, 0.4], atol=0.06)
    np.testing.assert_allclose(picture[:, SIZE // 2 + 4 :], plain[:, SIZE // 2 + 4 :], atol=0.02)
    added = picture[:, : SIZE // 2, 3] - plain[:, : SIZE // 2, 3] > 0.2
    assert 10 < added.sum() < 200
    ring = picture[:, : SIZE // 2][added & (plain[:, : SIZE // 2, 3] < 0.1)]
    assert (ring[:, 2] > ring[:, 0]).all()  # the layer is blue


def test_an_amount_can_be_keyed(pair, photo) -> None:
    pair.empty.legs4d.mode = "NONE"
    for frame, amount in ((1, 0.0), (11, 1.0)):
        pair.empty["legs4d:desaturate"] = amount
        pair.empty.keyframe_insert('["legs4d:desaturate"]', frame=frame)
    found = []
    for frame in (1, 6, 11):
        bpy.context.scene.frame_set(frame)
        found.append(saturation(blobs(photo(4))[1]))
    assert found[0] > 0.25 and found[0] > found[1] + 0.05 > found[2] + 0.1 and found[2] < 0.02


def test_an_animators_strength_shows_at_once(pair, photo) -> None:
    from blender_addon import names

    layer_id = pair.layers[0].layer_id
    pair.empty[names.curve_property(layer_id, "strength")] = 0.0
    pair.empty.update_tag()
    left, _ = blobs(photo(4))
    np.testing.assert_allclose(left[:3], [0.7, 0.4, 0.4], atol=0.02)


def test_reordering_layers_moves_no_animation(pair) -> None:
    from blender_addon import look, names
    from blender_addon.layers import layers

    first = pair.layers[0].layer_id
    second = layers.add(pair, "another")
    look.sync(pair.empty)
    pair.layers.move(1, 0)
    look.sync(pair.empty)
    tree = pair.static_object.modifiers[look.MODIFIER].node_group
    paths = {curve.data_path: curve.driver.variables[0].targets[0].data_path for curve in tree.animation_data.drivers}
    for layer_id in (first, second):
        driven = [target for path, target in paths.items() if f'nodes["{layer_id}"]' in path]
        assert sorted(driven) == sorted(names.curve_path(layer_id, curve) for curve in ("active", "strength"))


def test_syncing_again_rebuilds_nothing(pair) -> None:
    from blender_addon import look

    tree = pair.static_object.modifiers[look.MODIFIER].node_group
    before = [node.as_pointer() for node in tree.nodes]
    pair.layers[0].threshold = 0.3
    look.sync(pair.empty)
    assert [node.as_pointer() for node in tree.nodes] == before
    assert tree.nodes[pair.layers[0].layer_id].inputs["Threshold"].default_value == pytest.approx(0.3)


def test_removing_the_look_leaves_no_nodes(pair) -> None:
    from blender_addon import look

    name = pair.static_object.modifiers[look.MODIFIER].node_group.name
    look.remove(pair.empty)
    assert look.MODIFIER not in pair.static_object.modifiers
    assert name not in bpy.data.node_groups


def test_unfit_render_settings_are_named_and_mended(addon) -> None:
    from blender_addon import look

    scene = bpy.context.scene
    scene.render.engine, scene.view_settings.view_transform = "CYCLES", "AgX"
    scene.cycles.transparent_max_bounces = 8
    assert len(look.problems(scene)) == 2
    look.prepare(scene)
    assert look.problems(scene) == []


def test_numbers_of_inputs_and_outputs_leave_out_what_a_node_hides(addon) -> None:
    from blender_addon.look import builder

    tree = bpy.data.node_groups.new("tree", "ShaderNodeTree")
    mixed = builder.mix_colors(tree, 0.25, (0.5, 0.0, 0.0, 1.0), (0.0, 0.5, 0.0, 1.0))
    given = {one.identifier: one.default_value for one in mixed.socket.node.inputs}
    assert given["Factor_Float"] == 0.25 and mixed.socket.identifier == "Result_Color"
    assert (tuple(given["A_Color"]), tuple(given["B_Color"])) == ((0.5, 0.0, 0.0, 1.0), (0.0, 0.5, 0.0, 1.0))
    turned = builder.node(tree, "ShaderNodeVectorTransform", {0: (1.0, 2.0, 3.0)})  # in 5.3 the first is hidden
    assert tuple(turned.inputs["Vector"].default_value) == (1.0, 2.0, 3.0)
