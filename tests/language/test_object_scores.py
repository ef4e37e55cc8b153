"""A generated object beside its video: pictures, LPIPS, CLIP and X-CLIP, by small random models of the same classes."""

from __future__ import annotations

import json
import string
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from legs4d.cli import app
from legs4d.commands import Object
from legs4d.context import Context, EncoderFiles
from legs4d.errors import Legs4dError, RunError
from legs4d.gaussians.store.run import Run
from legs4d.generate.work import object_run
from legs4d.language.object_scores import Asked, object_scores
from legs4d.language.xclip import XClip
from legs4d.priors.perceptual.layers import NETWORKS
from tests.generate.test_object import moved, shown
from tests.language.encoders.test_openclip import MODEL, _model, reference, weights

__all__ = ["_model", "reference", "weights"]
CPU = torch.device("cpu")
transformers: Any = import_module("transformers")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from legs4d.generate.lenses import FOURDGEN

    folder = tmp_path_factory.mktemp("film")
    for frame in range(3):
        Image.fromarray(shown(moved(frame), FOURDGEN.cameras(0, 0, 64))[0]).save(folder / f"{frame}.png")
    return folder


@pytest.fixture(scope="module")
def made(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("made") / "run"
    object_run(Object(source=str(film), out=str(path), prior="inflate"), Context("cpu"))
    return Run.open(path)


def xclip_twin(folder: Path) -> Path:
    """Of 2 frames of 16 pixels, with a tokenizer that knows letters."""
    torch.manual_seed(0)
    text = {"vocab_size": 54, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53}
    seeing = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    seeing |= {"mit_hidden_size": 16, "mit_intermediate_size": 16, "mit_num_attention_heads": 2}
    config = transformers.XCLIPConfig(
        text_config=text,
        vision_config={**seeing, "image_size": 16, "patch_size": 8, "num_frames": 2},
        projection_dim=16,
        prompt_num_attention_heads=2,
    )
    transformers.XCLIPModel(config).save_pretrained(folder)
    letters = string.ascii_lowercase
    vocabulary = {letter: i for i, letter in enumerate(letters)}
    vocabulary |= {f"{letter}</w>": i + 26 for i, letter in enumerate(letters)}
    vocabulary |= {"<|startoftext|>": 52, "<|endoftext|>": 53}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    return folder


def lpips_twin(path: Path) -> Path:
    """A random AlexNet that `open_lpips` takes."""
    from legs4d.priors.perceptual.layers import convolution_key, head_key

    network, state = NETWORKS["alex"], {}
    generator = torch.Generator().manual_seed(0)
    for layer in network.layers:
        for part in ("weight", "bias"):
            shape = layer.shape if part == "weight" else layer.shape[:1]
            state[convolution_key(layer, part)] = 0.1 * torch.randn(shape, generator=generator)
    for number, tap in enumerate(network.taps):
        state[head_key(number)] = torch.rand(1, network.layers[tap].shape[0], 1, 1, generator=generator)
    torch.save(state, path)
    return path


def test_it_is_compared_from_its_own_camera(made: Run, film: Path) -> None:
    told = object_scores(made, context=Context("cpu"))
    assert (told["frames"], told["lpips"], len(told["per_frame"])) == (3, None, 3)
    assert told["psnr"] > 20 and 0.7 < told["ssim"] <= 1 and "clip" not in told and "xclip" not in told
    # Beside another object's video it is worse.
    box = np.full((64, 64, 3), 255, np.uint8)
    box[20:44, 8:56] = (20, 90, 200)
    other = film.parent / "other"
    other.mkdir(exist_ok=True)
    for frame in range(3):
        Image.fromarray(box).save(other / f"{frame}.png")
    before = made.info["made_from"]
    try:
        made.info["made_from"] = {**before, "source": str(other)}
        assert object_scores(made, context=Context("cpu"))["psnr"] < told["psnr"] - 3
    finally:
        made.info["made_from"] = before


def test_clip_is_measured_in_rgb(made: Run, weights: Path) -> None:
    context = Context("cpu", files=EncoderFiles(weights))
    told = object_scores(made, Asked(clip=f"openclip:{MODEL}"), context)
    assert 0 < told["clip"] < 2 and told["clip_t"] > 0 and set(told["clip_t_sides"]) == {"front", "right", "back"}


def test_x_clip_is_that_of_transformers(tmp_path: Path) -> None:
    """Its processor and its class, of a video of the size that it sees."""
    folder = xclip_twin(tmp_path / "xclip")
    video = (np.random.default_rng(0).random((2, 16, 16, 3)) * 255).round().astype(np.uint8)
    seeing = transformers.VideoMAEImageProcessor(  # with the colours of the published preprocessor_config.json
        size={"shortest_edge": 16},
        crop_size={"height": 16, "width": 16},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    reading = transformers.CLIPTokenizer.from_pretrained(folder)
    model = transformers.XCLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        told = model(
            **reading(["a ball hops"], return_tensors="pt"),
            pixel_values=seeing(list(video), return_tensors="pt")["pixel_values"],
        )
    own = XClip(folder, CPU)
    shown = torch.from_numpy(video.astype(np.float32) / 255)
    assert own.score(shown, "a ball hops") == pytest.approx(float(told.logits_per_video), abs=1e-4)
    # Of more frames those spread evenly.
    longer = torch.cat([shown[:1], torch.rand(3, 16, 16, 3), shown[1:]])
    assert own.score(longer, "a ball hops") == pytest.approx(float(told.logits_per_video), abs=1e-4)
    assert own.score(shown, "another") != pytest.approx(float(told.logits_per_video), abs=1e-4)


def test_words_are_asked_for_where_there_are_none(made: Run, tmp_path: Path) -> None:
    folder = xclip_twin(tmp_path / "xclip")
    with pytest.raises(Legs4dError, match="there are no words to compare with; say what the video should show"):
        object_scores(made, Asked(xclip=folder), Context("cpu"))
    told = object_scores(made, Asked(xclip=folder, words="it slides"), Context("cpu"))
    assert told["words"] == "it slides" and told["xclip"] == pytest.approx(np.mean([*told["xclip_sides"].values()]))


def test_the_folder_of_another_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(Legs4dError, match=r"there is no config.json; put the files of microsoft/xclip-base-patch32"):
        XClip(tmp_path, CPU)
    transformers.CLIPTextConfig().save_pretrained(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(Legs4dError, match=r"there are no .safetensors"):
        XClip(tmp_path, CPU)


def test_lpips_is_of_the_pictures_of_its_own_camera(made: Run, tmp_path: Path) -> None:
    told = object_scores(made, Asked(lpips=lpips_twin(tmp_path / "alex.pth")), Context("cpu"))
    assert told["lpips"] > 0


def test_a_run_whose_video_is_gone_is_told(made: Run) -> None:
    before = made.info["made_from"]
    try:
        made.info["made_from"] = {**before, "source": "/nowhere.mp4"}
        with pytest.raises(RunError, match="the video that it was made of is gone"):
            object_scores(made)
    finally:
        made.info["made_from"] = before


def test_the_command_prints_them(made: Run, film: Path, tmp_path: Path) -> None:
    folder = xclip_twin(tmp_path / "xclip")

    def told(*words: object) -> Result:
        return CliRunner().invoke(app, ["eval", str(made.path), *map(str, words), "--engine", "cpu"])

    found = json.loads(told("--xclip", folder, "--text", "it slides", "--json").stdout)
    assert found["frames"] == 3 and found["psnr"] > 20 and found["words"] == "it slides" and "xclip" in found
    wrong = told("--dataset", film)
    assert wrong.exit_code == 1 and "--dataset: is for runs of footage" in wrong.output.replace("\n", " ")
    wrong = told("--per-pixel")
    assert wrong.exit_code == 1 and "--per-pixel: is for runs of footage" in wrong.output.replace("\n", " ")
    alone = told("--text", "it slides")
    assert alone.exit_code == 1 and "--text: is of --xclip" in alone.output
