"""What users install: the weights that ship are in the wheel, whole, with what is said of them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("legs4d/generate/onepass/tiny4d.safetensors", "legs4d/language/encoders/tiny/tiny.safetensors")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without the compiled part, which takes minutes and brings no weights."""
    folder = tmp_path_factory.mktemp("wheel")
    without = ["-C", "wheel.cmake=false", "-C", f"build-dir={folder / 'build'}"]
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    done = subprocess.run([*pip, *without, "-w", folder, ROOT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.mark.parametrize("name", SHIPPED)
def test_weights_are_in_the_wheel_with_their_card(wheel: Path, name: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(name) == (ROOT / name).read_bytes()
        card = str(Path(name).with_name("MODEL_CARD.md").as_posix())
        assert archive.read(card) == (ROOT / card).read_bytes()
        others = {found for found in archive.namelist() if found.endswith(".safetensors")}
        assert others == set(SHIPPED)
