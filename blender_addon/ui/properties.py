"""What the panels hold while Blender runs, never saved: the window manager's RNA properties, nothing else."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from .. import declare

on_prompt_entered: list[Callable[[bpy.types.Context], None]] = []
"""Called after a person confirmed the prompt field."""


def _prompt_entered(self: WindowProperties, context: bpy.types.Context) -> None:
    if self.prompt.strip():
        for listener in on_prompt_entered:
            listener(context)


def _video_chosen(self: WindowProperties, context: bpy.types.Context) -> None:
    self.video_boxes.clear()  # they were drawn on another one


class RunItem(bpy.types.PropertyGroup):
    """A run that the backend offers; `name` is the one to ask for."""

    frames = declare.integer("Frames")
    points = declare.integer("Points")
    finished = declare.boolean("Finished", "Every frame is trained")
    problem = declare.string("Problem", "Why it cannot be opened")


class DatasetItem(bpy.types.PropertyGroup):
    """A dataset folder that the backend can train; `name` is the one to ask for."""


class JobItem(bpy.types.PropertyGroup):
    """A training job of the backend; `name` is its id."""

    again = declare.string("Again", "The request, as JSON, of a job that failed as its run was made otherwise")
    needs_boxes = declare.boolean("Needs Boxes", "It is of a video, and failed though nobody had drawn boxes on it")
    label = declare.string("Job")
    state = declare.string("State")
    stage = declare.string("Stage")
    done = declare.integer("Done")
    total = declare.integer("Total")
    seconds_left = declare.number("Time left", default=-1.0)
    message = declare.string("Message")
    show_log = declare.boolean("Log", "Show the end of the job's log")
    log = declare.string("Log")
    log_offset = declare.string("Log offset", "How far it has been read, in bytes")


class BoxItem(bpy.types.PropertyGroup):
    """A box around an object on a video's first frame."""

    corners = declare.vector("Box", "Left, top, right and bottom, in pixels from the picture's upper left", size=4)


class WindowProperties(bpy.types.PropertyGroup):
    """What the panels hold while Blender runs; never saved."""

    prompt = declare.string(
        "Prompt",
        "What to look for, such as 'throwing the ball'; Enter asks",
        options={"SKIP_SAVE"},
        update=_prompt_entered,
    )
    runs = declare.collection(RunItem)
    active_run = declare.integer("Active run")
    datasets = declare.collection(DatasetItem)
    jobs = declare.collection(JobItem)
    train_dataset = declare.string("Dataset", "Folder with cameras and images, under one of the backend's roots")
    train_out = declare.string(
        "Output", "Name of the run to write, under the backend's first root; empty: the dataset's name and '-run'"
    )
    train_scale = declare.factor(
        "Image Scale",
        "Size of the training images relative to the captured ones; smaller is faster",
        min=0.05,
        default=1.0,
    )
    train_preset = declare.enum(
        "Effort",
        items=[
            ("auto", "Auto", "Full where the backend has a GPU, else quick"),
            ("quick", "Quick", "Minutes, on a laptop too"),
            ("full", "Full", "The best picture; hours without a GPU"),
        ],
    )
    video_file = declare.string(
        "Video",
        "An ordinary video, from which a 4D scene is made; it is sent where the backend does not see it",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
        update=_video_chosen,
    )
    video_lite = declare.boolean("Lite", "Less work, for a backend without a GPU", default=True)
    video_depth = declare.enum(
        "Depth Maps",
        "What else tells how far away its objects are",
        items=[
            (
                "none",
                "None",
                "Distances are found in the video alone: where things rest, stand still, how large they seem",
            ),
            ("helper", "By a Helper", "The backend's helper of the role 'depth' makes one of each frame"),
            ("folder", "Folder", "A file a frame, called as the frame is; under one of the backend's folders"),
        ],
    )
    video_depth_folder = declare.string(
        "Folder",
        "With depth maps: .npy of depths, or grey pictures of disparity (near is bright)",
        subtype="DIR_PATH",
        options={"SKIP_SAVE"},
    )
    video_boxes = declare.collection(BoxItem)
    train_again = declare.string(
        "Again", "The request, as JSON, that was refused as its run was made otherwise", options={"SKIP_SAVE"}
    )
    train_differs = declare.string("Differences", "In what that run was made otherwise", options={"SKIP_SAVE"})
    train_encoder = declare.string(
        "Encoder",
        "Where the meaning of things comes from: 'captions', 'tiny', 'viclip', 'openclip:MODEL'; "
        "empty: the dataset's captions, or 'tiny', which looks at the pictures, where it has none",
    )


CLASSES = (RunItem, DatasetItem, JobItem, BoxItem, WindowProperties)


def window() -> WindowProperties:
    """The panels' own values: Blender has them as `window_manager.legs4d`."""
    return bpy.context.window_manager.legs4d  # type: ignore[attr-defined]
