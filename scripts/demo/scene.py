"""The demo scene, built in code: two figures throw and catch a ball, a box spins for a while, a door opens.

`build()` fills a scene of `bpy`. Every action of every object is one NLA strip that is named after what happens, so
that the add-on's capture reads the captions, and the demo the true intervals, from the animation itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[1:3])  # scripts/ and the repository
from demo.figure import Pose, build_figure, pose_along, pose_rotations
from demo.room import DOOR_HEIGHT, DOOR_LEFT, DOOR_WIDTH, NORTH, ball, box, build_room, matte, patterned

FIRST_FRAME, NUM_FRAMES, FPS = 1, 24, 12
BALL_RADIUS = 0.19

THROWER_X, CATCHER_X = -1.0, 1.0
RELEASED, CAUGHT = 7, 15
"""Frames, counted from 0, at which the ball leaves the hands and at which it is in hands again."""


@dataclass(frozen=True)
class Act:
    """What an object does from frame `start` to `end`, both included, counted from 0."""

    start: int
    end: int
    text: str


ACTS: dict[str, list[Act]] = {
    "a man in a blue shirt": [
        Act(0, 3, "standing and holding a ball"),
        Act(4, 8, "throwing a ball with both arms"),
        Act(9, 23, "standing and watching"),
    ],
    "a woman in a green dress": [
        Act(0, 11, "waiting with her arms down"),
        Act(12, 16, "catching a ball with both hands"),
        Act(17, 23, "holding a ball to her chest"),
    ],
    "a red ball": [
        Act(0, 6, "held in a man's hands"),
        Act(7, 14, "flying through the air"),
        Act(15, 23, "held in a woman's hands"),
    ],
    "a wooden box": [
        Act(0, 8, "standing still on a pedestal"),
        Act(9, 18, "spinning around"),
        Act(19, 23, "standing still on a pedestal"),
    ],
    "a door": [Act(0, 11, "that is closed"), Act(12, 20, "opening"), Act(21, 23, "that stands open")],
}
"""Object → its acts, one after the other; the objects' ids in the capture are their positions here, from 1."""

PROMPTS = {
    "a ball flying through the air": ("a red ball", 1),
    "a box spinning around": ("a wooden box", 1),
    "a door opening": ("a door", 1),
}
"""Prompt → the object and the number of the act that it means: the demo's ground truth."""


def build(scene: bpy.types.Scene | None = None) -> bpy.types.Scene:
    """Fills `scene` (the context's by default), which should be empty, and returns it."""
    scene = scene or bpy.context.scene
    scene.frame_start, scene.frame_end = FIRST_FRAME, FIRST_FRAME + NUM_FRAMES - 1
    scene.render.fps = FPS
    scene.view_settings.view_transform = "Standard"
    scene.render.engine = "CYCLES"
    scene.cycles.max_bounces = 0
    scene.cycles.use_denoising = False
    scene.cycles.use_adaptive_sampling = scene.cycles.use_light_tree = False  # two suns, few samples: quicker without
    _background(scene)
    room = bpy.data.collections.new("Room")
    actors = bpy.data.collections.new("Actors")
    for collection in (room, actors):
        scene.collection.children.link(collection)
    build_room(room)
    _figures(actors)
    _ball(actors)
    _box(actors)
    _door(actors)
    _camera(scene)
    scene.frame_set(FIRST_FRAME)
    return scene


def _background(scene: bpy.types.Scene) -> None:
    world = bpy.data.worlds.new("Sky")
    world.node_tree.nodes["Background"].inputs[0].default_value = (0.55, 0.68, 0.85, 1)
    scene.world = world
    # The sky is seen, but lights nothing: the ambient share of the materials stands for it, without noise.
    world.cycles_visibility.diffuse = False


def _camera(scene: bpy.types.Scene) -> None:
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    camera.location, camera.rotation_euler = (0.0, -3.35, 1.75), (1.36, 0, 0)
    camera.data.lens_unit, camera.data.angle = "FOV", 1.15
    scene.camera = camera


# Motion. Time is counted in frames from 0. At 12 frames a second nothing may be thrown hard: a tracker has to find a
# thing again a few of its own radii away at most.


def _reaching(x: float, z: float, **rest: float | tuple[float, float, float]) -> Pose:
    """Both hands around a ball whose centre is `x` ahead and `z` up."""
    return Pose.reaching(x, z, BALL_RADIUS * 0.95, **rest)


HANDS_DOWN = Pose()
THROW = [
    (0.0, _reaching(0.40, 1.14)),
    (4.5, _reaching(0.32, 1.42, lean=-0.08, hips=(-0.02, 0, -0.02), step=0.2, nod=-0.1)),
    (7.0, _reaching(0.52, 1.50, lean=0.16, hips=(0.06, 0, -0.03), step=0.2, nod=0.05)),
    (9.0, _reaching(0.48, 1.36, lean=0.10, hips=(0.04, 0, -0.02), step=0.2)),
    (16.0, HANDS_DOWN),
    (23.0, Pose(nod=-0.06)),
]
CATCH = [
    (0.0, HANDS_DOWN),
    (5.0, Pose(nod=-0.1)),
    (14.0, _reaching(0.50, 1.46, lean=0.05, hips=(0.02, 0, -0.02), nod=-0.1)),
    (15.0, _reaching(0.50, 1.45, lean=0.05, hips=(0.02, 0, -0.02), nod=-0.1)),
    (20.0, _reaching(0.38, 1.16, lean=-0.04, hips=(-0.03, 0, -0.03), step=0.1)),
]


def _ball_position(time: float) -> np.ndarray:
    """[3] where the ball's centre is: between the hands that hold it, or on its parabola."""
    if time < RELEASED:
        return _between_hands(THROW, time, THROWER_X, 1)
    if time >= CAUGHT:
        return _between_hands(CATCH, time, CATCHER_X, -1)
    first = _between_hands(THROW, RELEASED, THROWER_X, 1)
    last = _between_hands(CATCH, CAUGHT, CATCHER_X, -1)
    share = (time - RELEASED + 0.5) / (CAUGHT - RELEASED + 0.5)
    return first + (last - first) * share + np.array([0, 0, 4 * 0.2 * share * (1 - share)])


def _between_hands(keys: list[tuple[float, Pose]], time: float, x: float, direction: int) -> np.ndarray:
    middle = pose_along(keys, time).between_hands
    return np.array([x + direction * (middle[0] + 0.05), 0.0, middle[2]])


# Actors: objects and their NLA strips.


def _figures(collection: bpy.types.Collection) -> None:
    skin = matte("skin", (0.78, 0.47, 0.32))
    for name, keys, x, turn, shades in (
        ("a man in a blue shirt", THROW, THROWER_X, 0.0, ((0.06, 0.20, 0.62), (0.12, 0.11, 0.10), (0.10, 0.06, 0.03))),
        (
            "a woman in a green dress",
            CATCH,
            CATCHER_X,
            np.pi,
            ((0.08, 0.46, 0.18), (0.06, 0.34, 0.14), (0.36, 0.16, 0.04)),
        ),
    ):
        shirt, trousers, hair = shades
        materials = {
            "skin": skin,
            "hair": matte("hair", hair),
            "shirt": patterned("shirt", [shirt, tuple(1.35 * c for c in shirt)], "WAVE_X", (0, 0, 1), Scale=2.4),
            "trousers": matte("trousers", trousers),
            "shoes": matte("shoes", (0.55, 0.52, 0.48)),
        }
        materials["shirt"].node_tree.nodes["Wave Texture"].bands_direction = "Z"
        figure = build_figure(name, materials, collection)
        figure.location.x, figure.rotation_euler.z = x, turn
        _animate(figure, lambda time, f=figure, k=keys: _pose_channels(f, pose_along(k, time)))  # type: ignore[misc]


def _pose_channels(figure: bpy.types.Object, pose: Pose) -> dict[str, np.ndarray]:
    channels = pose_rotations(figure, pose)
    location = channels.pop("hips location")
    paths = {f'pose.bones["{bone}"].rotation_quaternion': value for bone, value in channels.items()}
    return paths | {'pose.bones["hips"].location': location}


def _ball(collection: bpy.types.Collection) -> None:
    leather = patterned("ball", [(0.75, 0.04, 0.03), (0.92, 0.80, 0.70)], "WAVE_X", (1, 1, 1), Scale=1.0)
    made = ball("a red ball", BALL_RADIUS, (0, 0, 0), leather, collection)
    flight = CAUGHT - RELEASED

    def channels(time: float) -> dict[str, np.ndarray]:
        roll = 1.2 * float(np.clip((time - RELEASED) / flight, 0, 1))
        return {"location": _ball_position(time), "rotation_euler": np.array([0.0, roll, 0.0])}

    _animate(made, channels)


def _box(collection: bpy.types.Collection) -> None:
    pedestal = patterned("pedestal", [(0.45, 0.45, 0.48), (0.58, 0.57, 0.56)], "NOISE", (1, 1, 1), Scale=3.0)
    box("pedestal", (0.5, 0.5, 0.36), (0, -1.05, 0.18), pedestal, collection, bevel=0.03)
    made = box("a wooden box", (0.46, 0.46, 0.40), (0, -1.05, 0.58), matte("box", (0.80, 0.52, 0.16)), collection)
    sides = [(0.80, 0.52, 0.16), (0.12, 0.36, 0.62), (0.74, 0.14, 0.20), (0.16, 0.52, 0.30), (0.86, 0.80, 0.62)]
    for color in sides[1:]:
        made.data.materials.append(matte("box", color))
    for polygon, slot in zip(made.data.polygons, (0, 0, 1, 2, 3, 4), strict=True):
        polygon.material_index = slot
    _animate(made, lambda time: {"rotation_euler": np.array([0, 0, 0.35 + 1.9 * _share(ACTS[made.name][1], time)])})


def _door(collection: bpy.types.Collection) -> None:
    wood = patterned("door paint", [(0.05, 0.20, 0.27), (0.08, 0.27, 0.34)], "WAVE_X", (1, 1, 1), Scale=1.1)
    made = box("a door", (DOOR_WIDTH, 0.06, DOOR_HEIGHT), (0, 0, 0), wood, collection)
    for vertex in made.data.vertices:  # the origin becomes the hinge
        vertex.co.x += DOOR_WIDTH / 2
        vertex.co.z += DOOR_HEIGHT / 2
    made.location = (DOOR_LEFT, NORTH - 0.12, 0)
    panel = matte("door panel", (0.72, 0.60, 0.36))
    for i, z in enumerate((0.55, 1.45)):
        inlay = box(f"door panel {i + 1}", (0.62, 0.075, 0.66), (DOOR_WIDTH / 2, 0, z), panel, collection)
        inlay.parent = made
    knob = ball(
        "door knob", 0.05, (DOOR_WIDTH - 0.09, -0.06, 1.0), matte("brass", (0.9, 0.75, 0.3)), collection, segments=12
    )
    knob.parent = made
    _animate(made, lambda time: {"rotation_euler": np.array([0, 0, -1.15 * _share(ACTS[made.name][1], time)])})


def _share(act: Act, time: float) -> float:
    """How much of an act is done: it moves in each of its frames, the first included."""
    return float(np.clip((time - act.start + 1) / (act.end - act.start + 1), 0, 1))


def _animate(owner: bpy.types.Object, channels_at: Callable[[float], dict[str, np.ndarray]]) -> None:
    """One NLA strip per act of `owner`, keyed on every frame from a function of time."""
    track = owner.animation_data_create().nla_tracks.new()
    track.name = "Acts"
    for act in ACTS[owner.name]:
        times = range(act.start, act.end + 1)
        action = _keyed_action(owner, act.text, times, [channels_at(float(time)) for time in times])
        strip = track.strips.new(act.text, FIRST_FRAME + act.start, action)
        strip.name = act.text
        strip.action_slot = action.slots[0]
        strip.extrapolation = "HOLD_FORWARD" if act.start else "HOLD"


def _keyed_action(
    owner: bpy.types.Object, name: str, times: Iterable[int], samples: list[dict[str, np.ndarray]]
) -> bpy.types.Action:
    action = bpy.data.actions.new(name)
    owner.animation_data.action = action
    frames = np.array([FIRST_FRAME + t for t in times], dtype=np.float32)
    for path in samples[0]:
        values = np.array([sample[path] for sample in samples], dtype=np.float32)
        for index in range(values.shape[1]):
            curve = action.fcurve_ensure_for_datablock(owner, path, index=index)
            curve.keyframe_points.add(len(frames))
            curve.keyframe_points.foreach_set("co", np.stack([frames, values[:, index]], axis=1).ravel())
            curve.keyframe_points.foreach_set("interpolation", [1] * len(frames))
            curve.update()
    owner.animation_data.action = None
    return action


if __name__ == "__main__":
    bpy.ops.wm.read_factory_settings(use_empty=True)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help=".blend to save it as")
    # Blender's own options stand before "--"
    chosen = parser.parse_args(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else None)
    build()
    if chosen.file:
        bpy.ops.wm.save_as_mainfile(filepath=str(chosen.file.resolve()))
