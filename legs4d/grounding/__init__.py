"""Grounding: prompts become intervals of time, curves, and per-Gaussian relevancy. Imports no torch."""

from legs4d.grounding.boxes import Box, boxes_of
from legs4d.grounding.compose import compose
from legs4d.grounding.intervals import Interval
from legs4d.grounding.query import Grounding, query

__all__ = ["Box", "Grounding", "Interval", "boxes_of", "compose", "query"]
