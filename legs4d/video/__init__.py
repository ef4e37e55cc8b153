"""One ordinary video with masks of its objects → a 4D scene (DreamScene4D, and the scene around its objects)."""
