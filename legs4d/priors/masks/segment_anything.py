"""What SAM 2 and the half of SAM 3 that follows it share: masks from boxes or clicks, carried through videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from legs4d.errors import Legs4dError
from legs4d.priors.published import library, open_model


@dataclass(frozen=True)
class Family:
    """How transformers calls the parts of a family of models.

    Attributes:
        repository: where the weights are published.
        still, video: models.
        session, processor, images: of its videos.
        mean, std: of the colours that it was trained with.
        wide: whether half precision has to be bfloat16.
    """

    repository: str
    still: str
    video: str
    session: str
    processor: str
    images: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    wide: bool = False


@dataclass(frozen=True)
class Clicks:
    """Where somebody clicked on one thing.

    Attributes:
        points: [N, 2] float32, pixels.
        inside: [N] whether the thing is there, or is not.
    """

    points: NDArray[np.float32]
    inside: NDArray[np.bool_]


class _Opened:
    """One of a family's networks.

    Args:
        folder: as published: config.json, model.safetensors.
        device: where to compute.
    """

    family: Family
    is_video: ClassVar[bool]

    def __init__(self, folder: Path, device: torch.device) -> None:
        told = self.family
        name = told.video if self.is_video else told.still
        self._model = open_model("transformers", name, folder, device, told.repository, role="masks", wide=told.wide)
        self._device = device
        self._side = int(self._model.config.prompt_encoder_config.image_size)


class StillMasks(_Opened):
    """See `protocols.MasksPrior`; clicks too."""

    is_video = False

    @torch.no_grad()
    def masks(self, picture: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, H, W], 0..1."""
        if not len(boxes):
            return np.zeros((0, *picture.shape[:2]), np.float32)
        given = torch.from_numpy(boxes.astype(np.float32)).reshape(1, -1, 2, 2) * self._scale(picture)
        return self._cut(picture, input_boxes=given.reshape(1, -1, 4).to(self._device))

    @torch.no_grad()
    def click(self, picture: NDArray[np.float32], clicks: Clicks) -> NDArray[np.float32]:
        """[H, W], 0..1: the thing that is clicked on."""
        given = torch.from_numpy(clicks.points.astype(np.float32)) * self._scale(picture)
        labels = torch.from_numpy(clicks.inside.astype(np.int64))
        return self._cut(
            picture,
            input_points=given[None, None].to(self._device),
            input_labels=labels[None, None].to(self._device),
        )[0]

    def _scale(self, picture: NDArray[np.float32]) -> torch.Tensor:
        """From pixels to those of the network's square."""
        height, width = picture.shape[:2]
        return torch.tensor([self._side / width, self._side / height])

    def _cut(self, picture: NDArray[np.float32], **given: torch.Tensor) -> NDArray[np.float32]:
        values = prepared(picture[None], self._side, self._device, self.family).to(self._model.dtype)
        told = self._model(pixel_values=values, multimask_output=False, **given)
        masks = told.pred_masks[0].float()
        return interpolate(masks, size=picture.shape[:2], mode="bilinear").sigmoid()[:, 0].cpu().numpy()


class VideoMasks(_Opened):
    """Carries masks from the boxes of one frame, or clicks on it, through a video."""

    is_video = True

    def masks_through(
        self, pictures: NDArray[np.float32], boxes: NDArray[np.float32], frame: int = 0
    ) -> NDArray[np.float32]:
        """[T, N, H, W], 0..1, of the things in the boxes [N, 4] of one frame of [T, H, W, 3].

        Raises:
            Legs4dError: there is no such frame.
        """
        return self._through(pictures, frame, len(boxes), {"input_boxes": [boxes.astype(float).tolist()]})

    def clicked_through(
        self, pictures: NDArray[np.float32], clicks: list[Clicks], frame: int = 0
    ) -> NDArray[np.float32]:
        """[T, N, H, W], 0..1, of N things that are clicked on in one frame of [T, H, W, 3].

        Raises:
            Legs4dError: there is no such frame.
        """
        given = {
            "input_points": [[one.points.astype(float).tolist() for one in clicks]],
            "input_labels": [[one.inside.astype(int).tolist() for one in clicks]],
        }
        return self._through(pictures, frame, len(clicks), given)

    @torch.no_grad()
    def _through(
        self, pictures: NDArray[np.float32], frame: int, things: int, given: dict[str, Any]
    ) -> NDArray[np.float32]:
        count, height, width = pictures.shape[:3]
        if not 0 <= frame < count:
            raise Legs4dError(f"there is no frame {frame}", where="masks", fix=f"choose one from 0 to {count - 1}")
        found = np.zeros((count, things, height, width), np.float32)
        if not things:
            return found
        session = self._session(pictures, things, given, frame)
        for backwards in (False, True):
            for told in self._model.propagate_in_video_iterator(session, start_frame_idx=frame, reverse=backwards):
                masks = interpolate(told.pred_masks.float(), size=(height, width), mode="bilinear")
                found[told.frame_idx] = masks[:, 0].sigmoid().cpu().numpy()
        return found

    def _session(self, pictures: NDArray[np.float32], things: int, given: dict[str, Any], frame: int) -> Any:
        models, told = library("transformers", "masks"), self.family
        height, width = pictures.shape[1:3]
        dtype = self._model.dtype
        video = prepared(pictures, self._side, self._device, told).to(dtype)
        session = getattr(models, told.session)(
            video=video, video_height=height, video_width=width, inference_device=self._device, dtype=dtype
        )
        size = {"height": self._side, "width": self._side}
        processor = getattr(models, told.processor)(
            getattr(models, told.images)(size=size), models.Sam2VideoVideoProcessor(size=size), target_size=self._side
        )
        processor.add_inputs_to_inference_session(session, frame_idx=frame, obj_ids=list(range(things)), **given)
        self._model(inference_session=session, frame_idx=frame)
        return session


def prepared(pictures: NDArray[np.float32], side: int, device: torch.device, family: Family) -> torch.Tensor:
    """[T, 3, side, side] of [T, H, W, 3]: squeezed to a square, colours as in training."""
    values = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2)
    values = interpolate(values, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (family.mean, family.std))
    return (values - mean) / std
