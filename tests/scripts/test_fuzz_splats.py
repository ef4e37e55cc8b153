"""Some of the files that tools/fuzz/splats.py makes by the ten thousand; and that it would see what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tools.fuzz import splats as fuzz_splats
from tools.fuzz.makers.dice import Dice

from legs4d.portable.splats import SplatFileError, Splats

FILES = 200


@pytest.mark.parametrize("name", list(fuzz_splats.FORMATS))
def test_no_file_breaks_a_reader(name: str, tmp_path: Path) -> None:
    found = fuzz_splats.fuzz(name, FILES, 0, tmp_path)
    assert found.failures == []
    assert sum(found.outcomes.values()) == FILES
    assert found.outcomes["read"] > FILES / 10 and len(found.outcomes) > 2  # both kinds of file were made


@pytest.mark.parametrize(
    ("name", "seed"), [("ply", 408077), ("ply", 419143), ("sog", 403299), ("usd", 202854), ("usd", 204951)]
)
def test_files_that_broke_a_reader_once(name: str, seed: int, tmp_path: Path) -> None:
    assert fuzz_splats.fuzz(name, 1, seed, tmp_path).failures == []


def test_faults_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = Dice(np.random.default_rng(1)).splats(5, 3)
    big = replace(good, means=good.means.copy())
    big.means[0, 0] = np.inf

    def fails(path: Path) -> Splats:
        raise KeyError("x")

    def refuses(path: Path) -> Splats:
        raise SplatFileError("is not liked", where=str(path))

    def hoards(path: Path) -> Splats:
        np.ones(200 << 20, np.uint8)
        return good

    monkeypatch.setattr(fuzz_splats, "VALID", 1.0)
    for read, said in [
        (fails, "KeyError: 'x'"),
        (refuses, "a valid file was refused"),
        (hoards, "MiB more than twice what its header tells of"),
        (lambda path: big, "means is not finite"),
        (lambda path: replace(good, opacities=good.opacities + 1), "out of range"),
        (lambda path: replace(good, sh_rest=good.means), "sh_rest is"),
    ]:
        monkeypatch.setitem(fuzz_splats.FORMATS, "splat", replace(fuzz_splats.FORMATS["splat"], read=read))
        ((seed, wrong),) = fuzz_splats.fuzz("splat", 1, 7, tmp_path, tmp_path).failures
        assert seed == 7 and said in wrong
    assert (tmp_path / "splat_7.splat").exists()
    monkeypatch.setitem(fuzz_splats.FORMATS, "splat", replace(fuzz_splats.FORMATS["splat"], read=lambda path: good))
    assert fuzz_splats.fuzz("splat", 1, 7, tmp_path).failures == []
