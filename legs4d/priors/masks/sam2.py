"""SAM 2 (Ravi et al. 2024), run by transformers: masks from boxes or clicks, carried through a video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from legs4d.errors import Legs4dError
from legs4d.priors.published import library, open_model

REPOSITORY = "facebook/sam2.1-hiera-small"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Sam2:
    """See `protocols.MasksPrior`; clicks too.

    Args:
        folder: as published: config.json, model.safetensors.
        device: where to compute.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._model = open_model("transformers", "Sam2Model", folder, device, REPOSITORY, role="masks")
        self._device = device
        self._side = int(self._model.config.prompt_encoder_config.image_size)

    @torch.no_grad()
    def masks(self, picture: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, H, W], 0..1."""
        if not len(boxes):
            return np.zeros((0, *picture.shape[:2]), np.float32)
        given = torch.from_numpy(boxes.astype(np.float32)).reshape(1, -1, 2, 2) * self._scale(picture)
        return self._cut(picture, input_boxes=given.reshape(1, -1, 4).to(self._device))

    @torch.no_grad()
    def click(
        self, picture: NDArray[np.float32], points: NDArray[np.float32], inside: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """[H, W], 0..1: the thing under clicks [N, 2], of which some say what does not belong to it."""
        given = torch.from_numpy(points.astype(np.float32)) * self._scale(picture)
        labels = torch.from_numpy(inside.astype(np.int64))
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
        values = prepared(picture[None], self._side, self._device).to(self._model.dtype)
        told = self._model(pixel_values=values, multimask_output=False, **given)
        masks = told.pred_masks[0].float()
        return interpolate(masks, size=picture.shape[:2], mode="bilinear").sigmoid()[:, 0].cpu().numpy()


class Sam2Video:
    """Carries masks from the boxes of one frame through a video.

    Args:
        folder: as published: config.json, model.safetensors.
        device: where to compute.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._model = open_model("transformers", "Sam2VideoModel", folder, device, REPOSITORY, role="masks")
        self._device = device
        self._side = int(self._model.config.prompt_encoder_config.image_size)

    @torch.no_grad()
    def masks_through(
        self, pictures: NDArray[np.float32], boxes: NDArray[np.float32], frame: int = 0
    ) -> NDArray[np.float32]:
        """[T, N, H, W], 0..1, of the things in the boxes [N, 4] of one frame of [T, H, W, 3].

        Raises:
            Legs4dError: there is no such frame.
        """
        count, height, width = pictures.shape[:3]
        if not 0 <= frame < count:
            raise Legs4dError(f"there is no frame {frame}", where="masks", fix=f"choose one from 0 to {count - 1}")
        found = np.zeros((count, len(boxes), height, width), np.float32)
        if not len(boxes):
            return found
        session = self._session(pictures, boxes, frame)
        for backwards in (False, True):
            for told in self._model.propagate_in_video_iterator(session, start_frame_idx=frame, reverse=backwards):
                masks = interpolate(told.pred_masks.float(), size=(height, width), mode="bilinear")
                found[told.frame_idx] = masks[:, 0].sigmoid().cpu().numpy()
        return found

    def _session(self, pictures: NDArray[np.float32], boxes: NDArray[np.float32], frame: int) -> Any:
        models = library("transformers", "masks")
        height, width = pictures.shape[1:3]
        dtype = self._model.dtype
        video = prepared(pictures, self._side, self._device).to(dtype)
        session = models.Sam2VideoInferenceSession(
            video=video, video_height=height, video_width=width, inference_device=self._device, dtype=dtype
        )
        size = {"height": self._side, "width": self._side}
        processor = models.Sam2VideoProcessor(
            models.Sam2ImageProcessor(size=size), models.Sam2VideoVideoProcessor(size=size), target_size=self._side
        )
        processor.add_inputs_to_inference_session(
            session, frame_idx=frame, obj_ids=list(range(len(boxes))), input_boxes=[boxes.astype(float).tolist()]
        )
        self._model(inference_session=session, frame_idx=frame)
        return session


def prepared(pictures: NDArray[np.float32], side: int, device: torch.device) -> torch.Tensor:
    """[T, 3, side, side] of [T, H, W, 3], for SAM 2: squeezed to a square, colours as ImageNet's."""
    values = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2)
    values = interpolate(values, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (_MEAN, _STD))
    return (values - mean) / std
