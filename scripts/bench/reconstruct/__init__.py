"""Rasterising and reconstruction."""
