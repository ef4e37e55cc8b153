"""Generated clips as pictures."""
