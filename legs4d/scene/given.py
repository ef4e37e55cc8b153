"""What a command was given that it cannot take, and which command takes it: the end of a sentence that says why."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from legs4d.portable.kinds import SPLAT_FILES
from legs4d.scene.footage.names import PICTURES, VIDEOS, is_left_behind, natural_key, some
from legs4d.scene.layouts import RESULT, RUN_FILE, is_run, layout_of

LOOKED_AT = 2000
"""Names in a folder, at most: what it holds is told by its first ones."""
INSIDE = 3
"""Folders above that may be the footage whose part was given, as sparse/0 is of COLMAP's."""
FOREIGN_PICTURES = frozenset((".heic", ".heif", ".avif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".exr", ".gif"))
PACKED = frozenset((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz"))
CONVERTED_SPLATS = frozenset((".ksplat", ".lcc", ".lcc2"))
"""Splats that `splat-transform` reads and this project does not."""
CHECKPOINTS = frozenset((".ckpt", ".pt", ".pth"))
MESHES = frozenset(suffix for suffix, kind in SPLAT_FILES.items() if kind in ("gltf", "usd"))
"""Formats of splats that mostly hold meshes."""


def which_takes(path: str | Path) -> str | None:
    """What there is to do with a file or folder: an imperative for the `fix` of an error; None where nothing is known.

    It looks at names alone, at most `LOOKED_AT` of a folder.
    """
    path = Path(path)
    if path.is_file():
        return _file(path)
    return _folder(path) if path.is_dir() else None


def _file(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix in VIDEOS:
        return "`legs4d video` makes a scene of a video, `legs4d object` one object that moves"
    if suffix in PICTURES:
        return "`legs4d object` makes an object of one picture"
    if suffix in FOREIGN_PICTURES:
        return f"convert {suffix} to .png or .jpg, then `legs4d object` makes an object of one picture"
    if suffix in MESHES:
        return "`legs4d import-splats` makes a run of it if it holds splats; meshes can be filmed and trained on"
    if suffix in SPLAT_FILES:
        return "`legs4d import-splats` makes a run of splats"
    if suffix in CONVERTED_SPLATS:
        return "convert it: `splat-transform IN OUT.ply` (npm install -g @playcanvas/splat-transform)"
    if suffix in CHECKPOINTS:
        return (
            "have the program that made this checkpoint write a .ply: nerfstudio by `ns-export gaussian-splat`, "
            "gsplat's simple_trainer by --save_ply"
        )
    if suffix in PACKED:
        return "unpack it, and give the folder"
    if path.name in (RUN_FILE, "transforms.json", "transforms_train.json", "cameras.json", "train_meta.json"):
        return f"give its folder, {path.parent}"
    return None


def _folder(path: Path) -> str | None:
    if is_run(path):
        return "it is a run: `legs4d info` says what it holds, `legs4d render`, `view` and `query` take it"
    if (layout := layout_of(path)) is not None:
        return f"it is footage (layout {layout}): `legs4d check` says how it is read, `legs4d train` makes a run of it"
    if (path / RESULT).is_dir():
        return "it is what 3DGS made: `legs4d import-splats` makes a run of it"
    inside = [each for each in islice(path.iterdir(), LOOKED_AT) if not is_left_behind(each.name)]
    folders = sorted((each for each in inside if each.is_dir()), key=lambda each: natural_key(each.name))[:LOOKED_AT]
    for what, is_one in (("a run", is_run), ("footage", lambda each: layout_of(each) is not None)):
        if found := [str(each) for each in folders if is_one(each)]:
            return f"there is {what} in it: give {some(found)}"
    if above := next((each for each in list(path.absolute().parents)[:INSIDE] if layout_of(each) is not None), None):
        return f"it lies in footage: give {above}"
    files = [each for each in inside if each.is_file()] or [
        each for folder in folders for each in islice(folder.iterdir(), LOOKED_AT) if not is_left_behind(each.name)
    ]
    videos = sorted((each for each in files if each.suffix.lower() in VIDEOS), key=lambda each: natural_key(each.name))
    if len(videos) == 1:
        return f"it holds a video: `legs4d video {videos[0]}` makes a scene of it"
    if videos:
        return (
            "it holds videos: of several cameras, cameras.json has to say where these stand (docs/data.md); "
            f"of one video `legs4d video {videos[0]}` makes a scene"
        )
    for suffixes, told in (
        (SPLAT_FILES.keys(), "it holds splats, or meshes: `legs4d import-splats` makes a run of splats"),
        (
            PICTURES,
            "it holds pictures and nothing that says where their cameras stood: COLMAP or nerfstudio find that "
            "(docs/data.md); of one video's pictures `legs4d video` makes a scene, `legs4d object` one object",
        ),
        (FOREIGN_PICTURES, "convert its pictures to .png or .jpg"),
        (PACKED, "unpack what it holds"),
    ):
        if any(each.suffix.lower() in suffixes for each in files):
            return told
    return None
