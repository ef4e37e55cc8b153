"""Runs out of other programs' results, and files for other programs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from legs4d.commands.base import Command
from legs4d.commands.values import (
    FrameRange,
    Place,
    Scale,
    SelectionNames,
    Text,
)


class Export(Command):
    """A run → files that other programs read.

    Attributes:
        out: folder for them.
        format: ply, spz, sog, gltf: a file a frame; usd, usdz: all frames in one file; npz: Dynamic3DGS's params.npz;
            json: the objects' poses alone.
        frames: first and last, both included; all by default.
        prompt: ply, gltf, usd, usdz: each Gaussian's relevancy goes into the files.
        sh_degree: of view dependence; ply is padded with zeros to it (3: 62 properties), the others have at most it.
        spz_version: of .spz files.
        per_frame: usd: a file a frame.
        selection: names of selections: what belongs to any of them is exported alone.
        without: names of selections: what belongs to them is left out.
    """

    run: Place
    out: Place
    format: Literal["ply", "spz", "sog", "gltf", "usd", "usdz", "npz", "json"] = "ply"
    frames: FrameRange | None = None
    prompt: Text | None = None
    sh_degree: Annotated[int, Field(ge=0, le=3)] | None = None
    spz_version: Literal[2, 3, 4] | None = None
    per_frame: bool = False
    selection: SelectionNames | None = None
    without: SelectionNames | None = None


class ImportSplats(Command):
    """Splat files of any program → a run.

    Attributes:
        paths: files, a folder, or a pattern; several are one frame each.
        fps: frames a second; by default what the files say, or 30.
        up: [3] what is up in the files' axes; by default the format's rule.
        identity: whether a row is the same Gaussian in all frames.
        frames, heads: of a 4DGaussians folder, how many frames to make, and what its deformation changes.
        again: as in `Reconstruct`.
    """

    paths: Annotated[list[Place], Field(min_length=1, max_length=100_000)]
    out: Place
    fps: float | None = Field(default=None, gt=0, le=10_000)
    up: Annotated[list[float], Field(min_length=3, max_length=3)] | None = None
    identity: Literal["auto", "keep", "none"] = "auto"
    frames: int | None = Field(default=None, ge=1, le=100_000)
    heads: Annotated[list[Text], Field(min_length=1, max_length=10)] | None = None
    again: bool = False

    def how(self) -> dict[str, Any]:
        """The options of `gaussians.import_splats.import_splats`."""
        heads = None if self.heads is None else tuple(self.heads)
        plain = {name: getattr(self, name) for name in ("fps", "identity", "frames")}
        return {**plain, "up": self.direction(), "heads": heads}

    def direction(self) -> tuple[float, float, float] | None:
        """`up`, if it was given."""
        return None if self.up is None else (self.up[0], self.up[1], self.up[2])


class ImportD3dgs(Command):
    """A result of Dynamic 3D Gaussians (`params.npz`) → a run; `dataset`, its footage, gives it cameras."""

    params: Place
    out: Place
    dataset: Place | None = None
    scale: Scale = 1.0
    fps: float = Field(default=30.0, gt=0, le=10_000)
    again: bool = False


class Import4legs(Command):
    """A finished output folder of 4-LEGS → a run.

    Attributes:
        sequence: which of its sequences.
        autoencoder: its checkpoint, where it is not where 4-LEGS puts it.
        linear: keep features by a linear codec of so many numbers.
    """

    folder: Place
    sequence: str = Field(min_length=1, max_length=200)
    out: Place
    autoencoder: Place | None = None
    dataset: Place | None = None
    scale: Scale = 1.0
    fps: float = Field(default=30.0, gt=0, le=10_000)
    linear: int | None = Field(default=None, ge=1, le=768)
    again: bool = False
