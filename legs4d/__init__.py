"""legs4d: dynamic 3D Gaussians with language, from multi-view footage to highlighted actions."""

__version__ = "0.1.0"
