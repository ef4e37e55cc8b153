"""One object, from a video, a picture or words: a run of Gaussians that move as the video does."""
