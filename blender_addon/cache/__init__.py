"""Frames on the local disk, memory-mapped, and where they are."""
