"""Makers and spoilers of files, for scripts/tools/fuzz/splats.py: one module a format."""
