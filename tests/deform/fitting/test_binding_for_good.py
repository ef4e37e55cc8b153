"""Settings under which Gaussians are bound to their nodes for good earlier, or to fewer nodes, than is usual."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from legs4d.config.deform import DeformSettings, FollowingSettings, GrowthSettings, NodesSettings
from legs4d.deform.fields.nodes import NodeField
from legs4d.deform.footage.pictures import all_cameras, read_pictures
from legs4d.deform.footage.start import find_stage_of
from legs4d.deform.stage import begin_fit
from legs4d.progress import StageReporter
from legs4d.scene.readers import open_sequence
from tests.deform.film import write_film

CPU = torch.device("cpu")
SMALL = {"count": 16, "width": 16, "depth": 3, "rigid_neighbours": 3, "weights_rate": 100}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film") / "film", frames=12, size=24)


@pytest.mark.parametrize(
    "nodes",
    [{"placed": ()}, {"placed": (0.001,)}, {"count": 1}, {"count": 3, "rigid_neighbours": 6}],
    ids=["never placed anew", "placed anew before the first step", "one node", "fewer nodes than neighbours"],
)
def test_all_gaussians_are_bound_by_finite_weights_at_every_step(film: Path, nodes: dict[str, Any]) -> None:
    sequence = open_sequence(film)
    settings = DeformSettings(
        enough_pixels=1,
        steps=24,
        num_points=120,
        following=FollowingSettings(share=0),
        growth=GrowthSettings(every=6, stop=0.9, max_gaussians=200),
        nodes=NodesSettings(**SMALL | nodes),
    )
    stage = find_stage_of(all_cameras(sequence), "film")
    fit, _ = begin_fit(read_pictures(sequence, CPU), sequence, stage, settings, StageReporter("start"))
    assert isinstance(fit.deformation, NodeField)
    while fit.done < fit.total:
        fit.advance()
        index, weight = fit.deformation.bound()
        assert len(index) == fit.canonical.count
        torch.testing.assert_close(weight.sum(dim=1), torch.ones(len(weight)))
    assert fit.canonical.count > 120 and torch.isfinite(fit.loss)
    assert "leanings" in fit.deformation.state()


@pytest.mark.parametrize(
    "wrong", [{"weights_rate": "inf"}, {"reach": "inf"}, {"placed": (1.5,)}, {"placed": (-0.1,)}, {"placed": ("nan",)}]
)
def test_what_no_fit_can_follow_is_no_setting(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NodesSettings(**wrong)
