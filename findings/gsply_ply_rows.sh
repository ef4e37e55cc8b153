#!/usr/bin/env bash
# gsply 0.4.6 takes every row of a .ply for floats, and the first row for the first vertex: a uchar label
# after the standard properties, or an element before the vertices, gives other numbers without a word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check gsply==0.4.6 plyfile==1.1.5 numpy
"$folder/env/bin/python" - "$folder" <<'PY'
import sys

import gsply
import numpy as np
import plyfile

folder, version = sys.argv[1], gsply.__version__
names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"]
names += ["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
rng = np.random.default_rng(0)


def vertices(*more):
    table = np.zeros(50, [(name, "<f4") for name in names] + list(more))
    for name in names:
        table[name] = rng.normal(size=50)
    return table


def off(file, table):
    """Largest difference of gsply's positions from what was written, after plyfile has read them rightly."""
    truth = np.stack([table[axis] for axis in "xyz"], axis=1)
    again = plyfile.PlyData.read(file)["vertex"]
    assert np.array_equal(np.stack([again[axis] for axis in "xyz"], axis=1), truth)
    with np.errstate(all="ignore"):
        found = np.abs(np.asarray(gsply.plyread(file).means) - truth).max()
    return float(found)


plain, labelled, later = vertices(), vertices(("label", "u1")), vertices()
camera = plyfile.PlyElement.describe(np.array([(1.5, 2)], [("fov", "f8"), ("kind", "u1")]), "camera")
cases = {
    "plain": (plain, []),
    "uchar label": (labelled, []),
    "element before": (later, [camera]),
}
seen = {}
for name, (table, before) in cases.items():
    file = f"{folder}/{name.replace(' ', '_')}.ply"
    plyfile.PlyData([*before, plyfile.PlyElement.describe(table, "vertex")], byte_order="<").write(file)
    seen[name] = off(file, table)
print(f"gsply {version}; largest error of a position")
print("a good guess: 0 everywhere, or a refusal")
print(f"seen: {seen}")
expected = seen["plain"] == 0 and all(not seen[name] < 0.1 for name in ("uchar label", "element before"))
raise SystemExit(0 if expected else 1)
PY
