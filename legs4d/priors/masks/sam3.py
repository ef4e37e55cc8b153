"""SAM 3 (Carion et al. 2025), run by transformers: everything that a few words mean, and masks from boxes or clicks.

One folder serves all its classes: the published weights are those of a detector, which reads words, and of a tracker,
which is SAM 2's on the same eyes.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from legs4d.errors import Legs4dError
from legs4d.priors.masks.segment_anything import Family, StillMasks, VideoMasks, prepared
from legs4d.priors.protocols import NamedBoxes
from legs4d.priors.published import library, open_model, open_tokenizer

SAM3 = Family(
    "facebook/sam3",
    "Sam3TrackerModel",
    "Sam3TrackerVideoModel",
    "Sam3TrackerVideoInferenceSession",
    "Sam3TrackerVideoProcessor",
    "Sam3ImageProcessor",
    (0.5, 0.5, 0.5),
    (0.5, 0.5, 0.5),
    wide=True,
)
LEAST_SCORE = 0.3
"""Of what words mean, from which a thing counts; transformers' own default."""
_MOST_TOKENS = 32


class Sam3(StillMasks):
    """Masks from boxes or clicks, of one picture."""

    family = SAM3


class Sam3Video(VideoMasks):
    """Masks from boxes or clicks, carried through a video."""

    family = SAM3


class Sam3Words:
    """See `protocols.WordsPrior`: finds everything that words mean.

    Args:
        folder: as published: config.json, model.safetensors, and the tokenizer's files.
        device: where to compute.
        least_score: of a thing that is told.
    """

    def __init__(self, folder: Path, device: torch.device, least_score: float = LEAST_SCORE) -> None:
        self._model = open_model("transformers", "Sam3Model", folder, device, SAM3.repository, role="boxes", wide=True)
        self._tokens = open_tokenizer(folder, SAM3.repository, role="boxes")
        self._device, self.least_score = device, least_score
        side = self._model.config.vision_config.backbone_config.image_size
        self._side = int(side if isinstance(side, int) else side[0])

    def boxes_of(self, picture: NDArray[np.float32], words: tuple[str, ...]) -> NamedBoxes:
        """What is meant by any of the words, by which it is named.

        Raises:
            Legs4dError: words are too many for the network.
        """
        return self.found(picture, words)[0]

    @torch.no_grad()
    def found(self, picture: NDArray[np.float32], words: tuple[str, ...]) -> tuple[NamedBoxes, NDArray[np.float32]]:
        """What is meant by any of the words, the surest first, and its masks [N, H, W], 0..1.

        Raises:
            Legs4dError: words are too many for the network.
        """
        values = prepared(picture[None], self._side, self._device, SAM3).to(self._model.dtype)
        seen = self._model.get_vision_features(pixel_values=values)
        height, width = picture.shape[:2]
        names, scores, boxes, masks = [], [], [], []
        for prompt in words:
            ids, attended = tokens_of(self._tokens, prompt, self._device)
            told = self._model(vision_embeds=seen, input_ids=ids, attention_mask=attended)
            sure = told.pred_logits[0].float().sigmoid() * told.presence_logits[0].float().sigmoid()
            kept = torch.nonzero(sure > self.least_score)[:, 0]
            names += [prompt] * len(kept)
            scores.append(sure[kept])
            boxes.append(told.pred_boxes[0, kept].float() * torch.tensor([width, height] * 2, device=self._device))
            masks.append(told.pred_masks[0, kept].float())
        order = torch.cat(scores).argsort(descending=True).cpu()
        cut = torch.cat(masks)[order.to(self._device)]
        if len(cut):
            cut = interpolate(cut[None], size=(height, width), mode="bilinear", align_corners=False)[0].sigmoid()
        else:
            cut = cut.new_zeros(0, height, width)
        return (
            NamedBoxes(
                torch.cat(boxes).cpu().numpy()[order.numpy()].reshape(-1, 4),
                torch.cat(scores).cpu().numpy()[order.numpy()],
                tuple(names[i] for i in order.tolist()),
            ),
            cut.cpu().numpy(),
        )


class Sam3WordsVideo:
    """Finds everything that words mean in a video, and keeps it apart over time.

    Args:
        folder: as published: config.json, model.safetensors, and the tokenizer's files.
        device: where to compute.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._model = open_model(
            "transformers", "Sam3VideoModel", folder, device, SAM3.repository, role="masks", wide=True
        )
        self._tokens = open_tokenizer(folder, SAM3.repository, role="masks")
        self._device = device
        self._side = int(self._model.config.tracker_config.prompt_encoder_config.image_size)
        code: Any = import_module("transformers.models.sam3_video.modeling_sam3_video")
        if getattr(code, "cv_utils_kernel", None) is None:
            code.cv_utils_kernel = False  # or it would fetch machine code from a hub, to fill holes of a few pixels

    @torch.no_grad()
    def masks_through(
        self, pictures: NDArray[np.float32], words: tuple[str, ...]
    ) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """([T, N, H, W], 0..1, of things in [T, H, W, 3]; N words by which each was found).

        Raises:
            Legs4dError: words are too many for the network.
        """
        count, height, width = pictures.shape[:3]
        session = library("transformers", "masks").models.sam3_video.modeling_sam3_video.Sam3VideoInferenceSession(
            video=prepared(pictures, self._side, self._device, SAM3).to(self._model.dtype),
            video_height=height,
            video_width=width,
            inference_device=self._device,
            inference_state_device=self._device,
            video_storage_device=self._device,
            dtype=self._model.dtype,
        )
        for prompt in words:
            number = session.add_prompt(prompt)
            ids, attended = tokens_of(self._tokens, prompt, self._device)
            session.prompt_input_ids[number], session.prompt_attention_masks[number] = ids, attended
        seen: dict[int, dict[int, torch.Tensor]] = {}
        for told in self._model.propagate_in_video_iterator(session):
            seen[told.frame_idx] = dict(told.obj_id_to_mask)
        things = sorted({one for frame in seen.values() for one in frame} - set(session.hotstart_removed_obj_ids))
        found = np.zeros((count, len(things), height, width), np.float32)
        for frame, masks in seen.items():
            for place, thing in enumerate(things):
                if thing in masks:
                    logits = masks[thing].float().reshape(1, 1, *masks[thing].shape[-2:])
                    shown = interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
                    found[frame, place] = shown[0, 0].sigmoid().cpu().numpy()
        return found, tuple(session.prompts[session.obj_id_to_prompt_id[thing]] for thing in things)


def tokens_of(tokens: Any, prompt: str, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers of the prompt's word pieces and which of them count, [1, 32] each.

    Raises:
        Legs4dError: the prompt is empty, or too long to be read whole.
    """
    if not prompt.strip():
        raise Legs4dError("says nothing", where="the prompt", fix='name what is to be found: "a ball"')
    told = tokens(prompt, return_tensors="pt", padding="max_length", max_length=_MOST_TOKENS)
    if told.input_ids.shape[1] > _MOST_TOKENS:
        what = f"{prompt!r} is longer than SAM 3 reads ({_MOST_TOKENS} word pieces)"
        raise Legs4dError(what, where="the prompt", fix="say it in fewer words")
    return told.input_ids.to(device), told.attention_mask.to(device)
