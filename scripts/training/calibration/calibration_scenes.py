"""Small scenes to calibrate encoders that see on, and rules of motion, filmed by Blender; none has what the demo has.

    .venv-blender/bin/python scripts/training/calibration/calibration_scenes.py out/calibration

Each becomes a dataset in a folder of its own, with `events.json`: what happens when, in several wordings, and what does
not happen at all. `scripts/training/tiny/calibrate.py` asks them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

SCRIPTS = Path(__file__).resolve().parents[2]
sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository
from demo.figure import Pose, build_figure, pose_along, pose_rotations, smooth
from demo.in_blender import enable
from demo.room import add_mesh, ball, box, matte, patterned

NUM_FRAMES, FPS = 24, 12
WIDTH, HEIGHT, SAMPLES = 160, 120, 8
NUM_TRAIN, NUM_TEST = 8, 1
CENTER, RADIUS, ARC = (0.0, 0.0, 0.8), 3.4, math.radians(150)
LOWEST, HIGHEST, ANGLE = math.radians(12), math.radians(28), math.radians(58)

DOORWAY = (-0.45, 1.3)

Vector = tuple[float, float, float]
STILL: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class State:
    """Where an actor is at a time: metres, radians, and how large."""

    place: Vector
    turn: Vector = STILL
    size: float = 1.0
    pose: Pose | None = None


@dataclass(frozen=True)
class Actor:
    """What moves.

    Attributes:
        make: the object, in the scene's collection.
        at: where it is at a frame counted from 0.
        start, end: first and last frame in which it does what it does.
        wordings: of that; empty where nobody asks.
    """

    make: Callable[[bpy.types.Collection], bpy.types.Object]
    at: Callable[[float], State]
    start: int
    end: int
    wordings: tuple[str, ...]


def share(time: float, start: int, end: int) -> float:
    """How much of an act is done: it moves in each of its frames."""
    return float(np.clip((time - start + 1) / (end - start + 1), 0, 1))


def frustum(
    name: str, radii: tuple[float, float], height: float, material: bpy.types.Material, where: bpy.types.Collection
) -> bpy.types.Object:
    """Standing on its origin; a cylinder, or a cone."""
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = np.stack([np.cos(turns), np.sin(turns), 0 * turns], axis=1)
    points = np.concatenate([ring * radii[0], ring * radii[1] + [0, 0, height]])
    faces = [[i, (i + 1) % 24, 24 + (i + 1) % 24, 24 + i] for i in range(24)]
    return add_mesh(name, points, [*faces, [*range(24)][::-1], [*range(24, 48)]], material, where, smooth=False)


def figure(name: str, shirt: Vector, trousers: Vector) -> Callable[[bpy.types.Collection], bpy.types.Object]:
    def make(where: bpy.types.Collection) -> bpy.types.Object:
        colors = {"skin": (0.62, 0.36, 0.24), "hair": (0.30, 0.20, 0.06), "shirt": shirt, "trousers": trousers}
        materials = {key: matte(f"{name} {key}", color) for key, color in colors.items()}
        return build_figure(name, materials | {"shoes": matte("shoes", (0.04, 0.04, 0.05))}, where)

    return make


def striped(one: Vector, other: Vector) -> bpy.types.Material:
    return patterned("striped", [one, other], "WAVE_X", (1, 1, 1))


def door(where: bpy.types.Collection) -> bpy.types.Object:
    """White, with a knob, hinged at its left in a frame in a wall of its own."""
    x, y = DOORWAY
    wall, frame = matte("partition", (0.30, 0.34, 0.42)), matte("frame", (0.20, 0.10, 0.05))
    for side in (x - 0.55, x + 0.9 + 0.55):
        box("partition", (1.0, 0.12, 2.0), (side, y, 1.0), wall, where)
    for side in (x - 0.03, x + 0.93):
        box("post", (0.06, 0.16, 1.86), (side, y, 0.93), frame, where)
    box("lintel", (1.02, 0.16, 0.08), (x + 0.45, y, 1.86), frame, where)
    made = box("c", (0.9, 0.05, 1.8), STILL, matte("c", (0.85, 0.85, 0.80)), where)
    for vertex in made.data.vertices:  # the origin becomes the hinge's foot
        vertex.co.x += 0.45
        vertex.co.z += 0.92
    knob = ball("knob", 0.05, (0.82, -0.06, 0.95), matte("brass", (0.8, 0.6, 0.2)), where, segments=12)
    knob.parent = made
    return made


def waving(time: float) -> State:
    lifted = smooth(float(np.clip(min(time - 6, 17 - time) / 2, 0, 1)))
    hand = (0.12, -0.42 + 0.18 * math.sin(1.9 * time), 1.78)
    pose = Pose().mixed(Pose(right=hand), lifted)
    return State((-1.15, -0.3, 0), (0, 0, -1.2), pose=pose)


def bowing(time: float) -> State:
    bent = smooth(float(np.clip(min(time - 8, 18 - time) / 4.5, 0, 1)))
    return State((1.1, 0.1, 0), (0, 0, -2.0), pose=Pose().mixed(Pose(lean=1.0, nod=0.9, hips=(-0.12, 0, -0.02)), bent))


def jumping(time: float) -> State:
    up = share(time, 12, 18)
    crouch, height = math.sin(2 * math.pi * up) ** 2 * 0.12, max(0.0, 0.5 * math.sin(math.pi * up))
    pose = Pose(hips=(0, 0, -crouch), left=(0.2, 0.35, 1.1), right=(0.2, -0.35, 1.1))
    return State((-1.0, 0.2, height), (0, 0, -1.0), pose=Pose().mixed(pose, min(up * 9, 1)))


def bouncing(time: float) -> State:
    height = 0.18 + abs(math.cos(math.pi * time / 4.4)) * 0.9 * max(0.0, 1 - time / 14)
    return State((-0.9, 0.5, max(0.18, height)))


def rolling(time: float) -> State:
    path = 1.9 * share(time, 0, 11)
    return State((-0.9 + path, -0.75, 0.2), (0, path / 0.2, 0))


def toppling(time: float) -> State:
    over = smooth(share(time, 4, 10)) ** 1.5
    return State((0.8, 0.7, 0), (0, 1.5708 * over, 0))


def falling(time: float) -> State:
    """From a shelf that nobody sees."""
    down = max(0.0, min(time - 4, 7.0)) / FPS
    return State((0.15, 0.7, max(0.2, 1.75 - 0.5 * 9.8 * 0.85 * down * down)), (0, 0, 0.4))


def shaking(time: float) -> State:
    on = float(time <= 9)
    return State((0.9, -0.5, 0.2), (0, 0.18 * on * math.sin(2.4 * time), 0.2 + 0.25 * on * math.sin(2.1 * time + 1)))


THROWER, PICKER = ((-1.15, -0.2, 0.0), 0.25), ((0.75, 0.75, 0.0), -2.2)
"""Place and turn."""
RELEASE, LANDING, GRASP = 9.0, 16.0, 12.5
"""Times."""
APART = 0.13
"""Hands, from the middle of what they hold."""
HOLDS = Pose.reaching(0.34, 1.12, APART)
THROWS = [
    (4.0, HOLDS),
    (6.5, Pose.reaching(0.27, 0.92, APART, lean=0.15, hips=(0, 0, -0.05))),
    (RELEASE, Pose.reaching(0.46, 1.46, APART, lean=-0.05)),
    (13.0, Pose()),
]
PICKS_UP = [
    (8.5, Pose()),
    (GRASP, Pose.reaching(0.42, 0.28, APART, lean=0.95, nod=-0.2, hips=(-0.12, 0, -0.36))),
    (16.0, HOLDS),
]


def in_hands(who: tuple[Vector, float], pose: Pose) -> Vector:
    """Between both hands, metres of the scene."""
    place, turn = who
    x, y, z = pose.between_hands.tolist()
    c, s = math.cos(turn), math.sin(turn)
    return (place[0] + c * x - s * y, place[1] + s * x + c * y, place[2] + z)


def thrown(time: float) -> State:
    """In hands, through the air, on the floor."""
    place = in_hands(THROWER, pose_along(THROWS, min(time, RELEASE)))
    aloft = (min(time, LANDING) - RELEASE) / FPS
    if aloft <= 0:
        return State(place, (0, 0, 0.3))
    whole, low = (LANDING - RELEASE) / FPS, 0.13
    climb = (low - place[2]) / whole + 0.5 * 9.8 * whole
    height = place[2] + climb * aloft - 0.5 * 9.8 * aloft**2
    c, s = math.cos(THROWER[1]), math.sin(THROWER[1])
    return State((place[0] + 2.2 * aloft * c, place[1] + 2.2 * aloft * s, height), (0, 0, 0.3))


def picked_up(time: float) -> State:
    """On the floor, then in hands."""
    place, grasped = (np.array(in_hands(PICKER, pose_along(PICKS_UP, t))) for t in (max(time, GRASP), GRASP))
    return State(tuple((place - [0, 0, grasped[2]]).tolist()))


def at(who: tuple[Vector, float], keys: list[tuple[float, Pose]]) -> Callable[[float], State]:
    """Somebody who stays there and moves from pose to pose."""
    return lambda time: State(who[0], (0, 0, who[1]), pose=pose_along(keys, time))


PASSER, RECEIVER = ((-1.15, 0.45, 0.0), -0.12), ((0.95, 0.2, 0.0), 3.02)
LET_GO, CAUGHT = 9.0, 15.0
WIDE = 0.16
PASSES = [
    (4.0, Pose.reaching(0.30, 1.05, WIDE)),
    (6.0, Pose.reaching(0.24, 1.20, WIDE, lean=-0.08)),
    (LET_GO, Pose.reaching(0.52, 1.32, WIDE, lean=0.12)),
    (13.0, Pose()),
]
RECEIVES = [
    (8.0, Pose()),
    (13.0, Pose.reaching(0.50, 1.24, WIDE, lean=0.05)),
    (CAUGHT, Pose.reaching(0.48, 1.20, WIDE)),
    (18.0, Pose.reaching(0.32, 1.08, WIDE, lean=-0.04)),
]


def passed(time: float) -> State:
    """From hands to hands, turning slowly on its way."""
    leaves, comes = in_hands(PASSER, pose_along(PASSES, LET_GO)), in_hands(RECEIVER, pose_along(RECEIVES, CAUGHT))
    part, whole = (time - LET_GO) / (CAUGHT - LET_GO), (CAUGHT - LET_GO) / FPS
    if part <= 0:
        return State(in_hands(PASSER, pose_along(PASSES, time)))
    if part >= 1:
        return State(in_hands(RECEIVER, pose_along(RECEIVES, time)), (0.9, 0, 0))
    x, y, z = ((1 - part) * one + part * other for one, other in zip(leaves, comes, strict=True))
    return State((x, y, z + 0.5 * 9.8 * whole**2 * part * (1 - part)), (0.9 * part, 0, 0))


SCENES: dict[str, tuple[tuple[Vector, Vector], list[Actor]]] = {
    "yard": (
        ((0.30, 0.32, 0.30), (0.62, 0.50, 0.36)),
        [
            Actor(
                lambda w: ball("a", 0.2, STILL, striped((0.9, 0.7, 0.02), (0.5, 0.3, 0.0)), w),
                rolling, 0, 11,
                ("a ball rolling", "a yellow ball rolling on the floor", "a ball rolls along"),
            ),
            Actor(
                lambda w: box("b", (0.5, 0.4, 0.45), STILL, matte("b", (0.05, 0.45, 0.08)), w),
                lambda t: State((-0.4 + 1.2 * share(t, 12, 21), 0.95, 0.225)), 12, 21,
                ("a box sliding", "a green box moving sideways", "a box slides across the floor"),
            ),
            Actor(
                figure("c", (0.85, 0.32, 0.02), (0.05, 0.05, 0.2)), waving, 7, 16,
                ("a man waving", "a person waving a hand", "a man in an orange shirt waves"),
            ),
            Actor(
                lambda w: frustum("d", (0.16, 0.16), 0.7, matte("d", (0.4, 0.4, 0.42)), w), toppling, 4, 10,
                ("a cylinder toppling over", "a gray cylinder falling over", "a cylinder tips over"),
            ),
        ],
    ),
    "hall": (
        ((0.45, 0.28, 0.22), (0.35, 0.45, 0.60)),
        [
            Actor(
                lambda w: ball("a", 0.18, STILL, matte("a", (0.03, 0.12, 0.8)), w), bouncing, 0, 13,
                ("a ball bouncing", "a blue ball bouncing up and down", "a ball bounces"),
            ),
            Actor(
                figure("b", (0.30, 0.04, 0.45), (0.30, 0.04, 0.45)), bowing, 9, 17,
                ("a woman bowing", "a person bending forward", "a woman in a purple dress bows"),
            ),
            Actor(
                door, lambda t: State((*DOORWAY, 0), (0, 0, -1.3 * (1 - share(t, 6, 14)))), 6, 14,
                ("a door closing", "a white door closing", "a door shuts"),
            ),
            Actor(
                lambda w: ball("d", 0.24, STILL, matte("d", (0.9, 0.30, 0.45)), w, (0.85, 0.85, 1.1)),
                lambda t: State((0.35, -0.5, 0.3 + 1.35 * share(t, 13, 23))), 13, 23,
                ("a balloon rising", "a pink balloon going up", "a balloon rises into the air"),
            ),
        ],
    ),
    "shed": (
        ((0.20, 0.24, 0.34), (0.52, 0.56, 0.44)),
        [
            Actor(
                lambda w: box("a", (0.4, 0.4, 0.4), STILL, matte("a", (0.30, 0.14, 0.05)), w), falling, 5, 10,
                ("a box falling", "a brown box falling down", "a box drops to the floor"),
            ),
            Actor(
                lambda w: box("b", (0.5, 0.16, 0.6), STILL, matte("b", (0.9, 0.4, 0.02)), w),
                lambda t: State((0.2, -0.7, 0.3), (0, 0, 0.3 + 2.6 * share(t, 8, 18))), 8, 18,
                ("a box spinning", "an orange box turning around", "a box rotates"),
            ),
            Actor(
                figure("c", (0.06, 0.35, 0.10), (0.30, 0.28, 0.22)), jumping, 12, 18,
                ("a man jumping", "a person jumping up", "a man in a green shirt jumps"),
            ),
            Actor(
                lambda w: frustum("d", (0.24, 0.02), 0.55, matte("d", (0.75, 0.05, 0.05)), w), shaking, 0, 9,
                ("a cone shaking", "a red cone wobbling", "a cone shakes"),
            ),
        ],
    ),
    "lawn": (
        ((0.22, 0.38, 0.16), (0.58, 0.56, 0.50)),
        [
            Actor(
                lambda w: box("a", (0.26, 0.26, 0.26), STILL, matte("a", (0.02, 0.5, 0.12)), w), thrown, 10, 15,
                ("a box flying", "a green box in mid-air", "a box flying through the air"),
            ),
            Actor(
                figure("b", (0.85, 0.65, 0.05), (0.85, 0.65, 0.05)), at(THROWER, THROWS), 5, 9,
                ("a woman throwing a box", "a person throws something", "a woman in a yellow dress throwing"),
            ),
            Actor(
                lambda w: frustum("c", (0.1, 0.1), 0.32, matte("c", (0.9, 0.28, 0.45)), w), picked_up, 13, 23,
                ("a cylinder held in hands", "a pink cylinder held by someone", "a cylinder being held"),
            ),
            Actor(
                figure("d", (0.35, 0.35, 0.37), (0.05, 0.05, 0.06)), at(PICKER, PICKS_UP), 9, 15,
                ("a man picking something up", "a person picks up a cylinder", "a man in gray picking up a can"),
            ),
        ],
    ),
    "court": (
        ((0.40, 0.34, 0.24), (0.40, 0.50, 0.44)),
        [
            Actor(
                lambda w: ball("a", 0.17, STILL, matte("a", (0.75, 0.10, 0.45)), w, (1.0, 1.0, 0.8)), passed, 10, 14,
                ("a cushion flying", "a pink cushion in mid-air", "a cushion flying through the air"),
            ),
            Actor(
                figure("b", (0.10, 0.45, 0.50), (0.25, 0.18, 0.10)), at(PASSER, PASSES), 5, 9,
                ("a man throwing a cushion", "a person throws something", "a man in a turquoise shirt throwing"),
            ),
            Actor(
                figure("c", (0.80, 0.78, 0.72), (0.35, 0.05, 0.08)), at(RECEIVER, RECEIVES), 14, 17,
                ("a woman catching a cushion", "a person catches something", "a woman in a white shirt catching"),
            ),
        ],
    ),
}  # fmt: skip
CALIBRATING = ("yard", "hall", "shed", "lawn")
"""Scenes on which `tiny` is calibrated; the other has a catch, for rules of motion."""
ABSENT = (
    *("a dog running", "a bird flying", "a book opening", "a car driving along", "a lamp swinging", "a chair falling"),
    *("a man throwing a ball", "a woman catching a ball", "a bottle rolling", "a ring spinning", "a plane flying"),
    *("a hammer falling", "a robot walking", "a cup falling over"),
)  # fmt: skip


def build(colors: tuple[Vector, Vector], actors: list[Actor]) -> list[bpy.types.Object]:
    """Fills the context's scene; the actors' objects."""
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, NUM_FRAMES
    scene.render.fps, scene.render.engine = FPS, "CYCLES"
    scene.view_settings.view_transform = "Standard"
    scene.cycles.max_bounces, scene.cycles.use_denoising = 0, False
    floor, wall = colors
    where = scene.collection
    ground = patterned("floor", [floor, tuple(0.8 * c for c in floor)], "CHECKER", (1, 1, 1), Scale=1.5)
    paper = patterned("wall", [wall, tuple(0.9 * c for c in wall)], "NOISE", (1, 1, 1), Scale=2.0)
    box("floor", (7, 7, 0.1), (0, 0, -0.05), ground, where)
    for place, size in (((0, 2.4, 1.5), (7, 0.1, 3)), ((-3.4, 0, 1.5), (0.1, 7, 3)), ((3.4, 0, 1.5), (0.1, 7, 3))):
        box("wall", size, place, paper, where)
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy, sun.rotation_euler = 2.2, (0.5, 0.3, 0.4)
    where.objects.link(sun)
    world = bpy.data.worlds.new("Sky")
    world.node_tree.nodes["Background"].inputs[0].default_value = (0.7, 0.72, 0.75, 1)
    world.cycles_visibility.diffuse = False
    scene.world = world
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    where.objects.link(camera)
    scene.camera = camera
    made = []
    for actor in actors:
        thing = actor.make(where)
        for frame in range(NUM_FRAMES):
            _key(thing, actor.at(float(frame)), frame + 1)
        made.append(thing)
    return made


def _key(thing: bpy.types.Object, state: State, frame: int) -> None:
    thing.location, thing.rotation_euler, thing.scale = state.place, state.turn, (state.size,) * 3
    for path in ("location", "rotation_euler", "scale"):
        thing.keyframe_insert(path, frame=frame)
    if state.pose is None:
        return
    channels = pose_rotations(thing, state.pose)
    thing.pose.bones["hips"].location = channels.pop("hips location")
    thing.pose.bones["hips"].keyframe_insert("location", frame=frame)
    for name, value in channels.items():
        thing.pose.bones[name].rotation_quaternion = value
        thing.pose.bones[name].keyframe_insert("rotation_quaternion", frame=frame)


def film(folder: Path, name: str, cameras: tuple[int, int] = (NUM_TRAIN, NUM_TEST)) -> None:
    """Through the add-on's capture operator, by so many cameras to train on and held out, and what happens when."""
    colors, actors = SCENES[name]
    made = build(colors, actors)
    settings = bpy.context.scene.legs4d_capture
    for thing in made:
        settings.foreground.add().target = thing
    settings.folder = str(folder)
    settings.num_train, settings.num_test = cameras
    settings.center, settings.radius, settings.arc = CENTER, RADIUS, ARC
    settings.lowest, settings.highest, settings.angle = LOWEST, HIGHEST, ANGLE
    settings.width, settings.height, settings.samples = WIDTH, HEIGHT, SAMPLES
    bpy.ops.legs4d.capture()
    events = [
        {"object": number, "start": actor.start, "end": actor.end, "wordings": actor.wordings}
        for number, actor in enumerate(actors, 1)
    ]
    (folder / "events.json").write_text(json.dumps({"events": events, "absent": ABSENT}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", nargs="*", default=CALIBRATING, choices=list(SCENES))
    parser.add_argument(
        "--cameras", nargs=2, type=int, default=(NUM_TRAIN, NUM_TEST), metavar=("TRAIN", "TEST"), help="how many film"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        enable(Path(scratch))
        for name in chosen.scenes:
            folder = (chosen.out / name).resolve()
            if (folder / "events.json").exists():
                continue
            bpy.ops.wm.read_factory_settings(use_empty=True)
            bpy.ops.preferences.addon_enable(module="blender_addon")
            film(folder, name, tuple(chosen.cameras))
            print(f"{name}: in {folder}", flush=True)
        bpy.ops.preferences.addon_disable(module="blender_addon")


if __name__ == "__main__":
    main()
