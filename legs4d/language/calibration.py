"""What each encoder's numbers mean. Every value comes from a script that says how it was chosen."""

from legs4d.language.features import Calibration

MINILM = Calibration(
    temperature=2.0,
    canonical=("object", "things", "stuff", "texture"),
    floor=0.18,
    contrast=0.15,
    enter=0.75,
    leave=0.65,
    belongs=0.7,
)
"""For sentence embeddings of captions; chosen by `scripts/calibrate_minilm.py` on scripts/minilm_scenarios.json."""
