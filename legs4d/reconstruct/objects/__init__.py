"""Objects that masks tell apart: which Gaussians they are, how they are followed, where they are."""
