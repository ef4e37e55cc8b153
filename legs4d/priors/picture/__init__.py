"""Makes a picture from words."""
