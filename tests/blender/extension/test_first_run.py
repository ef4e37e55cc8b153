"""What a newcomer meets: a backend that is found, a folder, a sample without any of it."""

import os
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import PROMPT, ROOT


def _command(place: Path) -> Path:
    place.parent.mkdir(parents=True)
    place.write_text("#!/bin/sh\nsleep 60\n")
    place.chmod(0o755)
    return place


@pytest.mark.parametrize(
    ("inside", "near"),
    [
        (".local/bin/legs4d", ""),
        (".local/share/uv/tools/legs4d/bin/legs4d", ""),
        (".local/share/pipx/venvs/legs4d/bin/legs4d", ""),
        (".local/pipx/venvs/legs4d/bin/legs4d", ""),
        ("code/.venv/bin/legs4d", "code/out"),
    ],
)
def test_the_backend_is_found_where_tools_are_installed(addon, tmp_path, monkeypatch, inside, near) -> None:
    from blender_addon.link import backends

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    for name in ("XDG_DATA_HOME", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(backends.BackendError, match="among the tools of pipx and uv"):
        backends.command("", near and str(tmp_path / near))
    there = _command(tmp_path / inside)
    assert backends.command("", near and str(tmp_path / near)) == [str(there), "serve"]


def test_one_thing_is_asked_at_a_time(addon, tmp_path, monkeypatch) -> None:
    from blender_addon.link import first_run, session

    chosen = bpy.context.preferences.addons["blender_addon"].preferences
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert first_run.step().operator == "legs4d.choose_command"
    assert bpy.ops.legs4d.choose_command(filepath=str(tmp_path)) == {"CANCELLED"} and not chosen.command
    there = _command(tmp_path / "code" / ".venv" / "bin" / "legs4d")
    assert bpy.ops.legs4d.choose_command(filepath=str(tmp_path / "code")) == {"FINISHED"}
    assert first_run.step().operator == "legs4d.choose_root"
    run = tmp_path / "work" / "dance"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    assert bpy.ops.legs4d.choose_root(directory=str(run)) == {"FINISHED"}  # a run itself: its folder is meant
    assert (chosen.root, session.current.runs.wanted) == (str(run.parent), "dance")
    assert there.exists() and first_run.step().operator == "legs4d.stop_backend"
    bpy.ops.legs4d.stop_backend()
    session.current.link.backend.finish()
    session.current.pump()
    assert session.current.link.message == "" and session.current.link.backend is None  # it was asked to end
    assert first_run.step().operator == "legs4d.start_backend"


def test_a_run_whose_folder_was_chosen_is_imported(connected, until) -> None:
    from blender_addon.link import session
    from blender_addon.sequence import sequence

    session.current.runs.wanted = "ball"
    session.current.runs.refresh()
    until(lambda: sequence.find(bpy.context.scene), "the sequence")


def test_the_sample_opens_and_answers_without_a_backend(imported, until, tmp_path, monkeypatch) -> None:
    """Made as `make demo` makes it, of the synthetic run, with half a megabyte to fit in."""
    from blender_addon import names
    from blender_addon.cache import storage
    from blender_addon.link import session
    from blender_addon.sequence import attributes, sequence
    from blender_addon.splats import sample as packed
    from blender_addon.ui import preferences

    sys.path.insert(0, str(ROOT / "scripts"))
    from demo import sample

    bpy.ops.legs4d.ask(prompt=PROMPT)
    until(lambda: not session.current.questions.busy, "the answer")
    whole = storage.find(imported.empty).description
    full = sample.make(storage.find(imported.empty).path, tmp_path / "full.zip")
    assert sample.make(storage.find(imported.empty).path, tmp_path / "sample.zip", full // 2) <= full // 2
    session.current.link.disconnect()
    bpy.ops.wm.read_homefile(use_empty=True)
    monkeypatch.setattr(packed, "FILE", tmp_path / "sample.zip")
    assert bpy.ops.legs4d.open_sample() == {"FINISHED"}
    (shown,) = sequence.find(bpy.context.scene)
    assert 0 < shown.its.num_dynamic < whole.num_dynamic and bpy.context.scene.frame_end == whole.num_frames
    assert [layer.prompt for layer in shown.layers] == [PROMPT] and len(shown.layers[0].intervals)
    start = shown.layers[0].intervals[0].start
    bpy.context.scene.frame_set(shown.scene_frame(start))
    assert np.ptp(attributes.read(shown.dynamic_object.data, names.POSITION)) > 0
    bpy.ops.legs4d.remove_layer()
    bpy.ops.legs4d.ask(prompt=PROMPT.upper())  # what the cache knows is answered without a backend
    assert len(shown.layers[0].intervals) and not session.current.questions.trouble(shown.layers[0].layer_id)
    assert os.path.getsize(tmp_path / "sample.zip") <= full // 2
    # Another version of the extension brings another sample: it takes the place of the one that was unpacked.
    monkeypatch.setattr(packed, "FILE", tmp_path / "full.zip")
    fuller = packed.unpack(preferences.cache_root()).description
    assert fuller.num_dynamic + fuller.num_static > shown.its.num_dynamic + shown.its.num_static


def test_a_new_layers_colour_stands_out_from_what_it_marks(addon, tmp_path) -> None:
    from blender_addon.cache import storage
    from blender_addon.cache.frames import Answer, Description, RunCache
    from blender_addon.layers import contrast, layers
    from blender_addon.sequence.sequence import Sequence

    cache = RunCache.create(tmp_path, Description("a", "a", "1", 1, 2, 0, 12.0))
    colors = (np.array([(0.8, 0.3, 0.1), (0.1, 0.3, 0.9)]) - 0.5) / 0.28209479
    shape = {"quats": np.ones((2, 4)), "scales": np.ones((2, 3)), "opacities": np.ones(2)}
    cache.write_static({"means": np.zeros((2, 3)), "colors": colors, **shape})
    storage.adopt(cache)
    shown = Sequence.create(cache.description, bpy.context.scene.collection)
    for key, levels, wanted in (("red", (255, 0), "cold"), ("blue", (0, 255), "warm")):
        cache.write_answer(key, Answer(key, ((0, 0, 0, 1.0),), (1.0,)), np.array(levels, "u1"))
        layer = layers.find(shown, layers.add(shown, key))
        layer.answer_key, layer.color = key, layers.PALETTE[0] if wanted == "cold" else layers.PALETTE[1]
        contrast.choose(shown, layer.layer_id)
        assert (layer.color[2] > layer.color[0]) == (wanted == "cold")
    layer.color = (0.5, 0.5, 0.5)
    contrast.choose(shown, layer.layer_id)
    assert tuple(layer.color) == (0.5, 0.5, 0.5)  # a person's own choice


def test_menus_find_every_operator_and_draw(addon) -> None:
    """Each entry names an operator and properties that there are."""
    from blender_addon.ui import menus

    listed = [*menus.SELECT, *menus.EDIT, *menus.EFFECTS, *menus.RENDER, *menus.ADD]
    for name, text, values, _ in listed:
        if name:
            kind = getattr(bpy.ops.legs4d, name).get_rna_type()
            assert text and kind.description and set(values) <= set(kind.properties.keys()), name
