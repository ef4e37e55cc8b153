"""Files of torch.save that are damaged, or were never that: one error, whatever PyTorch stumbles over."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.gaussians.formats.tensors import UnreadableTensorsError, load_tensors

OPCODES = np.frombuffer(b'\x80\x02}q(ctorch._utilsXKJ.te]aR)\x85\x86sub"hjr0123456789\n', np.uint8)


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    torch.save(torch.arange(5), tmp_path / "five.pt")
    assert load_tensors(tmp_path / "five.pt").tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("content", [b"", b"root:x:0:0\n" * 50, b"PK\x03\x04", b"\x80\x02X\xff\xff\xff\x7fa."])
def test_what_torch_did_not_write_is_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(UnreadableTensorsError, match="damaged"):
        load_tensors(tmp_path / "x.pt")


@pytest.mark.filterwarnings("ignore")  # PyTorch says that pickles are old
def test_whatever_changed_in_a_file_is_damage_or_still_a_tensor(tmp_path: Path) -> None:
    rng, path, refused = np.random.default_rng(0), tmp_path / "x.pt", 0
    saved = []
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save(torch.ones(3, 4, dtype=torch.bool), file, _use_new_zipfile_serialization=zipped)
        saved.append(np.frombuffer(file.getvalue(), np.uint8))
    for number in range(450):
        if number % 3 == 2:
            changed = rng.choice(OPCODES, rng.integers(1, 60))
        else:
            changed = saved[number % 3].copy()
            changed[rng.integers(0, len(changed), 5)] = rng.integers(0, 256, 5)
        path.write_bytes(changed.tobytes())
        try:
            load_tensors(path)
        except UnreadableTensorsError:
            refused += 1
    assert refused > 200
