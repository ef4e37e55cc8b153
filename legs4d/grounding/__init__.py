"""Grounding: prompts become intervals of time, curves, and per-Gaussian relevancy. Imports no torch."""

from legs4d.grounding.intervals import Interval
from legs4d.grounding.query import Grounding, query

__all__ = ["Grounding", "Interval", "query"]
