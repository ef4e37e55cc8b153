"""What a learned model of pictures would change in a rendering."""
