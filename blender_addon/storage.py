"""Where a sequence's cached frames are: on the machine that imported it, after save and load, and on a render node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import preferences
from .cache import DYNAMIC, MANIFEST, STATIC, CacheError, Description, RunCache, run_id

CACHE_VARIABLE = "LEGS4D_CACHE"
"""Environment variable with a cache folder to search first: for render nodes, where nobody sets preferences."""
BESIDE_BLEND = "//legs4d_cache"
"""A folder next to the `.blend` that is searched as well: copy runs there to take them along."""

_open: dict[str, RunCache] = {}


def store_constants(root: Path, body: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> RunCache:
    """Put what `open` answered under `root`. For any thread. CacheError if it cannot be written."""
    run, revision = body["name"], body["revision"]
    description = Description(
        run_id=run_id(run, revision),
        run=run,
        revision=revision,
        num_frames=body["frames"],
        num_static=body["static"],
        num_dynamic=body["dynamic"],
        fps=body["fps"],
        pixel_angle=1 / float(arrays["train_Ks"][0, 0, 0]) if "train_Ks" in arrays else 0.0,
    )
    cache = RunCache.create(root, description)
    cache.write_static({name: arrays[f"static_{name}"] for name, _, _ in STATIC})
    cache.write_dynamic(
        {name: arrays[name if name in ("born", "died") else f"dynamic_{name}"] for name, _, _ in DYNAMIC}
    )
    cache.write_ranks()
    return cache


def adopt(cache: RunCache) -> None:
    """Use this cache for its run from now on."""
    _open[cache.description.run_id] = cache


def recreate(empty: bpy.types.Object) -> RunCache:
    """The sequence's cache, made anew if this machine has none. CacheError if its folder cannot be written."""
    try:
        return find(empty)
    except CacheError:
        its = empty.legs4d
        description = Description(
            run_id=its.run_id,
            run=its.run,
            revision=its.revision,
            num_frames=its.num_frames,
            num_static=its.num_static,
            num_dynamic=its.num_dynamic,
            fps=its.fps,
            pixel_angle=its.pixel_angle,
        )
        cache = RunCache.create(preferences.cache_root(), description)
        adopt(cache)
        return cache


def find(empty: bpy.types.Object) -> RunCache:
    """The sequence's cache. CacheError, with a sentence for the panel, if this machine has none or it is damaged."""
    name = empty.legs4d.run_id
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


def _places(empty: bpy.types.Object) -> list[Path]:
    places = [os.environ.get(CACHE_VARIABLE, ""), str(preferences.cache_root())]
    if bpy.data.filepath:
        places.append(bpy.path.abspath(BESIDE_BLEND))
    places.append(bpy.path.abspath(empty.legs4d.cache_folder))
    return list(dict.fromkeys(Path(place) for place in places if place))
