"""Where a sequence's cached frames are: on the machine that imported it, after save and load, and on a render node."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..sequence.properties import properties_of
from ..sequence.sequence import Sequence
from ..ui import preferences
from .frames import MANIFEST, CacheError, Description, RunCache, run_id

CACHE_VARIABLE = "LEGS4D_CACHE"
"""Environment variable with a cache folder to search first: for render nodes, where nobody sets preferences."""
BESIDE_BLEND = "//legs4d_cache"
"""A folder next to the `.blend` that is searched as well: copy runs there to take them along."""

_open: dict[str, RunCache] = {}


def store_constants(
    root: Path, body: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]], known: Description | None = None
) -> RunCache:
    """Put what `open` answered under `root`. For any thread. CacheError if it cannot be written.

    Args:
        known: what its cache is, where there is one: a run that was renamed keeps it.
    """
    run, revision = body["name"], body["revision"]
    description = Description(
        run_id=known.run_id if known is not None and known.revision == revision else run_id(run, revision),
        run=run,
        revision=revision,
        num_frames=body["frames"],
        num_static=body["static"],
        num_dynamic=body["dynamic"],
        fps=body["fps"],
        pixel_angle=1 / float(arrays["train_Ks"][0, 0, 0]) if "train_Ks" in arrays else 0.0,
        up=tuple(body["up"]),
        num_loose=body["loose"],
        sh=int(body["sh"]),
        changing=tuple(body["changing"]),
        has_seen="static_seen" in arrays or bool(body["has_seen"]),
    )
    cache = RunCache.create(root, description)
    bare = {name: arrays[name] for name in ("born", "died")}
    cache.write_static(_of("static_", arrays))
    cache.write_dynamic(bare | _of("dynamic_", arrays))
    cache.write_ranks()
    filmed = {name: values for name, values in arrays.items() if name.startswith(("train_", "test_"))}
    for split in ("train", "test"):
        if (told := body["cameras"][split]) is not None:
            filmed[f"{split}_ids"] = np.array(told["ids"], np.int32)
            filmed[f"{split}_size"] = np.array([told["width"], told["height"]], np.int32)
    cache.write_table("cameras", filmed)
    cache.write_table("nodes", _of("nodes_", arrays))
    names = np.frombuffer(json.dumps(body["objects"]).encode(), np.uint8)
    ids = np.array(body.get("object_ids", range(len(body["objects"]))), np.int64)  # older servers tell none
    told = {**_of("objects_", arrays), "names": names, "ids": ids}
    cache.write_table("objects", told if body["objects"] else {})
    return cache


def store_frame(cache: RunCache, frame: int, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    """Put a `frame` event's arrays into the cache. For any thread."""
    if "loose_seen" in arrays:
        arrays["loose_seen"] = seen_levels(arrays["loose_seen"])
    cache.write_frame(frame, arrays)


def adopt(cache: RunCache) -> None:
    """Use this cache for its run from now on."""
    _open[cache.description.run_id] = cache


def rename(empty: bpy.types.Object, run: str) -> None:
    """Note in the sequence's cache, where this machine has one, what the backend calls its run now."""
    with contextlib.suppress(CacheError):  # there is none, or it cannot be written: `Sequence.description` says it too
        known = find(empty)
        adopt(RunCache.create(known.path.parent, replace(known.description, run=run)))


def recreate(empty: bpy.types.Object) -> RunCache:
    """The sequence's cache, made anew if this machine has none. CacheError if its folder cannot be written."""
    try:
        return find(empty)
    except CacheError:
        cache = RunCache.create(preferences.cache_root(), Sequence(empty).description)
        adopt(cache)
        return cache


def find(empty: bpy.types.Object) -> RunCache:
    """The sequence's cache. CacheError, with a sentence for the panel, if this machine has none or it is damaged."""
    name = properties_of(empty).run_id
    known = _open.get(name)
    if known is not None and (known.path / MANIFEST).exists():
        return known
    _open.pop(name, None)
    for folder in _places(empty):
        if (folder / name / MANIFEST).exists():
            _open[name] = RunCache.open(folder / name)
            return _open[name]
    raise CacheError(
        f"The frames of '{empty.name}' are not on this machine: '{name}' is in neither of "
        f"{', '.join(map(str, _places(empty)))}; connect a backend and press Fetch, or set {CACHE_VARIABLE}"
    )


def forget() -> None:
    """Look again at the next call: preferences or the file changed."""
    _open.clear()


def seen_levels(seen: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """How much of points was seen, 0..1, as the cache keeps it."""
    return np.rint(np.asarray(seen, np.float32) * 255).astype(np.uint8)


def _of(prefix: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays whose names begin so, without it."""
    found = {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
    return {name: seen_levels(values) if name == "seen" else values for name, values in found.items()}


def _places(empty: bpy.types.Object) -> list[Path]:
    places = [os.environ.get(CACHE_VARIABLE, ""), str(preferences.cache_root())]
    if bpy.data.filepath:
        places.append(bpy.path.abspath(BESIDE_BLEND))
    places.append(bpy.path.abspath(properties_of(empty).cache_folder))
    return list(dict.fromkeys(Path(place) for place in places if place))
