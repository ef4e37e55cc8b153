"""The run folder on disk, and what keeps it whole."""

from legs4d.gaussians.store.run import Run

__all__ = ["Run"]
