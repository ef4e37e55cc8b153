"""The demo: a scene filmed by Blender, reconstructed, asked and rendered."""
