"""The same points in pictures of two cameras."""
