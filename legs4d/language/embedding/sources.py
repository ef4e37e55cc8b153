"""Where a lift takes what is said of the pictures from."""

from __future__ import annotations

from legs4d.gaussians.store.run import Run
from legs4d.language.embedding.features import FeatureSource, RunEncoder
from legs4d.language.embedding.grids import GridFeatures
from legs4d.language.encoders import get_encoder, sees


def open_source(run: Run, encoder: str) -> FeatureSource:
    """The encoder itself where it reads the dataset, the grids that `extract` made beside the run where it sees.

    Raises:
        EncoderError: no such encoder.
        RunError: it sees, and nothing has been extracted yet.
    """
    found = get_encoder(encoder)
    if sees(found):
        return GridFeatures(run.path, encoder)
    return found.of_run(run) if isinstance(found, RunEncoder) else found
