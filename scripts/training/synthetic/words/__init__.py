"""What generated clips are called."""
