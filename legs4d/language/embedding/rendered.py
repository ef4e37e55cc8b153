"""Pictures of a run that nobody filmed: what encoders that see are shown of splats that came without footage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.config import DatasetSettings
from legs4d.errors import RunError
from legs4d.gaussians.store.handed import handed_footage
from legs4d.gaussians.store.run import Run
from legs4d.scene.camera import Cameras
from legs4d.scene.content import Content, digest_of
from legs4d.scene.footage.clock import seconds_of
from legs4d.scene.images import as_bytes
from legs4d.scene.sequence import Caption, InitialPoints, Sequence, Split

VERSION = 1
"""Of how they are rendered: raise it when the same run gives other pictures."""
GREY = 0.5
"""Behind the splats: neither a bright nor a dark subject stands out from it by its edge alone."""
VIRTUAL = "virtual"
"""`info["cameras"]` of a run whose cameras nobody filmed with."""
SOLID = 0.5
"""Share of a pixel above which it is taken for the subject."""


class RenderedFootage:
    """A run as a `Sequence`: its own cameras look at it, on grey; the foreground is what they see.

    Args:
        run: with geometry and cameras; `gaussians.import_splats` puts a circle of them around what it imports.
        engine: "cpu", "cuda" or "auto".

    Raises:
        RunError: the run has no cameras.
    """

    captions: dict[int, list[Caption]] | None = None
    initial_points: InitialPoints | None = None
    bounds: tuple[float, float] | None = None
    notes: tuple[str, ...] = ("There is no footage: language is what an encoder sees in pictures of the run itself.",)
    see_through = False
    origin = (0.0, 0.0, 0.0)

    def __init__(self, run: Run, engine: str = "auto") -> None:
        if not run.has_cameras:
            raise RunError("has no cameras to see it with", where=str(run.path), fix="import it again")
        self._run, self._engine = run, engine
        self.content, self.reading = Content(run.path, ()), DatasetSettings()
        self.root: Path = run.path
        self.num_frames = run.num_frames
        self.frame_numbers: tuple[int, ...] = tuple(run.info["frame_numbers"])
        self.fps = float(run.info["fps"])
        self.times = seconds_of(range(run.num_frames), self.fps)
        self._seen: tuple[int, NDArray[np.float32], NDArray[np.float32]] | None = None

    def cameras(self, split: Split, frame: int) -> Cameras:
        """The run's; there are none to test by."""
        cameras = self._run.cameras("train")
        return cameras if split == "train" else cameras.take([])

    def taken_at(self, split: Split, frame: int) -> NDArray[np.float64]:
        """Pictures of a frame show that frame."""
        return np.full(len(self.cameras(split, frame)), frame, np.float64)

    def images(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32]:
        """[C, H, W, 3] RGB in 0..1."""
        return self._look(split, frame)[0][self._which(split, cameras)]

    def in_bytes(self, split: Split, frame: int, camera: int) -> NDArray[np.uint8]:
        """[H, W, 3] one of them in 255ths."""
        return as_bytes(self.images(split, frame, [camera])[0])

    def masks(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32]:
        """[C, H, W] 1 where splats fill most of a pixel."""
        return self._look(split, frame)[1][self._which(split, cameras)]

    def objects(self, split: Split, frame: int, cameras: list[int] | None = None) -> None:
        """Nobody told any."""
        return None

    def cut(self, split: Split, frame: int, cameras: list[int] | None = None) -> None:
        """There are no mask files."""
        return None

    def depths(self, split: Split, frame: int, cameras: list[int] | None = None) -> None:
        """Nobody measured any."""
        return None

    def known(self, split: Split, frame: int, cameras: list[int] | None = None) -> None:
        """Everywhere."""
        return None

    def picture_names(self, split: Split, frame: int) -> tuple[str, ...]:
        """Numbers of the frames."""
        return (f"{self.frame_numbers[frame]:06d}",) * len(self.cameras(split, frame))

    def fingerprint(self, *, language: bool = False) -> str:
        """Of the run's geometry and cameras."""
        stages = {name: self._run.stages[name].fingerprint for name in self._run.geometry_stages}
        views = self._run.cameras("train").world_to_camera.round(6).tolist()
        return digest_of(["rendered", VERSION, stages, views])

    def _which(self, split: Split, cameras: list[int] | None) -> list[int]:
        return list(range(len(self.cameras(split, 0)))) if cameras is None else cameras

    def _look(self, split: Split, frame: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pictures and masks of all cameras in a frame; those of the last frame are kept, as both are asked for."""
        cameras = self.cameras(split, frame)
        if not len(cameras):
            size = (0, cameras.height, cameras.width)
            return np.zeros((*size, 3), np.float32), np.zeros(size, np.float32)
        if self._seen is None or self._seen[0] != frame:
            self._seen = (frame, *self._render(cameras, frame))
        return self._seen[1], self._seen[2]

    def _render(self, cameras: Cameras, frame: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        import torch

        from legs4d.raster import render
        from legs4d.reconstruct.stages import choose_device

        device = choose_device(self._engine)
        with torch.no_grad():
            background = torch.full((3,), GREY, device=device)
            seen = render(
                self._run.frame(frame).torch(device), cameras, background=background, near=self._run.info["near"]
            )
        return seen.color.clamp(0, 1).cpu().numpy(), (seen.alpha > SOLID).float().cpu().numpy()


def is_filmed(run: Run) -> bool:
    """Whether there is, or was, footage of a run; where there is none, `RenderedFootage` stands for it."""
    return "dataset" in run.info or run.info.get("cameras") != VIRTUAL


def handed_sequence(run: Run) -> Sequence:
    """What encoders are shown of a run, in a process that was handed its name."""
    return handed_footage(run) if is_filmed(run) else RenderedFootage(run)
