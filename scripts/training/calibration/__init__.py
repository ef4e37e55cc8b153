"""Small scenes and scenarios by which encoders are calibrated."""
