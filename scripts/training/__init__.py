"""Training and calibration of the models that ship."""
