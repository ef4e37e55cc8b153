"""Dynamic 3D Gaussians: the type, the run folder that stores them, and exchange formats."""
