#!/usr/bin/env bash
# bpy 5.2.3: foreach_set on an attribute of a linked point cloud writes nothing and raises nothing, although one value
# at a time is written, and foreach_set on the same attribute of this file's own point cloud is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.13 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check bpy==5.2.3 numpy
"$folder/env/bin/python" - "$folder" <<'PY'
import sys

import bpy
import numpy as np

COUNT, BEFORE, AFTER = 4, 1.0, 7.0
library = f"{sys.argv[1]}/library.blend"


def values(cloud):
    found = np.empty(COUNT, np.float32)
    cloud.attributes["number"].data.foreach_get("value", found)
    return sorted(set(found.tolist()))


def written(cloud, new):
    """What the attribute has after foreach_set; or the name of what was raised."""
    try:
        cloud.attributes["number"].data.foreach_set("value", new)
    except Exception as error:
        return type(error).__name__
    return values(cloud)


bpy.ops.wm.read_factory_settings(use_empty=True)
own = bpy.data.pointclouds.new("points")
own.resize(COUNT)
own.attributes.new("number", "FLOAT", "POINT")
own.use_fake_user = True
seen = {"own file": written(own, np.full(COUNT, BEFORE, np.float32))}
bpy.ops.wm.save_as_mainfile(filepath=library)
bpy.ops.wm.read_factory_settings(use_empty=True)
with bpy.data.libraries.load(library, link=True) as (inside, here):
    here.pointclouds = inside.pointclouds
linked = bpy.data.pointclouds["points", library]
seen["linked, an array"] = written(linked, np.full(COUNT, AFTER, np.float32))
seen["linked, a list"] = written(linked, [AFTER] * COUNT)
linked.attributes["number"].data[0].value = AFTER
seen["linked, one value"] = values(linked)
print(f"bpy {bpy.app.version_string}, numpy {np.__version__}: values {BEFORE} were set to {AFTER}")
print("a good guess: linked data takes all three ways, or none and raises")
print(f"seen: {seen}")
expected = {
    "own file": [BEFORE],
    "linked, an array": [BEFORE],
    "linked, a list": [BEFORE],
    "linked, one value": [BEFORE, AFTER],
}
raise SystemExit(0 if seen == expected else 1)
PY
