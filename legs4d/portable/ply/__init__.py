"""3D Gaussians from and to .ply, of any program."""
