"""Gaussians of every frame in one pass of a network: L4GM (Ren et al. 2024) with its weights, and `tiny4d`."""
