"""From footage to an answerable run, and what is told and shown of it: what the command line and jobs call."""

from legs4d.pipeline.evaluating import evaluate
from legs4d.pipeline.finding import find_objects
from legs4d.pipeline.showing import render
from legs4d.pipeline.stages import extract, lift, reconstruct, train

__all__ = ["evaluate", "extract", "find_objects", "lift", "reconstruct", "render", "train"]
