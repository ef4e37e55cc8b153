"""The first frame on CUDA: a step at all that is seen, and one at the background alone, are a graph each, which go on
while Gaussians come and go, in memory for as many as there may be."""

from __future__ import annotations

import numpy as np
import torch

from legs4d.config import FirstFrameSettings
from legs4d.gaussians.gaussians import Gaussians
from legs4d.progress import StageReporter
from legs4d.raster.screen import ScreenGradient
from legs4d.raster.states import CameraTable
from legs4d.raster.tiles import FILLED, ROOM_A_PICTURE, TILE, Room, composite, project
from legs4d.raster.upload import upload
from legs4d.reconstruct.captured.pictures import Pictures
from legs4d.reconstruct.captured.replay import Replay, Rows
from legs4d.reconstruct.fitting.dropout import leave_out
from legs4d.reconstruct.fitting.first_frame import FirstFrameFit
from legs4d.reconstruct.observation import Backdrop, CameraColors, Observation
from legs4d.reconstruct.vignette import falloff_of
from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import InitialPoints
from legs4d.scene.stage import Stage

FEWEST = 4
"""Points that have the neighbours which tell how wide they are."""
LOOK_EVERY = 10
"""Steps after which the host looks whether there is room enough for tiles, which waits for the device."""


def load(cameras: Cameras, stage: Stage, settings: FirstFrameSettings, device: torch.device) -> None:
    """Take one step of a fit of nothing to a black picture of the first camera, which loads and compiles what the steps
    of any fit to such pictures need: gsplat and kernels take seconds, the first time on a machine several.

    Raises:
        Legs4dError: gsplat is not installed.
    """
    one = cameras.take(np.array([0]))
    picture = torch.zeros(1, one.height, one.width, 3, device=device)
    points = InitialPoints(
        np.eye(FEWEST, 3, dtype=np.float32), np.zeros((FEWEST, 3), np.float32), np.ones(FEWEST, bool)
    )
    short = settings.model_copy(update={"steps": 1, "cameras_per_step": 1})
    fit = CapturedFit(Observation(one, picture, picture[..., 0]), points, stage, short, None)
    fit._look_at_all()


class CapturedFit(FirstFrameFit):
    """Finds what `FirstFrameFit` finds, on CUDA."""

    def __init__(
        self,
        observed: Observation,
        points: InitialPoints,
        stage: Stage,
        settings: FirstFrameSettings,
        backdrop: Backdrop | None,
    ) -> None:
        most = max(settings.densify.max_gaussians, len(points.positions))
        super().__init__(observed, points, stage, settings, backdrop, capacity=most)
        device = observed.images.device
        self._count = torch.full((), float(len(self.parameters)), device=device)
        self._loss = torch.zeros((), device=device)
        self._table = CameraTable.of(observed.cameras, device)
        self._behind = None if backdrop is None else CameraTable.of(Cameras.together(backdrop.cameras), device)
        rates = self.parameters.optimizer.rates["means"] * np.array(self.decay)
        table = np.concatenate([np.stack(self.plan), self.alone[:, None], rates[:, None]], axis=1)
        self._rows = Rows(upload(table.astype(np.float32), device))
        # Step sizes that are numbers would be captured together with how many steps were taken by then.
        for optimizer in (self.parameters.optimizer, self.camera_optimizer):
            optimizer.rates = {
                name: torch.full((), float(rate), device=device) for name, rate in optimizer.rates.items()
            }
        batch, (_, height, width) = len(self.plan[0]), observed.masks.shape
        self._everywhere = torch.ones(batch, height, width, dtype=torch.bool, device=device)
        self._active = torch.ones(batch, -(-height // TILE) + 1, -(-width // TILE), dtype=torch.bool, device=device)
        self._active[:, -1] = False
        self._each = torch.arange(batch, device=device)
        self._rooms = [Room.of(ROOM_A_PICTURE * batch, device, grows=True) for _ in range(2)]
        self._replays = [
            Replay(
                step, room if device.type == "cuda" else None, generators=[self.generator], beside=lambda: self._replays
            )
            for step, room in zip((self._look_at_all, self._look_at_background), self._rooms, strict=True)
        ]

    def run(self, reporter: StageReporter) -> tuple[Gaussians, CameraColors]:
        try:
            return super().run(reporter)
        finally:
            for replay in self._replays:  # which know this one, so that their memory would stay
                replay.forget()

    def step(self, step: int) -> torch.Tensor:
        if step % LOOK_EVERY == 0 and self._loss.is_cuda:
            self._make_room(1.0)
        self._replays[int(self.alone[step] >= 0)]()
        return self._loss

    def densified(self) -> None:
        grown = len(self.parameters) / float(self._count)
        self._count.fill_(len(self.parameters))
        self._make_room(grown)

    def _make_room(self, grown: float) -> None:
        """Where there may soon be too little, as there are `grown` times as many Gaussians: what finds none is not
        drawn."""
        for replay, room in zip(self._replays, self._rooms, strict=True):
            if room.filled() * grown > FILLED:
                replay.forget()

    def _read(self) -> tuple[torch.Tensor, torch.Tensor]:
        """[B] int64 each: cameras of the next step, whose step size is set, and pictures of the background."""
        row = self._rows.read()
        self.parameters.optimizer.rates["means"] = row[-1]
        which = row[:-2].to(torch.int64)
        return which, row[-2].to(torch.int64).expand_as(which)

    def _look_at_all(self) -> None:
        which, _ = self._read()
        truth = torch.cat([self.observed.images[which], self.observed.masks[which][..., None]], dim=-1)
        gaussians = self.parameters.gaussians()
        shown = leave_out(gaussians, self.settings.dropout, self.generator)
        drawn, alpha = self._render(shown, self._table, which, self._rooms[0])
        own = self._pictures(truth, self._everywhere, self._table.intrinsics[which], which)
        self._move(self._loss_of(own, drawn, self.settings.segmentation_weight), gaussians, alpha)

    def _look_at_background(self) -> None:
        which, frames = self._read()
        assert self.backdrop is not None and self._behind is not None
        images = self.backdrop.images[frames, which].to(torch.float32) / 255
        gaussians = self.parameters.gaussians()
        shown = leave_out(gaussians, self.settings.dropout, self.generator)
        alone = shown.replace(opacities=shown.opacities * ~shown.is_foreground)
        cameras = frames * len(self.observed.cameras) + which
        drawn, alpha = self._render(alone, self._behind, cameras, self._rooms[1])
        truth = torch.nn.functional.pad(images, (0, 1))
        own = self._pictures(truth, self.backdrop.open[frames, which], self._behind.intrinsics[cameras], which)
        self._move(self._loss_of(own, drawn, 0.0), gaussians, alpha)

    def _render(
        self, shown: Gaussians, table: CameraTable, which: torch.Tensor, room: Room
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """([B, Y, X, 4] colours and foreground in whole tiles, alpha [B, H, W]); the densifier is told how losses pull
        at centres."""
        count, size = len(which), (table.cameras.width, table.cameras.height)
        projected = project(
            shown.means,
            shown.quats,
            shown.scales,
            shown.opacities,
            table.viewmats[which],
            table.intrinsics[which],
            size,
            self.stage.near,
        )

        def observe(gradient: torch.Tensor) -> None:
            screen = ScreenGradient()
            screen.norm = torch.linalg.vector_norm(gradient, dim=-1).sum(dim=0)
            screen.seen = (projected.radii > 0).all(dim=-1).sum(dim=0)
            self.densifier.observe(screen)

        projected.centers.register_hook(observe)
        channels = torch.cat([shown.rgb, shown.is_foreground[:, None].to(torch.float32)], dim=1)
        opacities = shown.opacities.expand(count, -1)
        drawn, alpha = composite(projected, channels.expand(count, -1, -1), opacities, size, room, active=self._active)
        return drawn, alpha[:, : size[1], : size[0]]

    def _pictures(
        self, truth: torch.Tensor, region: torch.Tensor, intrinsics: torch.Tensor, which: torch.Tensor
    ) -> Pictures:
        """What the cameras at `which` [B] saw, as these see colours by now."""
        colors = self.colors()
        light = torch.ones_like(truth[..., 0])
        if colors.vignette is not None:
            light = falloff_of(colors.vignette, intrinsics, (light.shape[2], light.shape[1]))[..., 0]
        return Pictures(truth, region, self._active, torch.exp(colors.gain)[which], colors.offset[which], light)

    def _loss_of(self, own: Pictures, drawn: torch.Tensor, segmentation_weight: float) -> torch.Tensor:
        return own.loss(drawn, self._each, self._active, self.settings.ssim_share, segmentation_weight)

    def _move(self, loss: torch.Tensor, gaussians: Gaussians, alpha: torch.Tensor) -> None:
        """A step of everything, by what the pictures say and what Gaussians cost."""
        spent = self.spent(gaussians).sum() / self._count
        loss = loss + self.settings.opaque_weight * (1 - alpha).mean() + spent
        loss.backward()
        self.parameters.step()
        self.camera_optimizer.step()
        self._loss.copy_(loss.detach())
