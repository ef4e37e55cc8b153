"""Pictures that the tests look at: read by other programs' libraries, and compared."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
from conftest import library

_READ = """
import OpenEXR, numpy, sys
channels = {name: channel.pixels for part in OpenEXR.File(sys.argv[1]).parts for name, channel in part.channels.items()}
numpy.savez(sys.argv[2], **channels)
"""


def read_exr(path: Path) -> dict[str, np.ndarray]:
    """Channels of an EXR file, read by OpenEXR's own library, rows from the top."""
    target = path.with_suffix(".npz")
    library("-c", _READ, str(path), str(target))
    with np.load(target, allow_pickle=False) as arrays:
        return dict(arrays)


def srgb(values: np.ndarray) -> np.ndarray:
    """sRGB-encoded values of linear ones."""
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 1e-9) ** (1 / 2.4) - 0.055)


def linear(encoded: np.ndarray) -> np.ndarray:
    """Scene linear of sRGB-encoded values (IEC 61966-2-1)."""
    c = np.clip(encoded, 0, 1)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Of values 0..1, dB."""
    return float(-10 * np.log10(np.mean((one - other) ** 2)))


def add_camera(scene: bpy.types.Scene, location: tuple, rotation: tuple, width: int, height: int) -> bpy.types.Object:
    """A camera, which is the scene's from now on, and the size of its pictures."""
    made = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(made)
    made.location, made.rotation_euler = location, rotation
    scene.camera = made
    scene.render.resolution_x, scene.render.resolution_y = width, height
    return made
