"""What generated clips are made of: bodies, things, rooms."""
