"""The matrix of exports and readers: that part of it which needs nothing but packages of this Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tools.interchange import check as interchange
from tools.interchange.readers import Found

from legs4d.gaussians.export import frame_splats

BOUNDS = {
    ".ply": (1e-6, 1e-5, 1e-5, 1e-6, 1e-6, 1e-6),
    ".spz": (1e-5, 0.04, 0.25, 0.003, 0.005, 0.02),
    ".sog": (1e-3, 0.04, 0.1, 0.003, 0.005, 0.02),
    ".glb": (1e-5, 1e-5, 1e-5, 1e-6, 1e-6, 1e-6),
    ".usdc": (1e-5, 1e-5, 1e-5, 1e-6, 1e-6, 1e-6),
}
"""Position, scale, covariance, opacity, colour, view dependence: what each format can keep."""


def test_every_export_is_read_by_every_reader_here(tmp_path: Path) -> None:
    run = interchange.make_run(tmp_path / "run")
    rows = interchange.matrix(run, 0, list(interchange.routes(None, None, [])), None)
    assert len(rows) == 20
    for row in rows:
        assert row.errors is not None, f"{row.export.label}, {row.program}: {row.why}"
        e = row.errors
        assert e.count == interchange.SMALL
        found = (e.position, e.scale, e.covariance, e.opacity, e.color, e.view)
        for value, bound in zip(found, BOUNDS[row.export.suffix], strict=True):
            assert value is None or value < bound, f"{row.export.label}, {row.program}: {found}"
        if row.export.suffix != ".ply":  # which is as the run is
            assert e.up < interchange.UPRIGHT_DEGREES, f"{row.export.label}, {row.program}: {e.up}°"
    assert sum(row.errors.view is None for row in rows if row.errors) == 3  # trimesh knows points alone


def test_what_is_wrong_is_seen(tmp_path: Path) -> None:
    truth = frame_splats(interchange.make_run(tmp_path / "run"), 0)
    right = Found("1", truth.means, truth.up, truth.quats, truth.scales, truth.opacities, truth.colors, truth.sh_rest)
    assert interchange.compare(truth, right).up == pytest.approx(0, abs=1e-4)
    rolled = np.roll(truth.quats, 1, axis=1)
    wrong = interchange.compare(truth, Found("1", truth.means, (0, 1, 0), rolled, truth.scales * 1.1))
    assert wrong.scale == pytest.approx(np.log(1.1), rel=1e-4)
    assert wrong.covariance is not None and wrong.covariance > 0.5
    assert wrong.up > 150
    assert truth.sh_rest is not None
    mirrored = interchange.compare(
        truth,
        Found("1", truth.means, truth.up, truth.quats, truth.scales, colors=truth.colors + 0.1, rest=-truth.sh_rest),
    )
    assert mirrored.color == pytest.approx(0.0282, rel=1e-2)
    assert mirrored.view is not None and mirrored.view > 0.1


def test_a_table_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n{interchange.BEGIN}\nold\n{interchange.END}\nmore\n")
    interchange.put_table(page, ["new"])
    assert page.read_text() == f"# Title\n{interchange.BEGIN}\n\nnew\n\n{interchange.END}\nmore\n"
