"""How good a reconstruction is: distances of pictures, and whether objects are followed."""
