"""From footage to an answerable run, and how good it is: what the command line and jobs call."""

from legs4d.pipeline.evaluating import evaluate
from legs4d.pipeline.finding import find_objects
from legs4d.pipeline.stages import extract, lift, reconstruct, train

__all__ = ["evaluate", "extract", "find_objects", "lift", "reconstruct", "train"]
