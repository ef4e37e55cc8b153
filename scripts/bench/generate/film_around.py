"""Films animated glTF models as L4GM's cameras see them: four moments from the front, the sides, behind, and above.

    .venv-blender/bin/python scripts/bench/generate/film_around.py GLTF_FOLDER OUT [CLIP…]

OUT gets CLIP/FRAME_VIEW.png, RGBA of 128², and views.json with each view's elevation and azimuth in degrees: the first
is the video's, the next three stand around at its height, six more at 20°. The longest side of all that a model
reaches is 1, its middle 1.5 from each camera, the field of view 49.1°. What is there is not filmed again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository
from bench.blender.film_gltf import DISTANCE, load, normalise, set_up, times
from bench.generate.film import take

CLIPS = {
    "fox": ("Fox.glb", "Run"),
    "man": ("CesiumMan.glb", "Anim_0"),
    "expressive": ("RobotExpressive.glb", "Robot_Dance"),
    "kenney": ("KenneyCharacter/KenneyCharacter.glb", "walk"),
    "knight": ("KayKitKnight.glb", "1H_Melee_Attack_Chop"),
    "mannequin": ("Mannequiny.glb", "run_root.001"),
    "robot": ("GodotRobot.glb", "run"),
    "morph": ("MorphStressTest.glb", "TheWave"),
    "sphere": ("AnimatedMorphSphere/AnimatedMorphSphere.gltf", "Globe"),
    "truck": ("CesiumMilkTruck.glb", "Anim_0"),
}
FRAMES, SIZE, SAMPLES = 4, 128, 16
LIGHT = 0.3, 0.55
"""How much light changes from the side of a thing to its top, and what there is at its side."""
VIEWS = [*((0.0, 90.0 * i) for i in range(4)), *((20.0, 30.0 + 60 * i) for i in range(6))]


def film(models: Path, name: str, out: Path) -> None:
    model, animation = CLIPS[name]
    scene = load(models / model, animation)
    for material in bpy.data.materials:
        shade(material)
    # A loop's last moment is its first.
    moments = times(scene, FRAMES + 1)[:FRAMES]
    normalise(scene, np.linspace(moments[0], 2 * moments[-1] - moments[-2], 16).tolist())
    set_up(scene, SIZE, SAMPLES)
    for frame, moment in enumerate(moments):
        for view, place in enumerate(VIEWS):
            take(scene, moment, place, out / name / f"{frame}_{view}.png", DISTANCE)
    (out / name / "views.json").write_text(json.dumps(VIEWS))


def shade(material: bpy.types.Material) -> None:
    """Brighter where a surface looks up, from everywhere alike: two of the models are white, as their background is."""
    tree = material.node_tree
    shown = None if tree is None else next((node for node in tree.nodes if node.type == "EMISSION"), None)
    if tree is None or shown is None:
        return
    normal, parts = tree.nodes.new("ShaderNodeNewGeometry"), tree.nodes.new("ShaderNodeSeparateXYZ")
    light: Any = tree.nodes.new("ShaderNodeMath")
    light.operation = "MULTIPLY_ADD"
    light.inputs[1].default_value, light.inputs[2].default_value = LIGHT
    tree.links.new(normal.outputs["Normal"], parts.inputs[0])
    tree.links.new(parts.outputs["Z"], light.inputs[0])
    tree.links.new(light.outputs[0], shown.inputs["Strength"])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("models", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("clips", nargs="*", default=[*CLIPS])
    asked = arguments.parse_args()
    for name in asked.clips:
        film(asked.models, name, asked.out)


if __name__ == "__main__":
    main()
