"""Stage "objects": each object's Gaussians, in the frame that shows it best."""
