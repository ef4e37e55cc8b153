"""Makes a picture move."""
