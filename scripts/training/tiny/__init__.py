"""The encoder `tiny`: training, evaluation, calibration, and how fast both go."""
