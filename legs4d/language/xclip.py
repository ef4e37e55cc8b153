"""X-CLIP (Ni et al. 2022): how well a video shows what words say, by a model of transformers out of a user's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from legs4d.priors.published import open_model, open_tokenizer, precision

REPOSITORY = "microsoft/xclip-base-patch32"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the colours that it sees: its processor's."""


class XClip:
    """The model.

    Args:
        folder: with config.json, its .safetensors and its tokenizer, as published.
        device: where to compute.

    Raises:
        Legs4dError: transformers is missing, or the folder is another model's or not whole.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._model = open_model("transformers", "XCLIPModel", folder, device, REPOSITORY, role="eval --xclip")
        self._tokenizer = open_tokenizer(folder, REPOSITORY, role="eval --xclip")
        self._device = device
        config = self._model.config
        self.frames, self._size = int(config.vision_config.num_frames), int(config.vision_config.image_size)
        self._most = int(config.text_config.max_position_embeddings)

    @torch.no_grad()
    def score(self, video: torch.Tensor, words: str) -> float:
        """The class's `logits_per_video`, its scale times the cosine: higher is more alike.

        Args:
            video: [T, S, S, 3] 0..1 RGB; as many of its frames as the model sees are taken, evenly.
        """
        which = np.linspace(0, len(video) - 1, self.frames).round().astype(np.int64)
        seen = video[torch.as_tensor(which, device=video.device)].to(self._device).permute(0, 3, 1, 2)
        small = torch.nn.functional.interpolate(seen, (self._size, self._size), mode="bilinear", antialias=True)
        mean, std = (torch.tensor(v, device=self._device)[:, None, None] for v in (_MEAN, _STD))
        values = ((small.clamp(0, 1) - mean) / std).to(precision(self._device))[None]
        told = self._tokenizer([words], return_tensors="pt", truncation=True, max_length=self._most).to(self._device)
        found = self._model(
            input_ids=told["input_ids"], attention_mask=told["attention_mask"], pixel_values=values
        ).logits_per_video
        return float(found[0, 0])
