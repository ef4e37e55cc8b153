"""What each encoder's numbers mean. Every value comes from a script that says how it was chosen."""

from legs4d.language.features import Calibration

CAPTIONS = Calibration(
    temperature=2.0,
    canonical=("something",),
    floor=0.3,
    contrast=0.1,
    enter=0.85,
    leave=0.75,
    belongs=0.8,
)
"""For sentence embeddings of captions; from `scripts/calibrate_captions.py` on scripts/caption_scenarios.json."""
