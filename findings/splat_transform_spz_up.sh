#!/usr/bin/env bash
# Between 2.7.1 and 3.7.0 splat-transform stopped turning .spz (y up) into the axes of .ply (y down): the newer release's
# .ply of the same file stands on its head.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
for version in 2.7.1 3.7.0; do
  mkdir "$version"
  (cd "$version" && npm init -y >/dev/null && npm install --silent --no-fund --no-audit --force \
    "@playcanvas/splat-transform@$version" node@22 >/dev/null 2>&1)
done
python3 - <<'PY'
import gzip
import struct

# Two Gaussians at (1, 2, 3) and (0, 0, 0), version 2: 24 bit positions, then a byte in the middle for all else.
header = struct.pack("<IIIBBBB", 0x5053474E, 2, 2, 0, 12, 0, 0)
points = b"".join((value * 4096).to_bytes(3, "little") for value in (1, 2, 3, 0, 0, 0))
open("made.spz", "wb").write(gzip.compress(header + points + bytes([128]) * 20))
PY
for version in 2.7.1 3.7.0; do
  "$version/node_modules/node/bin/node" "$version/node_modules/@playcanvas/splat-transform/bin/cli.mjs" -q -w made.spz "$version.ply" >/dev/null
done
python3 - <<'PY'
import struct

seen = {}
for version in ("2.7.1", "3.7.0"):
    head, _, body = open(f"{version}.ply", "rb").read().partition(b"end_header\n")
    names = [line.split()[-1] for line in head.splitlines() if line.startswith(b"property")]
    rows = [struct.unpack_from(f"<{len(names)}f", body, 4 * len(names) * row) for row in range(2)]
    row = max(rows, key=lambda values: abs(values[names.index(b"x")]))
    seen[version] = [row[names.index(axis)] for axis in (b"x", b"y", b"z")]
print(f"(1, 2, 3) of a .spz, whose y is up, in the .ply, whose y is down, by version of splat-transform: {seen}")
print("a good guess: (1, -2, -3) in both")
raise SystemExit(0 if seen == {"2.7.1": [1, -2, -3], "3.7.0": [1, 2, 3]} else 1)
PY
