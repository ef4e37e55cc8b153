"""Masks of pictures put onto Gaussians, the tree of segments that they make, and what a click means in it."""
