#!/usr/bin/env bash
# pycolmap 4.2.1: Reconstruction.import_PLY takes float32 for float, but refuses uint8 for uchar, which is how nerfstudio
# writes the colours of sparse_pc.ply: the points of a dataset that COLMAP itself made cannot be given back to it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check pycolmap==4.2.1 plyfile==1.1
"$folder/env/bin/python" - "$folder" <<'PY'
import sys
from importlib.metadata import version

import plyfile
import pycolmap

NAMES = {"old names": ("float", "uchar"), "new coordinates": ("float32", "uchar"), "new colours": ("float", "uint8")}
seen, others = {}, {}
for case, (number, byte) in NAMES.items():
    path = f"{sys.argv[1]}/points.ply"
    types = "".join(f"property {number} {axis}\n" for axis in "xyz")
    types += "".join(f"property {byte} {color}\n" for color in ("red", "green", "blue"))
    with open(path, "w") as file:
        file.write(f"ply\nformat ascii 1.0\nelement vertex 1\n{types}end_header\n1 2 3 10 20 30\n")
    others[case] = len(plyfile.PlyData.read(path)["vertex"].data)
    model = pycolmap.Reconstruction()
    try:
        model.import_PLY(path)
        seen[case] = model.num_points3D()
    except ValueError:
        seen[case] = "ValueError"
print(f"pycolmap {version('pycolmap')}, plyfile {version('plyfile')}: one point, its types by PLY's old and new names")
print(f"a good guess: the names mean the same, as plyfile has it: {others}")
print(f"seen: {seen}")
raise SystemExit(0 if seen == {"old names": 1, "new coordinates": 1, "new colours": "ValueError"} else 1)
PY
