"""This Blender's CURVE keys, in the extension's user folder, readable by its user only."""

from __future__ import annotations

import json
import os
from pathlib import Path

import zmq

from ..access import CurveKeys, new_keys

FILE = "keys.json"


def ensure(folder: Path) -> CurveKeys:
    """The pair kept in a folder, made if there is none."""
    found = _read(folder)
    if found is not None:
        return found
    made = new_keys(zmq.curve_keypair)
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as stream:
        json.dump({"public": made.public, "secret": made.secret}, stream)
    return made


def public(folder: Path) -> str:
    """The public half of the pair; empty if there is none yet."""
    found = _read(folder)
    return found.public if found else ""


def _read(folder: Path) -> CurveKeys | None:
    """None also for a damaged file: a new pair takes its place, and has to be let in anew."""
    try:
        content = json.loads((folder / FILE).read_text())
        return CurveKeys(str(content["public"]), str(content["secret"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
