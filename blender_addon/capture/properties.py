"""What the user sets for a capture, kept in the scene: `scene.legs4d_capture`."""

from __future__ import annotations

import math

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

TURN = 2 * math.pi


class ForegroundItem(bpy.types.PropertyGroup):
    """An object that moves, with everything parented to it. Its id in the masks is its place in the list, from 1."""

    target: PointerProperty(
        name="Object", description="An object that moves; its children count as part of it", type=bpy.types.Object
    )


class CaptionItem(bpy.types.PropertyGroup):
    """What an object does for some frames."""

    target: PointerProperty(name="Object", description="Who does it; empty for the surroundings", type=bpy.types.Object)
    start: IntProperty(name="Start", description="First frame of the scene in which it happens")
    end: IntProperty(name="End", description="Last frame of the scene in which it happens")
    text: StringProperty(name="Caption", description="What it does, in words: 'a ball flying through the air'")


class CaptureSettings(bpy.types.PropertyGroup):
    """Settings of "Capture this scene"."""

    folder: StringProperty(name="Folder", description="Where the dataset goes", subtype="DIR_PATH", default="//capture")
    overwrite: BoolProperty(name="Overwrite", description="Replace a capture that is already in the folder")
    arrangement: EnumProperty(
        name="Cameras",
        description="How the cameras stand",
        items=[
            ("DOME", "Dome", "Spread over a band of a sphere around the centre"),
            ("RING", "Ring", "On a level circle around the centre"),
            ("PATH", "Path", "Evenly spaced along a curve, looking at the centre"),
        ],
    )
    path: PointerProperty(
        name="Path",
        description="The curve along which the cameras stand",
        type=bpy.types.Object,
        poll=lambda _, candidate: candidate.type == "CURVE",
    )
    num_train: IntProperty(name="Training", description="Cameras to learn from", default=16, min=1, max=250)
    num_test: IntProperty(
        name="Test", description="Cameras kept out of training, to judge it by", default=2, min=0, max=50
    )
    center: FloatVectorProperty(
        name="Centre", description="What all cameras look at", subtype="TRANSLATION", default=(0.0, 0.0, 1.0)
    )
    radius: FloatProperty(
        name="Radius", description="Distance of the cameras from the centre", subtype="DISTANCE", default=4.0, min=0.01
    )
    arc: FloatProperty(
        name="Arc",
        description="How far around the centre the cameras go",
        subtype="ANGLE",
        default=TURN,
        min=0.0,
        max=TURN,
    )
    facing: FloatProperty(
        name="Middle",
        description="Direction of the middle camera, seen from the centre, counted from X towards Y",
        subtype="ANGLE",
        default=-math.pi / 2,
    )
    lowest: FloatProperty(
        name="Lowest",
        description="Elevation of the lowest cameras",
        subtype="ANGLE",
        default=math.radians(10),
        min=-math.pi / 2,
        max=math.pi / 2,
    )
    highest: FloatProperty(
        name="Highest",
        description="Elevation of the highest cameras of a dome",
        subtype="ANGLE",
        default=math.radians(40),
        min=-math.pi / 2,
        max=math.pi / 2,
    )
    angle: FloatProperty(
        name="Field of View",
        description="Of all cameras, across",
        subtype="ANGLE",
        default=math.radians(60),
        min=math.radians(1),
        max=math.radians(170),
    )
    width: IntProperty(name="Width", subtype="PIXEL", default=640, min=16, max=8192)
    height: IntProperty(name="Height", subtype="PIXEL", default=480, min=16, max=8192)
    use_scene_range: BoolProperty(
        name="Scene's Frame Range", description="Capture from the scene's start to its end", default=True
    )
    frame_start: IntProperty(name="Start", description="First frame to capture", default=1)
    frame_end: IntProperty(name="End", description="Last frame to capture", default=24)
    samples: IntProperty(
        name="Samples", description="Render samples per pixel; 0 uses the scene's own", default=0, min=0, max=65536
    )
    image_format: EnumProperty(
        name="Images", items=[("PNG", "PNG", "Lossless"), ("JPEG", "JPEG", "Smaller, quality 95")]
    )
    initial_points: IntProperty(
        name="Initial Points",
        description="Most points of a first cloud for training, taken from the first frame's depth; 0 for none",
        default=40_000,
        min=0,
        max=2_000_000,
    )
    foreground: CollectionProperty(type=ForegroundItem)
    foreground_index: IntProperty()
    captions: CollectionProperty(type=CaptionItem)
    captions_index: IntProperty()
    train_afterwards: BoolProperty(
        name="Train Afterwards", description="Hand the finished dataset to the backend for training"
    )
    progress: FloatProperty(subtype="FACTOR", min=0.0, max=1.0)
    message: StringProperty()


CLASSES = (ForegroundItem, CaptionItem, CaptureSettings)
