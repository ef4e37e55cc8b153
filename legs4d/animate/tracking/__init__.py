"""Where an object is in each frame of a video: rendered, compared, refined, made even."""
