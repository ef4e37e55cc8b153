"""What `test_tiles.py` runs in a process of its own: Triton is told to interpret before it is imported."""

from __future__ import annotations

from tests.raster.test_tiles import lists_by_both_ways

if __name__ == "__main__":
    lists_by_both_ways("cpu")
    print("as their twin")
