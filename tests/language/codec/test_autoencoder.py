"""The paper's autoencoder: its checkpoint read exactly, and nothing else."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.errors import EncoderError
from legs4d.language.codec.autoencoder import AutoencoderCodec, read_autoencoder
from legs4d.language.codec.linear import codec_from_arrays


def network(*widths: int) -> torch.nn.Sequential:
    """Linear layers, with batch normalisation and ReLU between them, as 4-LEGS builds them."""
    layers: list[torch.nn.Module] = []
    for before, after in pairwise(widths):
        layers += [torch.nn.Linear(before, after), torch.nn.BatchNorm1d(after), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-2])


@pytest.fixture(scope="module")
def model() -> torch.nn.ModuleDict:
    torch.manual_seed(3)
    model = torch.nn.ModuleDict({"encoder": network(24, 16, 12, 6), "decoder": network(6, 12, 16, 24)})
    model.train()
    for half, width in (("encoder", 24), ("decoder", 6)):  # running means and variances that are not 0 and 1
        for _ in range(20):
            model[half](torch.randn(64, width) * 2 + 0.3)
    return model.eval()


@pytest.fixture
def checkpoint(model: torch.nn.ModuleDict, tmp_path: Path) -> Path:
    torch.save(model.state_dict(), tmp_path / "best_ckpt.pth")
    return tmp_path / "best_ckpt.pth"


def test_it_computes_what_pytorch_does(model: torch.nn.ModuleDict, checkpoint: Path):
    codec = read_autoencoder(checkpoint)
    features, phrases = torch.randn(50, 24), torch.nn.functional.normalize(torch.randn(3, 24), dim=1)
    with torch.no_grad():
        codes = torch.nn.functional.normalize(model["encoder"](features), dim=1)
        decoded = torch.nn.functional.normalize(model["decoder"](codes), dim=1)
    np.testing.assert_allclose(codec.encode(features.numpy()), codes, atol=1e-5)
    np.testing.assert_allclose(codec.decode(codes.numpy()), decoded, atol=1e-5)
    np.testing.assert_allclose(codec.cosines(codes.numpy(), phrases.numpy()), decoded @ phrases.T, atol=1e-5)
    assert (codec.feature_dim, codec.code_dim) == (24, 6)


def test_it_is_stored_and_found_again(checkpoint: Path):
    codec = read_autoencoder(checkpoint)
    again = codec_from_arrays(*codec.to_arrays())
    assert isinstance(again, AutoencoderCodec)
    codes = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    np.testing.assert_array_equal(again.decode(codes), codec.decode(codes))


class Code:
    """What torch.load would run if it were let."""

    def __reduce__(self):
        return (Path.touch, (Path("/tmp/legs4d-autoencoder-executed"),))


def test_what_is_no_checkpoint_is_refused(checkpoint: Path, model: torch.nn.ModuleDict, tmp_path: Path):
    def said(path: Path) -> str:
        with pytest.raises(EncoderError) as caught:
            read_autoencoder(path)
        assert str(path) in str(caught.value)
        return str(caught.value)

    def saved(content: object) -> Path:
        torch.save(content, tmp_path / "other.pth")
        return tmp_path / "other.pth"

    state = model.state_dict()
    assert "is missing" in said(tmp_path / "missing.pth")
    checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    assert "damaged" in said(checkpoint)
    (tmp_path / "text.pth").write_text("not a checkpoint")
    assert "damaged" in said(tmp_path / "text.pth")
    assert "more than tensors" in said(saved({"encoder.0.weight": Code()}))
    assert not Path("/tmp/legs4d-autoencoder-executed").exists()
    assert "no encoder" in said(saved({"a": torch.zeros(1)}))
    assert "holds a Tensor" in said(saved(torch.zeros(3)))
    assert "halves do not fit" in said(saved({k: v for k, v in state.items() if not k.startswith("decoder.6")}))
    assert "layers of its encoder" in said(saved({k: v for k, v in state.items() if not k.startswith("encoder.3")}))
    assert "not finite" in said(saved({**state, "decoder.6.bias": torch.full((24,), torch.nan)}))
