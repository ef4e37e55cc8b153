"""Makers and spoilers of files, for scripts/fuzz_splats.py: one module a format."""
