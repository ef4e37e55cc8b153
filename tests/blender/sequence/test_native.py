"""Baked files: rendered by a Blender that has never heard of the add-on, the picture is the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import PROMPT, read
from pictures import add_camera

RENDER = """
import sys, bpy
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
assert not any("legs4d" in name for name in dir(bpy.types.Object.bl_rna.properties))
scene = bpy.context.scene
assert len(bpy.data.scenes) == 1
scene.frame_set(int(sys.argv[3]))
scene.render.filepath = sys.argv[2]
bpy.ops.render.render(write_still=True)
"""


@pytest.fixture
def scene(imported, until) -> bpy.types.Scene:
    """The imported ball with its prompt answered, before Cycles."""
    from blender_addon import look
    from blender_addon.link import session

    bpy.ops.legs4d.ask(prompt=PROMPT)
    until(lambda: not session.current.questions.busy, "the answer")
    found = bpy.context.scene
    add_camera(found, (0, -4, 1.2), (1.4, 0, 0), 48, 32)
    found.render.engine = "CYCLES"
    found.cycles.samples, found.cycles.use_denoising, found.cycles.seed = 8, False, 1
    found.render.image_settings.file_format = "PNG"
    look.prepare(found)
    return found


def picture(path: Path) -> np.ndarray:
    import imbuf

    with imbuf.load(str(path)).with_buffer() as buffer:
        return np.array(buffer)[..., :3] / 255.0


def test_a_baked_file_renders_the_same_without_the_add_on(scene, imported, tmp_path) -> None:
    from blender_addon import look

    inside, layer = imported.scene_frame(5), imported.layers[0]
    for frame, color in ((inside - 1, (1, 0, 0)), (inside, (0, 0, 1))):  # the extension's own property, keyed
        layer.color = color
        layer.keyframe_insert("color", frame=frame)
    scene.frame_set(inside)
    drivers = imported.dynamic_object.modifiers[0].node_group.animation_data.drivers
    followed = [one.driver.variables[0].targets[0].data_path for one in drivers]
    assert "legs4d.layers[0].color[2]" in followed
    cloud, order = imported.dynamic_object.data, [m.name for m in imported.dynamic_object.modifiers]
    shown = read(imported.dynamic_object, "position")
    assert bpy.ops.legs4d.bake(filepath=str(tmp_path / "farm" / "shot.blend")) == {"FINISHED"}
    assert imported.dynamic_object.data == cloud
    np.testing.assert_array_equal(read(imported.dynamic_object, "position"), shown, "the last frame's stayed")
    assert [m.name for m in imported.dynamic_object.modifiers] == order == [look.MODIFIER]
    assert [one.driver.variables[0].targets[0].data_path for one in drivers] == followed
    assert not [name for name in dict(imported.empty) if name.endswith(":color")]
    assert imported.empty.legs4d.is_sequence and scene.frame_current == inside
    assert len(list((tmp_path / "farm" / "shot_points").glob("*.ply"))) == 1 + scene.frame_end - scene.frame_start + 1

    scene.render.filepath = str(tmp_path / "here.png")
    bpy.ops.render.render(write_still=True)
    (tmp_path / "farm").rename(tmp_path / "elsewhere")
    file, out = tmp_path / "elsewhere" / "shot.blend", tmp_path / "there.png"
    done = subprocess.run(
        [sys.executable, "-c", RENDER, file, out, str(inside)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    here, there = picture(tmp_path / "here.png"), picture(out)
    assert here.std() > 0.05
    assert -10 * np.log10(np.mean((here - there) ** 2) + 1e-12) > 35


def test_a_bake_does_not_replace_its_own_source(scene, tmp_path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "mine.blend"))
    with pytest.raises(RuntimeError, match="would be replaced"):
        bpy.ops.legs4d.bake(filepath=str(tmp_path / "mine.blend"))


def test_the_command_line_exports_what_it_is_told(scene, tmp_path, capsys) -> None:
    from blender_addon.export import files

    out = tmp_path / "out"
    arguments = ["--out", str(out), "--write", "ply", "json", "--frames", "3", "4", "--template", "x{frame}"]
    assert files.run_command(arguments) == 0
    assert {path.name for path in out.iterdir()} == {"x3.ply", "x4.ply", "ball_intervals.json"}
    assert files.run_command(["--out", str(out), "--write", "ply", "--frames", "4", "3"]) == 1
    assert "range is empty" in capsys.readouterr().out
