"""The extension's preferences, and the folders that follow from them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy

from .. import declare
from ..link import keys

ADDON = __package__.rpartition(".")[0]
"""The add-on's name, which Blender keeps its preferences under: this file is in a folder of it."""
CACHE_FOLDER = "runs"
LOG_FILE = "backend.log"


class Legs4dPreferences(bpy.types.AddonPreferences):
    """Where backends and caches are."""

    bl_idname = ADDON

    connection = declare.enum(
        "Backend",
        items=[
            ("LOCAL", "This Machine", "The backend that runs on this machine, started here or elsewhere"),
            ("ADDRESS", "Address", "A backend at an address, such as the end of an SSH tunnel"),
        ],
    )
    connect_at_start = declare.boolean(
        "Connect at Start", "Look for a backend on this machine when Blender starts", default=True
    )
    command = declare.string(
        "legs4d Environment",
        "Folder of the Python environment that legs4d is installed in, or the 'legs4d' command itself; "
        "empty: the one on PATH",
        subtype="FILE_PATH",
    )
    root = declare.string(
        "Runs and Datasets",
        "Folder that a backend started here may read datasets from and write runs to",
        subtype="DIR_PATH",
    )
    endpoint = declare.string("Address", "Where the backend listens: HOST or HOST:PORT", default="127.0.0.1:5555")
    token = declare.string("Token", "What the backend wrote into its server.json", subtype="PASSWORD")
    server_key = declare.string(
        "Server Key",
        "The backend's public key, which its keeper tells you; other machines are spoken to with keys only",
    )
    half_precision = declare.boolean(
        "Half Precision Transfer",
        "Halve what travels, for slow networks; in a capture 10 m wide a point is placed to 0.1 mm",
    )
    cache_folder = declare.string(
        "Cache", "Folder for the frames of imported runs; empty: the extension's own folder", subtype="DIR_PATH"
    )

    def draw(self, context: bpy.types.Context) -> None:
        """The preferences' own page."""
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "connection", expand=True)
        if self.connection == "LOCAL":
            layout.prop(self, "connect_at_start")
            layout.prop(self, "command")
            layout.prop(self, "root")
        else:
            layout.prop(self, "endpoint")
            layout.prop(self, "server_key")
            if not self.server_key:
                layout.prop(self, "token")
            row = layout.row()
            row.label(text=keys.public(user_folder()) or "This Blender has no key yet", icon="KEYINGSET")
            row.operator("legs4d.copy_key", icon="COPYDOWN")
            layout.prop(self, "half_precision")
        layout.separator()
        layout.prop(self, "cache_folder")


def get() -> Legs4dPreferences | SimpleNamespace:
    """The preferences as they are now; their defaults in a Blender that enabled the add-on with `--addons`."""
    entry: Any = bpy.context.preferences.addons.get(ADDON)
    if entry is not None:
        return entry.preferences
    properties: Any = Legs4dPreferences.bl_rna.properties
    return SimpleNamespace(**{name: properties[name].default for name in Legs4dPreferences.__annotations__})


def user_folder() -> Path:
    """The extension's folder for its files; Blender's user data folder when it runs from elsewhere (in tests)."""
    try:
        return Path(bpy.utils.extension_path_user(ADDON, create=True))
    except ValueError:
        return Path(bpy.utils.user_resource("DATAFILES", path="legs4d", create=True))


def cache_root() -> Path:
    """The folder under which imported runs are cached."""
    chosen = get().cache_folder
    return Path(bpy.path.abspath(chosen)) if chosen else user_folder() / CACHE_FOLDER


class LEGS4D_OT_copy_key(bpy.types.Operator):
    """Copy this Blender's public key, made if there is none: the backend's keeper lets it in"""

    bl_idname = "legs4d.copy_key"
    bl_label = "Copy My Key"

    def execute(self, context: bpy.types.Context) -> declare.Result:
        context.window_manager.clipboard = keys.ensure(user_folder()).public
        self.report({"INFO"}, "Copied. The backend's keeper runs: legs4d keys authorize KEY NAME")
        return {"FINISHED"}


CLASSES = (LEGS4D_OT_copy_key, Legs4dPreferences)
