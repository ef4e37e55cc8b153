"""Stage "motion": how each object moves in the picture, and bends."""
