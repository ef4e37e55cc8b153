#!/usr/bin/env bash
# bpy 5.2.3: after a skinned glTF of a block of 0.1 is imported, scene.objects has a second mesh, a ball of radius 1 that
# no flag of its own hides and no rendering shows, so that the scene seems twenty times as large as what was in the file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.13 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check bpy==5.2.3 numpy
"$folder/env/bin/python" - "$folder" <<'PY'
import logging
import sys

import bpy
import numpy as np

SIZE = 0.1
path = f"{sys.argv[1]}/block.glb"
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.mesh.primitive_cube_add(size=SIZE)
block = bpy.context.object
bpy.ops.object.armature_add()
rig = bpy.context.object
block.parent = rig
block.modifiers.new("rig", "ARMATURE").object = rig
block.vertex_groups.new(name="Bone").add(range(8), 1.0, "ADD")
bpy.ops.export_scene.gltf(filepath=path)
logging.disable(logging.INFO)


def imported(**options):
    """Names of the scene's meshes that no flag of theirs hides, and the longest side of all their vertices."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=path, **options)
    scene = bpy.context.scene
    shown = [o for o in scene.objects if o.type == "MESH" and not (o.hide_render or o.hide_viewport or o.hide_get())]
    corners = np.array([o.matrix_world @ v.co for o in shown for v in o.data.vertices])
    return sorted(o.name for o in shown), round(float(np.ptp(corners, axis=0).max()), 3)


seen = {"as it comes": imported(), "disable_bone_shape": imported(disable_bone_shape=True)}
print(f"bpy {bpy.app.version_string}, numpy {np.__version__}: a skinned block of {SIZE} was imported")
print(f"a good guess: the scene's meshes are those of the file, here {(['Cube'], SIZE)} either way")
print(f"seen: {seen}")
expected = {"as it comes": (["Cube", "Icosphere"], 2.0), "disable_bone_shape": (["Cube"], SIZE)}
raise SystemExit(0 if seen == expected else 1)
PY
