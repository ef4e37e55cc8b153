"""What the user sets for a capture, kept in the scene: `scene.legs4d_capture`."""

from __future__ import annotations

import math

import bpy

from .. import declare

TURN = 2 * math.pi


class ForegroundItem(bpy.types.PropertyGroup):
    """An object that moves, with everything parented to it. Its id in the masks is its place in the list, from 1."""

    target = declare.pointer(bpy.types.Object, "Object", "An object that moves; its children count as part of it")


class CaptionItem(bpy.types.PropertyGroup):
    """What an object does for some frames."""

    target = declare.pointer(bpy.types.Object, "Object", "Who does it; empty for the surroundings")
    start = declare.integer("Start", "First frame of the scene in which it happens")
    end = declare.integer("End", "Last frame of the scene in which it happens")
    text = declare.string("Caption", "What it does, in words: 'a ball flying through the air'")


class CaptureSettings(bpy.types.PropertyGroup):
    """Settings of "Capture this scene"."""

    folder = declare.string(
        "Folder", "Where the dataset goes; empty: the folder 'capture' beside the saved file", subtype="DIR_PATH"
    )
    overwrite = declare.boolean("Overwrite", "Replace a capture that is already in the folder")
    arrangement = declare.enum(
        "Cameras",
        "How the cameras stand",
        [
            ("DOME", "Dome", "Spread over a band of a sphere around the center"),
            ("RING", "Ring", "On a level circle around the center"),
            ("PATH", "Path", "Evenly spaced along a curve, looking at the center"),
        ],
    )
    path = declare.pointer(
        bpy.types.Object,
        "Path",
        "The curve along which the cameras stand",
        poll=lambda _, candidate: candidate.type == "CURVE",
    )
    is_one = declare.boolean(
        "One Moving Camera",
        "Film with a single camera that goes from place to place of the arrangement, one in each frame",
    )
    num_train = declare.integer("Training", "Cameras to learn from", default=16, min=1, max=250)
    num_test = declare.integer("Test", "Cameras kept out of training, to judge it by", default=2, min=0, max=50)
    center = declare.vector("Center", "What all cameras look at", subtype="TRANSLATION", default=(0.0, 0.0, 1.0))
    radius = declare.number(
        "Radius", "Distance of the cameras from the center", subtype="DISTANCE", default=4.0, min=0.01
    )
    arc = declare.angle("Arc", "How far around the center the cameras go", default=TURN, min=0.0, max=TURN)
    facing = declare.angle(
        "Middle", "Direction of the middle camera, seen from the center, counted from X towards Y", default=-math.pi / 2
    )
    lowest = declare.angle(
        "Lowest", "Elevation of the lowest cameras", default=math.radians(10), min=-math.pi / 2, max=math.pi / 2
    )
    highest = declare.angle(
        "Highest",
        "Elevation of the highest cameras of a dome",
        default=math.radians(40),
        min=-math.pi / 2,
        max=math.pi / 2,
    )
    angle = declare.angle(
        "Field of View", "Of all cameras, across", default=math.radians(60), min=math.radians(1), max=math.radians(170)
    )
    width = declare.integer("Width", subtype="PIXEL", default=640, min=16, max=8192)
    height = declare.integer("Height", subtype="PIXEL", default=480, min=16, max=8192)
    use_scene_range = declare.boolean("Scene's Frame Range", "Capture from the scene's start to its end", default=True)
    frame_start = declare.integer("Start", "First frame to capture", default=1)
    frame_end = declare.integer("End", "Last frame to capture", default=24)
    samples = declare.integer(
        "Samples", "Render samples per pixel; 0 uses the scene's own", default=0, min=0, max=65536
    )
    image_format = declare.enum("Images", items=[("PNG", "PNG", "Lossless"), ("JPEG", "JPEG", "Smaller, quality 95")])
    initial_points = declare.integer(
        "Initial Points",
        "Most points of a first cloud for training, taken from the first frame's depth; 0 for none",
        default=40_000,
        min=0,
        max=2_000_000,
    )
    foreground = declare.collection(ForegroundItem)
    foreground_index = declare.integer()
    captions = declare.collection(CaptionItem)
    captions_index = declare.integer()
    train_afterwards = declare.boolean("Train Afterwards", "Hand the finished dataset to the backend for training")
    progress = declare.factor()
    message = declare.string()


CLASSES = (ForegroundItem, CaptionItem, CaptureSettings)


def settings_of(scene: bpy.types.Scene) -> CaptureSettings:
    """The scene's settings: Blender has them as `scene.legs4d_capture`."""
    return scene.legs4d_capture  # type: ignore[attr-defined]
