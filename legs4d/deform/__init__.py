"""Canonical Gaussians and what bends them in time: footage of one moving camera, or of a few."""
