"""Splat files without a backend: dropped or imported, played, found again, or refused in a sentence."""

import shutil
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import read

COUNTS = (5, 3, 6)


def _splats(package, count, seed, sh=3):
    from blender_addon.portable.splats import Splats

    rng = np.random.default_rng(seed)
    quats = rng.normal(size=(count, 4)).astype("f4")
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)

    def of(*shape):
        return rng.uniform(0.1, 0.9, size=(count, *shape)).astype("f4")

    return Splats(of(3), quats, of(3), of(), of(3), of(sh, 3) - 0.5 if sh else None)


def _write(file: Path, splats) -> None:
    from blender_addon.portable.ply.writer import ply_parts

    file.write_bytes(b"".join(ply_parts(splats)))


@pytest.fixture
def files(addon, tmp_path):
    """A folder of three frames, their Gaussians, and the numbers' natural order."""
    folder = tmp_path / "files"
    folder.mkdir()
    frames = [_splats(addon, count, seed, 3 * (seed < 2)) for seed, count in enumerate(COUNTS)]
    for number, splats in zip((8, 9, 10), frames, strict=True):
        _write(folder / f"walk_{number}.ply", splats)
    return folder, frames


def _import(folder, *names, **options):
    files = [{"name": name} for name in names]
    return bpy.ops.legs4d.import_splats(directory=f"{folder}/", files=files, **options)


def _shown():
    from blender_addon.sequence import sequence

    return sequence.find(bpy.context.scene)[0]


def _check(item, splats):
    np.testing.assert_allclose(read(item, "position"), splats.means, atol=1e-6)
    np.testing.assert_allclose(read(item, "scale"), splats.scales, rtol=1e-5)
    np.testing.assert_allclose(read(item, "radiance:base")[:, 3], splats.opacities, atol=2e-5)
    rest = np.zeros((len(splats), 3, 3)) if splats.sh_rest is None else splats.sh_rest
    for index in range(3):
        np.testing.assert_allclose(read(item, f"radiance:sh_{index}"), rest[:, index], atol=1e-4)


def _check_frames(frames):
    from blender_addon.sequence import playback

    shown = _shown()
    for frame, splats in enumerate(frames):
        bpy.context.scene.frame_set(frame + 1)
        _check(shown.loose_object, splats)
        assert playback.message(shown.empty) == ""


def test_a_file_becomes_a_sequence_of_one_frame(files):
    folder, frames = files
    assert _import(folder, "walk_9.ply") == {"FINISHED"}
    shown = _shown()
    assert (shown.empty.name, shown.empty.legs4d.num_frames, shown.loose_object) == ("walk_9", 1, None)
    _check(shown.static_object, frames[1])


@pytest.mark.parametrize(
    ("names", "options"),
    [(["walk_10.ply", "walk_8.ply", "walk_9.ply"], {}), ([], {}), (["walk_9.ply"], {"whole": True})],
    ids=["several files in any order", "a folder", "the files that belong to one"],
)
def test_numbered_files_play_in_their_natural_order(files, names, options):
    folder, frames = files
    (folder / "._walk_8.ply").write_bytes(b"what macOS leaves")
    assert _import(folder, *names, fps=12.0, **options) == {"FINISHED"}
    scene = bpy.context.scene
    assert (_shown().empty.name, scene.frame_start, scene.frame_end) == ("walk", 1, 3)
    assert _shown().empty.legs4d.fps == 12.0
    _check_frames(frames)


def test_what_the_file_says_is_up_stands_up_and_the_artist_overrules_it(files):
    from dataclasses import replace

    from mathutils import Vector

    folder, frames = files
    _write(folder / "said.ply", replace(frames[0], up=(0.0, 0.6, 0.8)))
    for options, up in (({}, (0.0, 0.6, 0.8)), ({"up": "X"}, (1.0, 0.0, 0.0))):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.ops.preferences.addon_enable(module="blender_addon")
        _import(folder, "said.ply", **options)
        bpy.context.view_layer.update()
        assert tuple(_shown().empty.matrix_world.to_3x3() @ Vector(up)) == pytest.approx((0, 0, 1), abs=1e-5)


def test_read_beside_the_interface_and_cancelled(files, until):
    """As in a window: the operator returns at once there."""
    from blender_addon.link import session
    from blender_addon.sequence import sequence
    from blender_addon.splats import plan

    folder, frames = files
    imports = session.current.imports
    imports.start(plan.make(folder, [], 30.0))
    until(lambda: not imports.busy and not session.current.tasks.busy, "the files")
    _check_frames(frames)
    imports.start(plan.make(folder, ["walk_8.ply"], 30.0))
    imports.cancel_opening()
    until(lambda: not imports.busy and not session.current.tasks.busy, "the end")
    assert len(sequence.find(bpy.context.scene)) == 1


def test_a_saved_file_finds_its_splats_after_both_were_moved(files, tmp_path):
    """To another machine: another cache, another place of the files, as a render node has it."""
    folder, frames = files
    _import(folder)
    project = tmp_path / "project"
    project.mkdir()
    shutil.move(folder, project / "files")
    _shown().empty.legs4d.files_folder = str(project / "files")
    bpy.ops.wm.save_as_mainfile(filepath=str(project / "scene.blend"))
    shutil.move(project, tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "cache")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "elsewhere" / "scene.blend"))
    _check_frames(frames)


def test_gone_files_are_said_and_the_points_stay(files, tmp_path):
    from blender_addon.sequence import playback

    folder, frames = files
    _import(folder)
    bpy.context.scene.frame_set(2)
    shutil.rmtree(tmp_path / "cache")
    shutil.move(folder, tmp_path / "gone")
    bpy.context.scene.frame_set(3)
    assert str(folder) in playback.message(_shown().empty)
    _check(_shown().loose_object, frames[1])
    shutil.move(tmp_path / "gone", folder)
    assert bpy.ops.legs4d.fetch() == {"FINISHED"}
    bpy.context.scene.frame_set(3)
    _check(_shown().loose_object, frames[2])


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["walk_8.ply", "walk_9.spz"], "several formats"),
        (["walk_8.ply", "walk_9.ply", "walk_10.ply", "walk_12.ply"], "missing between walk_10.ply and walk_12.ply"),
        (["notes.txt"], "no splat file"),
        (["gone.ply"], "not there"),
        (["scene.sog"], "connect"),
    ],
)
def test_what_is_no_sequence_is_refused_in_a_sentence(files, names, says):
    from blender_addon.sequence import sequence

    folder, _ = files
    for name in names:
        if name != "gone.ply" and not (folder / name).exists():
            shutil.copy(folder / "walk_8.ply", folder / name)
    with pytest.raises(RuntimeError, match=says):
        _import(folder, *names)
    assert not sequence.find(bpy.context.scene)


def test_half_a_file_is_refused_and_one_bad_frame_does_not_stop_the_others(files):
    from blender_addon.link import session
    from blender_addon.sequence import playback, sequence

    folder, frames = files
    whole = (folder / "walk_9.ply").read_bytes()
    (folder / "half.ply").write_bytes(whole[:-40])
    _import(folder, "half.ply")
    assert "cut short" in session.current.imports.message and not sequence.find(bpy.context.scene)
    (folder / "half.ply").unlink()
    (folder / "walk_9.ply").write_bytes(whole[:-40])
    _import(folder)
    assert "walk_9.ply" in session.current.imports.message
    bpy.context.scene.frame_set(3)
    _check(_shown().loose_object, frames[2])
    bpy.context.scene.frame_set(2)
    assert "walk_9.ply" in playback.message(_shown().empty)


def test_dropped_files_are_ours(addon):
    handler = bpy.types.LEGS4D_FH_splats
    assert handler.bl_import_operator == "legs4d.import_splats"
    assert {".ply", ".spz", ".splat"} <= set(handler.bl_file_extensions.split(";"))


def test_a_format_of_the_backends_is_sent_to_it_and_imported(files, backend, until, monkeypatch):
    """A glTF: the extension does not read it, and the backend does not see the folder."""
    from blender_addon.link import session
    from blender_addon.sequence import sequence

    folder, frames = files
    from conftest import library

    library("-c", _TO_GLTF, str(folder / "walk_8.ply"), str(folder / "walk.glb"))
    monkeypatch.setenv("LEGS4D_STATE_DIR", str(backend.state))
    session.current.link.connect()
    until(lambda: session.current.link.ready, "the connection")
    assert _import(folder, "walk.glb") == {"FINISHED"}
    until(lambda: sequence.find(bpy.context.scene) or session.current.link.message, "the sequence")
    assert session.current.link.message == ""
    until(lambda: not session.current.transfers.pending and not session.current.tasks.busy, "all frames")
    shown = _shown()
    assert shown.empty.legs4d.files == "" and shown.static_object is not None
    found = np.sort(read(shown.static_object, "radiance:base")[:, 3])
    np.testing.assert_allclose(found, np.sort(frames[0].opacities), atol=1e-4)


_TO_GLTF = """
import sys
from pathlib import Path
from legs4d.gaussians.import_splats import import_splats
from legs4d.gaussians.export import export_files
from legs4d.gaussians.store.run import Run
run = Path(sys.argv[2]).with_suffix(".run")
import_splats([Path(sys.argv[1])], run)
out = Path(sys.argv[2]).with_suffix(".out")
export_files(Run.open(run), out, range(1), "gltf")
next(out.rglob("*.gl*")).rename(sys.argv[2])
"""
