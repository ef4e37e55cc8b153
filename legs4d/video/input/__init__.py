"""What is given: pictures of a video, and masks of its objects."""
