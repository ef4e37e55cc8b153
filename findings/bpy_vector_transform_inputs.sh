#!/usr/bin/env bash
# bpy 5.3.0: the first input of a Vector Transform node is a hidden integer, LightIndex, which bpy 5.2.3 does not have.
# Scripts that link to inputs[0] get no error; the vector stays (0.5, 0.5, 0.5), and lit surfaces turn black.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 5.2.3 5.3.0; do
    python3.13 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install -q --disable-pip-version-check "bpy==$version" numpy
done
cat >"$folder/look.py" <<'PY'
import sys

import bpy
import numpy as np

bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.engine, scene.cycles.samples, scene.view_settings.view_transform = "CYCLES", 1, "Raw"
scene.render.resolution_x = scene.render.resolution_y = 8
scene.render.image_settings.file_format = "OPEN_EXR"
scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
scene.collection.objects.link(scene.camera)
scene.camera.location = 0, 0, 4
bpy.ops.mesh.primitive_plane_add(size=8)
material = bpy.data.materials.new("looks up")
bpy.context.object.data.materials.append(material)
tree = material.node_tree
tree.nodes.clear()
up, turn = tree.nodes.new("ShaderNodeCombineXYZ"), tree.nodes.new("ShaderNodeVectorTransform")
glow, out = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
up.inputs[2].default_value = 1.0
tree.links.new(up.outputs[0], turn.inputs[0])
tree.links.new(turn.outputs[0], glow.inputs["Color"])
tree.links.new(glow.outputs[0], out.inputs["Surface"])
scene.render.filepath = f"{sys.argv[1]}/{bpy.app.version_string}.exr"
bpy.ops.render.render(write_still=True)
picture = bpy.data.images.load(scene.render.filepath)
color = np.array(picture.pixels[:]).reshape(8, 8, 4)[4, 4, :3]
version = ".".join(map(str, bpy.app.version))
print("seen:", version, [socket.name for socket in turn.inputs], color.round(1).tolist())
PY
seen=$(for version in 5.2.3 5.3.0; do "$folder/$version/bin/python" "$folder/look.py" "$folder" | grep '^seen:'; done)
echo "a good guess: inputs[0] is the vector in both, and the plane shows (0, 0, 1)"
echo "$seen"
[ "$seen" = "seen: 5.2.3 ['Vector'] [0.0, 0.0, 1.0]
seen: 5.3.0 ['LightIndex', 'Vector'] [0.5, 0.5, 0.5]" ]
