#!/usr/bin/env bash
# diffusers 0.42.1's WanImageToVideoPipeline takes `last_image` for any model, and its documentation makes a video between two
# pictures with it. For Wan 2.2's 5B (`expand_timesteps`) it leaves the last picture out without a word: black, white or none,
# the video is the same to the last bit. Wan 2.1's FLF2V weights are the ones that take it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check diffusers==0.42.1 transformers==5.23.0 torch==2.15.0 numpy==2.4.6 pillow==13.0.0 ftfy==6.3.1
"$folder/env/bin/python" - <<'PY'
from importlib.metadata import version

import diffusers
import torch
from PIL import Image

torch.manual_seed(0)
vae = diffusers.AutoencoderKLWan(
    base_dim=4, decoder_base_dim=4, z_dim=6, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
    latents_mean=[0.0] * 6, latents_std=[1.0] * 6, is_residual=True, in_channels=12, out_channels=12, patch_size=2,
    scale_factor_spatial=16,
)
transformer = diffusers.WanTransformer3DModel(
    num_attention_heads=2, attention_head_dim=12, in_channels=6, out_channels=6, text_dim=16, freq_dim=16, ffn_dim=16,
    num_layers=1,
)
pipeline = diffusers.WanImageToVideoPipeline(
    tokenizer=None, text_encoder=None, vae=vae, transformer=transformer, expand_timesteps=True,
    scheduler=diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
)
pipeline.set_progress_bar_config(disable=True)
first, words = Image.new("RGB", (64, 32), "red"), torch.zeros(1, 4, 16)


def video(begin=first, **last):
    """[5, 32, 64, 3] of fixed noise."""
    made = pipeline(
        image=begin, prompt_embeds=words, negative_prompt_embeds=words, height=32, width=64, num_frames=5,
        num_inference_steps=2, generator=torch.Generator().manual_seed(1), output_type="np", **last,
    )
    return made.frames[0]


none, black, white = video(), *(video(last_image=Image.new("RGB", (64, 32), color)) for color in ("black", "white"))
other = video(Image.new("RGB", (64, 32), "blue"))
print(f"diffusers {version('diffusers')}")
print("guessed: the last picture decides how the video ends, as the first decides how it begins, or is refused")
print("seen: with a blue first picture in place of a red one the video differs by", abs(other - none).max())
print("      with a white last picture in place of a black one by", abs(white - black).max())
print("      with a white last picture in place of none by", abs(white - none).max())
assert abs(white - black).max() == 0 == abs(white - none).max() and abs(other - none).max() > 0
PY
