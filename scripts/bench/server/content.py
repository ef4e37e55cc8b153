"""Times how footage is known by its content: hashing many files, and finding them in the cache.

python scripts/bench/server/content.py [--files 1000] [--kilobytes 60]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.scene import content


def main() -> None:
    parser = argparse.ArgumentParser(description="Times how footage is known by its content.")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--kilobytes", type=int, default=60, help="of each")
    options = figures.parse(parser)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[content.CACHE_VARIABLE] = str(Path(folder) / "cache")
        root = Path(folder) / "footage"
        root.mkdir()
        paths = [root / f"{number:06d}.jpg" for number in range(options.files)]
        for path in paths:
            path.write_bytes(os.urandom(options.kilobytes << 10))
            os.utime(path, (0, 0))
        time.sleep(content.FRESH_NS / 1e9 + 0.1)  # younger ones are not kept in the cache
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            content.hash_files(root, paths)
            seconds.append(time.perf_counter() - started)
        size = options.files * options.kilobytes / 1024
        print(f"{options.files} files, {size:.0f} MiB: read {seconds[0]:.3f} s, from the cache {seconds[1]:.3f} s")
        said = f"{seconds[0]:.3f} s; {seconds[1]:.3f} s"
        figures.record(
            "Footage known by its content", f"{options.files} files, {size:.0f} MiB: read; from the cache", said
        )


if __name__ == "__main__":
    main()
