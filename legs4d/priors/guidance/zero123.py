"""Zero-1-to-3 (Liu et al. 2023) put together from diffusers' parts: score distillation for a rendering of an object,
and pictures of the object from elsewhere.

The U-Net of an image-conditioned Stable Diffusion sees, beside the noisy latent of the rendering, the latent of the
reference picture, and attends to the reference's CLIP embedding with the camera's pose, which a layer brings to one
width.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate, linear

from legs4d.errors import Legs4dError
from legs4d.priors.published import library, open_model, precision
from legs4d.priors.state_dicts import check_state, read_state

REPOSITORY = "a Zero123 in diffusers' format (unet/, vae/, image_encoder/, clip_camera_projection/)"
POSE = 4
"""Numbers that tell a camera: elevation, sine and cosine of the azimuth, and a fourth, see `pose`."""
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_BETAS = (0.00085, 0.012, 1000)
"""First and last, whose roots are spaced evenly, and how many: Stable Diffusion's noise."""
STEPS = 50
VIEWS_SCALE = 3.0
"""How far beyond the unconditional answer, of pictures from elsewhere (Liu et al. 2023)."""


class Zero123:
    """Gradients that make a rendering look like the reference object seen from another side, and such pictures.

    See `protocols.GuidancePrior` and `protocols.ViewsPrior`.

    Args:
        folder: with unet/, vae/, image_encoder/ and clip_camera_projection/ (its linear layer).
        device: where to compute.
        stable: whether it is Stable-Zero123, which is told the reference's polar angle; else the fourth number of a
            pose is the change of distance.
        side: pixels of the pictures that it sees and makes.
        steps: of denoising the pictures that it makes.
    """

    def __init__(
        self, folder: Path, device: torch.device, *, stable: bool = True, side: int = 256, steps: int = STEPS
    ) -> None:
        def part(library_name: str, kind: str, name: str) -> Any:
            return open_model(library_name, kind, folder / name, device, f"{REPOSITORY}: {name}/", role="guidance")

        unet, vae = part("diffusers", "UNet2DConditionModel", "unet"), part("diffusers", "AutoencoderKL", "vae")
        clip = part("transformers", "CLIPVisionModelWithProjection", "image_encoder")
        layer = _projection(folder / "clip_camera_projection", clip, device)
        _check_parts(folder, unet, vae, len(layer[1]))
        self._assemble(unet, vae, clip, layer, device, stable, side, steps)

    @classmethod
    def of(
        cls,
        unet: Any,
        vae: Any,
        clip: Any,
        layer: tuple[torch.Tensor, torch.Tensor],
        device: torch.device,
    ) -> Zero123:
        """One as published, of parts that are in memory, on the device; `layer` is weight [D, D + 4] and bias [D] of
        what takes the reference's embedding and the pose."""
        made = cls.__new__(cls)
        made._assemble(unet, vae, clip, layer, device)
        return made

    def _assemble(
        self,
        unet: Any,
        vae: Any,
        clip: Any,
        layer: tuple[torch.Tensor, torch.Tensor],
        device: torch.device,
        stable: bool = True,
        side: int = 256,
        steps: int = STEPS,
    ) -> None:
        for model in (unet, vae, clip):
            model.requires_grad_(False)
        self._unet, self._vae, self._clip = unet, vae, clip
        self._weight, self._bias = layer
        self._device, self._side, self._stable, self._steps = device, side, stable, steps
        first, last, count = _BETAS
        betas = torch.linspace(first**0.5, last**0.5, count, device=device) ** 2
        self._kept = (1 - betas).cumprod(dim=0)

    def pose(self, elevation: float, azimuth: float, distance: float, reference_elevation: float = 0.0) -> torch.Tensor:
        """[4] of a camera relative to the reference's: degrees, degrees, and units of the world."""
        turn = math.radians(azimuth)
        last = math.radians(90 - reference_elevation) if self._stable else distance
        # a camera above the reference's has a smaller polar angle
        return torch.tensor([math.radians(-elevation), math.sin(turn), math.cos(turn), last], device=self._device)

    @torch.no_grad()
    def reference(self, picture: NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
        """What it keeps of the reference [S, S, 3] on white: CLIP's embedding [1, D], latent [1, 4, s, s]."""
        values = torch.from_numpy(np.ascontiguousarray(picture)).to(self._device).permute(2, 0, 1)[None]
        seen = int(self._clip.config.image_size)
        mean, std = (torch.tensor(v, device=self._device)[:, None, None] for v in (_CLIP_MEAN, _CLIP_STD))
        small = interpolate(values, size=(seen, seen), mode="bicubic", antialias=True)
        embedding = self._clip(pixel_values=((small - mean) / std).to(self._clip.dtype)).image_embeds
        shown = interpolate(values, size=(self._side, self._side), mode="bilinear", antialias=True) * 2 - 1
        # unscaled, as it was trained
        return embedding, self._vae.encode(shown.to(self._vae.dtype)).latent_dist.mode()

    def loss(
        self,
        rendering: torch.Tensor,
        poses: torch.Tensor,
        reference: tuple[torch.Tensor, torch.Tensor],
        step: int,
        *,
        scale: float = 5.0,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Half the squared distance of renderings' latents to where the model would move them: its gradient is SDS.

        Args:
            rendering: [B, 3, H, W] 0..1 on white, with gradients.
            poses: [B, 4], see `pose`.
            step: of the noise, 0 to 999; its weight is 1 − ᾱ.
            scale: how far beyond the unconditional answer.

        Raises:
            Legs4dError: there is no such step.
        """
        if not 0 <= step < len(self._kept):
            raise Legs4dError(f"there is no step {step}", where="guidance", fix=f"0 to {len(self._kept) - 1}")
        shown = interpolate(rendering, size=(self._side, self._side), mode="bilinear", antialias=True) * 2 - 1
        latents = self._vae.encode(shown.to(self._vae.dtype)).latent_dist.mode() * self._vae.config.scaling_factor
        with torch.no_grad():
            noise = torch.randn(latents.shape, generator=generator, device=latents.device, dtype=latents.dtype)
            kept = self._kept[step].to(latents.dtype)
            noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
            told = self._noise_in(noisy, poses, reference, step, scale)
            target = latents - (1 - kept) * (told - noise)
        return 0.5 * ((latents.float() - target.float()) ** 2).sum()  # half precision ends at 65504

    @torch.no_grad()
    def views(self, picture: NDArray[np.float32], cameras: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
        """[C, S, S, 3] by DDIM (Song et al. 2021). A Stable-Zero123 is told no distance, and takes the picture's camera
        to be level with the object."""
        schedule: Any = library("diffusers", "views").DDIMScheduler(
            beta_start=_BETAS[0],
            beta_end=_BETAS[1],
            beta_schedule="scaled_linear",
            num_train_timesteps=_BETAS[2],
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        )
        schedule.set_timesteps(self._steps)
        reference = self.reference(picture)
        generator = torch.Generator("cpu").manual_seed(seed)
        made = np.zeros((len(cameras), self._side, self._side, 3), np.float32)
        for camera, shown in zip(cameras, made, strict=True):  # one by one: the memory is that of one
            poses = self.pose(*map(float, camera))[None]
            latents = torch.randn(reference[1].shape, generator=generator).to(reference[1])
            for step in schedule.timesteps.tolist():
                told = self._noise_in(latents, poses, reference, step, VIEWS_SCALE)
                latents = schedule.step(told, step, latents).prev_sample
            values = self._vae.decode(latents / self._vae.config.scaling_factor).sample
            shown[:] = (values[0].float() / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
        return made

    def _noise_in(
        self,
        noisy: torch.Tensor,
        poses: torch.Tensor,
        reference: tuple[torch.Tensor, torch.Tensor],
        step: int,
        scale: float,
    ) -> torch.Tensor:
        embedding, picture = reference
        count = len(noisy)
        asked = torch.cat([embedding.expand(count, -1), poses.to(embedding.dtype)], dim=1)
        asked = linear(asked, self._weight, self._bias)[:, None]
        picture = picture.expand(count, -1, -1, -1)
        given = torch.cat(
            [torch.cat([noisy, picture], dim=1), torch.cat([noisy, torch.zeros_like(picture)], dim=1)], dim=0
        )
        context = torch.cat([asked, torch.zeros_like(asked)])
        told = self._unet(given, torch.full((2 * count,), step, device=noisy.device), context).sample
        with_it, without = told.chunk(2)
        return without + scale * (with_it - without)


def _check_parts(folder: Path, unet: Any, vae: Any, width: int) -> None:
    """Raise Legs4dError where parts do not go together: those of another model can be read as well.

    Args:
        width: numbers of an embedding with its pose.
    """
    latent = int(vae.config.latent_channels)
    told = unet.config
    found = (told.in_channels, told.out_channels, told.cross_attention_dim, told.addition_embed_type)
    wanted = (2 * latent, latent, width, None)
    if found != wanted:
        what = (
            f"takes {found[0]} channels, gives {found[1]} and attends to {found[2]} numbers, where a Zero123's takes "
            f"{wanted[0]}, gives {wanted[1]} and attends to {wanted[2]}: it is another model's"
        )
        raise Legs4dError(what, where=str(folder / "unet"), fix=f"put the files of {REPOSITORY} into {folder}")


def _projection(folder: Path, clip: Any, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    fix = f"put the files of {REPOSITORY} there"
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        raise Legs4dError(f"there are {len(files)} .safetensors", where=str(folder), fix=fix)
    state = {name.rpartition(".")[2]: value for name, value in read_state(files[0], fix).items()}
    width = int(clip.config.projection_dim)
    expected: dict[str, tuple[int, ...]] = {"weight": (width, width + POSE), "bias": (width,)}
    check_state(state, expected, "the layer that takes pose and picture", str(files[0]), fix)
    dtype = precision(device)
    return state["weight"].to(device, dtype), state["bias"].to(device, dtype)
