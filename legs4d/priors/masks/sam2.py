"""SAM 2 (Ravi et al. 2024), run by transformers: masks from boxes or clicks, carried through a video."""

from __future__ import annotations

from legs4d.priors.masks.segment_anything import Family, StillMasks, VideoMasks

SAM2 = Family(
    "facebook/sam2.1-hiera-small",
    "Sam2Model",
    "Sam2VideoModel",
    "Sam2VideoInferenceSession",
    "Sam2VideoProcessor",
    "Sam2ImageProcessor",
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)


class Sam2(StillMasks):
    """Of one picture. The published weights are those of videos, of which it takes what it needs."""

    family = SAM2


class Sam2Video(VideoMasks):
    """Of a video."""

    family = SAM2
