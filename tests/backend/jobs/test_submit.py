"""`legs4d submit`: the commands' own options, as jobs of a running server; and settings that are given as text."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.jobs.requests import _fitting
from backend.service.requests import JOBS
from backend.wire import REPLY_LIMITS
from legs4d.cli.command import WRITERS
from legs4d.cli.submitting import HERE
from legs4d.commands import Export, Lift, Train
from legs4d.config import FULL_TRACKING, ReconstructSettings, TrackingSettings, TrainSettings
from legs4d.gaussians.export import export_frames
from legs4d.gaussians.store.run import Run
from legs4d.settings import SettingsError, read_settings
from tests.backend.conftest import ServerProcess, legs4d, serving, write_small_run
from tests.synthetic import Scene, write_dataset


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Serves a small run `shot` and a dataset `ball`."""
    home = tmp_path_factory.mktemp("submit")
    write_small_run(home / "root" / "shot")
    write_dataset(home / "root" / "ball", Scene(num_frames=2, width=48, height=32, num_train=4, num_test=1))
    with serving(home) as server:
        yield server


def test_a_job_has_the_options_of_its_command() -> None:
    """One model: what the command line takes, apart from how this machine works, is what the job's body may hold."""
    assert {writer.name for writer in WRITERS} == set(JOBS)
    for writer in WRITERS:
        options = set(inspect.signature(writer.function).parameters) - HERE
        if "assignments" in options:
            options = options - {"assignments", "config"} | {"settings"}
        assert options == set(writer.model().model_fields), writer.name
        assert set(writer.model().model_fields) < set(JOBS[writer.name].model_fields)


def test_submit_prints_an_id_and_follows(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    root, place = server.roots[0], f"--state-dir={server.state_dir}"
    one = legs4d("submit", "export", root / "shot", "--out", root / "files/a", "--frames", "2:3", place, "--json")
    job = json.loads(one.stdout)["job"]
    monkeypatch.chdir(root)
    again = legs4d("submit", "export", "shot", "--out", "files/b", "--format", "spz", "--follow", place)
    assert again.exit_code == 0 and f"job {job}" not in again.stderr and "done" in again.stderr
    assert len(list((root / "files/b").iterdir())) == 9
    with server.connect() as client:
        asked = client.ask("job", job=job)["request"]
    assert asked == {"run": "shot", "out": "files/a", "format": "ply", "frames": [2, 3], "per_frame": False}


def test_a_training_that_was_submitted_has_the_settings_that_were_asked_for(server: ServerProcess) -> None:
    root = server.roots[0]
    config = root.parent / "tiny.toml"
    config.write_text(
        "preset = 'quick'\n[reconstruct.first_frame]\nsteps = 30\nnum_background = 60\nnum_foreground = 40\n"
        "[reconstruct.tracking]\nsteps = 2\n"
    )
    small = ("--set", "reconstruct.tracking.nodes.steps=0", "--set", "reconstruct.tracking.steps=3", "--scale", "0.5")
    done = legs4d(
        *("submit", "reconstruct", root / "ball", "--out", root / "made", "--config", config, *small, "--follow"),
        *(f"--state-dir={server.state_dir}", "--json", "--device", "cpu"),
    )
    assert done.exit_code == 0, done.stderr
    job = json.loads(done.stdout)
    assert (job["state"], job["kind"], job["result"]["run"]) == ("done", "reconstruct", "made")
    assert job["request"]["settings"]["reconstruct"]["tracking"] == {"nodes": {"steps": 0}, "steps": 3}
    run = Run.open(root / "made")
    assert run.info["scale"] == 0.5 and run.num_frames == 2


def test_a_file_that_the_server_does_not_see_is_sent(server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "params.npz").write_bytes(b"no arrays")
    sent = legs4d("submit", "import-d3dgs", tmp_path / "params.npz", "--out", "sent", f"--state-dir={server.state_dir}")
    assert sent.exit_code == 0 and "sends params.npz" in sent.stderr
    with server.connect() as client:
        name = client.ask("job", job=sent.stdout.strip())["request"]["params"]
    assert name.startswith(".legs4d-inbox/local/") and (server.roots[0] / name).read_bytes() == b"no arrays"


def test_what_is_wrong_is_said_before_anything_is_sent(server: ServerProcess, tmp_path: Path) -> None:
    root, place = server.roots[0], f"--state-dir={server.state_dir}"
    for arguments, says in (
        (("--set", "reconstruct.traking.steps=20"), "the nearest is 'reconstruct.tracking.steps'"),
        (("--set", "reconstruct.tracking.steps=many"), "'reconstruct.tracking.steps' is wrong ('many')"),
        (("--set", "steps"), "is no KEY=VALUE"),
        (("--config", "none.toml"), "none.toml: cannot be read"),
        (("--out", tmp_path / "elsewhere"), "lies outside the folders that the server serves"),
        (("--device", "cuda:9"), "no device 'cuda:9'"),
    ):
        refused = legs4d("submit", "train", root / "ball", "--out", root / "new", *arguments, place)
        assert refused.exit_code == 1 and refused.stderr.count("\n") == 1, refused.stderr
        assert says in refused.stderr
    assert not (root / "new").exists()


def test_keys_and_values_as_text(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[lift.codec]\ndim = 8\n[reconstruct.tracking]\nsteps = 5\n")
    found = read_settings(
        TrainSettings, ["lift.codec.dim=none", "preset=full", "lift.codec.autoencoder.hidden=[8, 4]"], file
    )
    assert found == {
        "lift": {"codec": {"dim": None, "autoencoder": {"hidden": [8, 4]}}},
        "reconstruct": {"tracking": {"steps": 5}},
        "preset": "full",
    }
    for text, says in (
        ("[lift.codecs]\ndim = 8\n", "settings.toml: there is no setting 'lift.codecs.dim'; the nearest is"),
        ("[lift.codec]\ndim = 'x'\n", "'lift.codec.dim' is wrong ('x')"),
        ("preset = 'fast'", "input should be 'quick', 'full' or 'auto'"),
        ("lift = 3", "'lift' is a group of settings; name one of them: lift.encoder"),
        ("preset =", "is not TOML"),
    ):
        file.write_text(text)
        with pytest.raises(SettingsError) as wrong:
            read_settings(TrainSettings, (), file)
        assert says in str(wrong.value)


@pytest.mark.parametrize("order", [1, -1])
def test_values_that_fit_only_together_are_taken_in_any_order(order: int) -> None:
    both = ["reconstruct.chunks.length=4", "reconstruct.chunks.overlap=1"][::order]
    assert read_settings(TrainSettings, both) == {"reconstruct": {"chunks": {"length": 4, "overlap": 1}}}
    with pytest.raises(SettingsError, match="a chunk of 4 frames is too short for an overlap of 3"):
        read_settings(TrainSettings, ["reconstruct.chunks.length=4"])


def test_options_stand_for_settings_and_win() -> None:
    train = Train(dataset="a", out="b", scale=0.5, settings=TrainSettings.model_validate({"dataset": {"scale": 0.25}}))
    assert train.geometry().dataset.scale == 0.5 and train.geometry().preset == "auto"
    lift = Lift(run="a", dim=8, codec_weights="c.pth", codec="autoencoder")
    assert (lift.lifting().codec.name, lift.lifting().codec.dim, lift.lifting().codec.weights) == (
        *("autoencoder", 8, "c.pth"),
    )
    assert Train.places() == ["dataset", "out", "objects", "weights"] and Export.places() == ["run", "out"]


def test_settings_win_over_the_preset() -> None:
    asked = ReconstructSettings(tracking=TrackingSettings(steps=20))
    full = asked.with_preset("full")
    assert full.tracking == FULL_TRACKING.model_copy(update={"steps": 20})
    assert full.first_frame.steps == 1000 and asked.with_preset("quick").tracking == TrackingSettings(steps=20)
    assert ReconstructSettings().with_preset("full").tracking == FULL_TRACKING


def test_splats_are_imported_anew_only_when_asked_to(server: ServerProcess, tmp_path: Path) -> None:
    """From a file that the server does not see."""
    run = Run.open(server.roots[0] / "shot")
    for number, frame in enumerate((0, 1)):
        export_frames(run, tmp_path / f"made{number}", range(frame, frame + 1), "ply")
    first, second = (tmp_path / f"made{n}" / f"frame_{n:06d}.ply" for n in (0, 1))
    place = (f"--state-dir={server.state_dir}", "--follow", "--json")
    done = legs4d("submit", "import-splats", first, "--out", "splats", *place)
    assert done.exit_code == 0 and json.loads(done.stdout)["result"]["run"] == "splats", done.stderr
    before = Run.open(server.roots[0] / "splats").frame(0).means
    refused = legs4d("submit", "import-splats", second, "--out", "splats", *place)
    assert refused.exit_code == 1 and "is there already" in refused.stderr
    assert legs4d("submit", "import-splats", second, "--out", "splats", "--again", *place).exit_code == 0
    after = Run.open(server.roots[0] / "splats").frame(0).means
    assert after.shape == before.shape and not (after == before).all()


def test_a_request_may_name_many_files(server: ServerProcess) -> None:
    root, place = server.roots[0], f"--state-dir={server.state_dir}"
    export_frames(Run.open(root / "shot"), root / "one", range(1), "ply")
    names = [f"{'a folder with a long name ' * 6}{number:03d}.ply" for number in range(40)]
    for name in names:
        os.link(root / "one" / "frame_000000.ply", root / name)
    paths = [root / name for name in names]
    done = legs4d("submit", "import-splats", *paths, "--out", "many", "--follow", place)
    assert done.exit_code == 0, done.stderr
    assert Run.open(root / "many").num_frames == 40


def test_a_list_of_jobs_fits_into_a_reply() -> None:
    bodies: list[Any] = [{"job": str(number), "request": {"paths": ["x" * 1000] * 100}} for number in range(50)]
    shown = _fitting(bodies)
    assert 1 < len(shown) < 50 and shown == bodies[: len(shown)]
    assert sum(len(json.dumps(body)) for body in shown) <= REPLY_LIMITS.header
    bodies[0]["request"]["paths"] *= 100
    assert _fitting(bodies) == bodies[:1] and _fitting([]) == []
