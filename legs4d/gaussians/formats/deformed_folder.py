"""Output folders of 4DGaussians (Wu et al. 2024): canonical splats and the HexPlane field that deforms them in time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.gaussians.formats.splat_errors import told_of
from legs4d.gaussians.formats.tensors import UnreadableTensorsError, load_tensors
from legs4d.portable.ply.file import read_ply
from legs4d.portable.ply.header import read_header
from legs4d.portable.ply.rows import Rows, copy_columns
from legs4d.portable.splats import Splats

if TYPE_CHECKING:
    from legs4d.gaussians.hexplane import HexPlane

CHECKPOINT = "deformation.pth"
"""Beside point_cloud.ply; there are accumulators beside it, which matter to its training alone."""
FRAMES_PER_ENTRY = 2
"""4DGaussians advises planes half as fine in time as there are frames."""
_RAW = {"scales": ("scale_0", "scale_1", "scale_2"), "rotations": ("rot_0", "rot_1", "rot_2", "rot_3")}
_RAW |= {"opacity": ("opacity",)}


def is_deformed(file: Path) -> bool:
    """Whether a trained field lies beside a .ply."""
    return (file.parent / CHECKPOINT).is_file()


@dataclass(frozen=True)
class DeformedFrames:
    """The sequence that a folder holds, cut into frames; see `splat_files.Frames`.

    Attributes:
        file: the canonical point_cloud.ply.
        total: frames, over the whole of the times 0..1 that the field was trained on; None: as many as its planes tell.
        heads: what the field changes, of `hexplane.HEADS`; None: what 4DGaussians has by default.
    """

    file: Path
    total: int | None = None
    heads: tuple[str, ...] | None = None
    kind: str = "4DGaussians"
    fps: float | None = None

    def __len__(self) -> int:
        return self.total or FRAMES_PER_ENTRY * self._field.time_resolution

    @property
    def numbers(self) -> tuple[int, ...]:
        """Counted from 0."""
        return tuple(range(len(self)))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed."""
        heads = f"Its deformation changes {', '.join(self._heads)}; --heads says otherwise."
        if self.total is not None:
            return (heads,)
        return (
            f"The folder does not tell how many frames there were; {len(self)} are made, --frames says otherwise.",
            heads,
        )

    def path(self, frame: int) -> Path:
        """Always the canonical file."""
        return self.file

    def files(self) -> list[Path]:
        """What is read."""
        return [self.file, self.file.parent / CHECKPOINT]

    def count(self, frame: int) -> int:
        """As many in every frame."""
        return len(self._canonical)

    def read(self, frame: int) -> Splats:
        """The Gaussians of a frame.

        Raises:
            DatasetError: the checkpoint cannot be read, or is no such field.
        """
        import torch

        canonical, raw = self._canonical, self._raw
        time = frame / (len(self) - 1) if len(self) > 1 else 0.0
        found = self._field.offsets(torch.as_tensor(canonical.means), time, self._heads)
        added = {name: values.numpy() for name, values in found.items()}
        changes: dict[str, Any] = {}
        if "position" in added:
            changes["means"] = canonical.means + added["position"]
        if "scales" in added:
            changes["scales"] = np.exp(raw["scales"] + added["scales"])
        if "rotations" in added:
            turned = raw["rotations"] + added["rotations"]
            changes["quats"] = turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)
        if "opacity" in added:
            changes["opacities"] = 1 / (1 + np.exp(-(raw["opacity"] + added["opacity"])[:, 0]))
        if "color" in added:
            changes["colors"] = canonical.colors + added["color"]
        if "sh" in added:
            together = added["sh"].reshape(len(canonical), -1, 3)  # the DC term, then the others
            changes["colors"] = canonical.colors + together[:, 0]
            if canonical.sh_rest is not None:
                changes["sh_rest"] = canonical.sh_rest + together[:, 1 : 1 + canonical.sh_rest.shape[1]]
        values = {name: np.ascontiguousarray(value, np.float32) for name, value in changes.items()}
        return Splats(**{**vars(canonical), **values})

    @property
    def _heads(self) -> tuple[str, ...]:
        from legs4d.gaussians.hexplane import DEFAULT_HEADS

        heads = tuple(name for name in DEFAULT_HEADS if name in self._field.heads) if self.heads is None else self.heads
        unknown = [name for name in heads if name not in self._field.heads]
        if unknown:
            known = ", ".join(self._field.heads)
            raise DatasetError(f"{unknown[0]!r} is none of its heads", where="--heads", fix=f"they are {known}")
        return heads

    @cached_property
    def _field(self) -> HexPlane:
        from legs4d.gaussians.hexplane import read_hexplane

        checkpoint = self.file.parent / CHECKPOINT
        try:
            state = load_tensors(checkpoint)
        except UnreadableTensorsError as error:
            raise DatasetError(
                f"cannot be read: it is {error}" if str(error) == "damaged" else f"holds {error}",
                where=str(checkpoint),
                fix="copy it again, or save the state dict alone",
            ) from error
        if not isinstance(state, dict):
            raise DatasetError("holds no state dict", where=str(checkpoint), fix="copy the folder again")
        return read_hexplane(state, str(checkpoint))

    @cached_property
    def _canonical(self) -> Splats:
        splats = told_of(lambda: read_ply(self.file))
        if splats.dropped:
            raise DatasetError(
                f"{splats.dropped} of its Gaussians are not finite, so that rows and their deformation do not fit",
                where=str(self.file),
                fix="train it again",
            )
        return splats

    @cached_property
    def _raw(self) -> dict[str, NDArray[np.float32]]:
        """Parameters as they are trained: log scales, rotations of any length, opacity logits."""
        with open(self.file, "rb") as file:
            header = read_header(file, self.file.stat().st_size, self.file)
            vertex = header.find("vertex")
            assert vertex is not None, "read_ply has read it"
            rows = Rows(file, header, self.file)
            for element in header.elements[: header.elements.index(vertex)]:
                rows.skip(element)
            names = tuple(name for group in _RAW.values() for name in group)
            table = np.empty((vertex.count, len(names)), np.float32)
            first = 0
            for block in rows.read(vertex):
                count = len(block["x"])
                copy_columns(block, names, table[first : first + count])
                first += count
        return {"scales": table[:, 0:3], "rotations": table[:, 3:7], "opacity": table[:, 7:8]}
