"""Which files of weights are taken, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from legs4d.errors import Legs4dError
from legs4d.generate.onepass.checkpoint import Networks, open_networks, shapes_of, variant_of
from legs4d.generate.onepass.network import LGM, RECON, TINY4D, OnePass, Variant

CPU = torch.device("cpu")


def hollow(variant: Variant) -> dict[str, Tensor]:
    """All weights of a network by name and shape, without their numbers."""
    return {name: torch.empty(shape, device="meta") for name, shape in shapes_of(variant).items()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of tiny4d, in half precision."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny4d.safetensors"
    save_file({name: value.half().contiguous() for name, value in OnePass(TINY4D).state_dict().items()}, path)
    return path


def refused(files: list[Path]) -> str:
    with pytest.raises(Legs4dError) as told:
        open_networks(files, CPU)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_tiny4d_is_told_by_its_shapes_and_does_both(tiny: Path) -> None:
    found = open_networks([tiny], CPU)
    assert isinstance(found, Networks)
    assert found.variant is TINY4D and found.interp is found.recon
    assert found.recon.conv.weight.dtype == torch.float32
    assert "one file" in refused([tiny, tiny])


def test_l4gms_checkpoint_is_taken_and_lgms_refused() -> None:
    here = Path("model.safetensors")
    assert variant_of(hollow(RECON), here, "00") is RECON
    with pytest.raises(Legs4dError, match="checkpoint of LGM, which knows no time, and not L4GM's"):
        variant_of(hollow(LGM), here, "186631d0aa")
    with pytest.raises(Legs4dError, match="before its rotations were put right"):
        variant_of(hollow(LGM), here, "5a7ab312aa")


def test_half_a_checkpoint_says_how_much_is_there() -> None:
    part = dict(list(hollow(RECON).items())[:228])
    with pytest.raises(Legs4dError, match="a part of a checkpoint: 228 of L4GM's 456 weights"):
        variant_of(part, Path("model.safetensors"), "00")
    wrong = {**hollow(RECON), "conv.weight": torch.empty(14, 14, 3, 3, device="meta")}
    with pytest.raises(Legs4dError, match=r"conv\.weight"):
        variant_of(wrong, Path("model.safetensors"), "00")
    half = {name: value for name, value in hollow(TINY4D).items() if "up_blocks" not in name}
    with pytest.raises(Legs4dError, match="which tiny4d has"):
        variant_of(half, Path("model.safetensors"), "00")


def test_a_file_that_is_cut_off_pickled_or_missing_says_so(tiny: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(tiny.read_bytes()[:100_000])
    assert "is cut off" in refused([cut])
    pickled = tmp_path / "recon.pt"
    torch.save({"unet": torch.zeros(1)}, pickled)
    assert "could run code" in refused([pickled])
    renamed = tmp_path / "recon.safetensors"
    renamed.write_bytes(pickled.read_bytes())
    assert "no .safetensors" in refused([renamed])
    missing = refused([tmp_path / "none.safetensors"])
    assert "no such file" in missing
    # The licences that contradict each other are told where weights are asked for.
    assert "Apache-2.0" in missing and "CC BY-NC-SA 4.0" in missing
    assert "3 files" in refused([tiny] * 3)
