"""Stage "scene": the camera, the background, how far away everything is, and the run."""
