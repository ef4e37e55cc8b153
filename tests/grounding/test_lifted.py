"""From captions and masks on disk to answers: the lift and the query together, on a known scene and on the real clip's
captions."""

from pathlib import Path

import numpy as np
import pytest

from legs4d.config import LiftSettings
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.grounding import Grounding, query
from legs4d.grounding.benchmark import evaluate
from legs4d.language.codec.linear import fit_linear_codec
from legs4d.language.encoders import get_encoder
from legs4d.language.encoders.captions import captions_at
from legs4d.language.lift.stage import lift
from legs4d.scene.readers import open_sequence
from tests.synthetic import Scene, write_dataset, write_grounding, write_run

SCENE = Scene(num_frames=9)
FIRST, LAST = SCENE.flight or (0, 0)
REAL = Path(__file__).resolve().parents[3] / "shared/data/basketball"


def intervals(grounding: Grounding) -> list[tuple[int, int]]:
    return [(i.start, i.end) for i in grounding.intervals]


def temporal_iou(grounding: Grounding, first: int, last: int) -> float:
    found = {frame for i in grounding.intervals for frame in range(i.start, i.end + 1)}
    true = set(range(first, last + 1))
    return len(found & true) / len(found | true)


@pytest.fixture(scope="module")
def lifted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The scene's own Gaussians, with language lifted from its photographs' object masks."""
    folder = tmp_path_factory.mktemp("lifted")
    run = write_run(folder / "run", SCENE, language=False)
    sequence = open_sequence(write_dataset(folder / "dataset", SCENE), 1.0)
    lift(run, sequence, get_encoder("captions"), LiftSettings(), near=0.1)
    return run


def test_every_gaussian_says_what_its_object_does(lifted: Run):
    flying, box, room = query(lifted, ["a ball flying through the air", "a wooden box", "an empty room"])
    is_box = lifted.static().is_foreground
    in_flight = flying.dynamic(FIRST) >= flying.threshold
    # Not all: this ball of Gaussians is wider than the true one, so those at its outline say what lies behind it too.
    assert np.average(in_flight, weights=lifted.moving_codes(FIRST)[1]) > 0.7
    assert (flying.static >= flying.threshold).mean() < 0.02
    assert (box.static[is_box] >= box.threshold).mean() > 0.8
    assert np.median(room.static[~is_box]) > room.threshold > np.median(room.static[is_box])


def test_actions_are_found_when_and_where_they_happen(lifted: Run, tmp_path: Path):
    flying, lying = query(lifted, ["the ball is flying", "the ball lies on the floor"])
    assert intervals(flying) == [(FIRST, LAST)]
    assert intervals(lying) == [(0, FIRST - 1), (LAST + 1, SCENE.num_frames - 1)]
    result = evaluate(lifted, write_grounding(tmp_path / "truth", SCENE))
    assert result["mean"]["tiou"] == 1 and result["mean"]["viou"] > 0.5


# -- the real clip's captions ---------------------------------------------------------------------------------------

OWN_SHARE = 0.8
"""Of a Gaussian's feature; the rest is what stands beside it, as at the outlines of a real lift."""
COUNTS = {0: 400, 1: 300, 2: 12}
"""Gaussians per object: the ball is 4 % of the foreground."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose Gaussians say the captions of the basketball clip, with what is beside them mixed in."""
    if not REAL.exists():
        pytest.skip("the real clip is not beside this checkout")
    captions = open_sequence(REAL, 0.25).captions
    assert captions is not None
    encoder = get_encoder("captions")
    codec = fit_linear_codec([encoder.encode_text(sorted({c.text for said in captions.values() for c in said}))])
    run = Run.create(tmp_path_factory.mktemp("clip") / "run")
    run.set_info(dataset=str(REAL), scale=0.25, fps=30.0, encoder="captions", frame_numbers=list(range(30)), near=0.1)
    run.begin_stage("first_frame", "a")
    moving = round_gaussians(COUNTS[1] + COUNTS[2], True)
    run.write_geometry(round_gaussians(COUNTS[0], False), moving, 30)
    for frame in range(1, 30):
        run.write_frame(frame, moving.means, moving.quats, moving.colors)
    run.begin_stage("lift", "b")
    arrays, attributes = codec.to_arrays()
    run.write_codec("linear", arrays, attributes)
    for frame in range(30):
        room, people, ball = (
            encoder.encode_text(captions_at(captions, frame)[identity])[0] for identity in sorted(COUNTS)
        )
        beside = [OWN_SHARE * people + (1 - OWN_SHARE) * other for other in (room, ball)]
        rows = np.repeat([*beside, OWN_SHARE * ball + (1 - OWN_SHARE) * people], [290, 10, COUNTS[2]], axis=0)
        run.write_codes(frame, codec.encode(rows), np.ones(len(rows)))
        run.frame_done("lift", frame, 0.0)
    run.write_static_codes(codec.encode(np.repeat(room[None], COUNTS[0], axis=0)), np.ones(COUNTS[0]))
    run.finish_stage("lift")
    return run


def round_gaussians(count: int, foreground: bool) -> Gaussians:
    return Gaussians(
        np.zeros((count, 3), np.float32),
        np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        np.full((count, 3), 0.1, np.float32),
        np.full(count, 0.9, np.float32),
        np.zeros((count, 3), np.float32),
        np.full(count, foreground),
    )


def test_flight_and_hold_of_the_clip_are_found_in_any_wording(clip: Run):
    flight = ["the ball is flying in the air", "basketball in mid-air", "a ball soaring", "The ball flies"]
    hold = ["A man is holding the ball", "someone carries the ball", "the ball is in a man's hands"]
    for prompts, (first, last) in [(flight, (12, 27)), (hold, (0, 11))]:
        ious = [temporal_iou(grounding, first, last) for grounding in query(clip, prompts)]
        assert ious[0] >= 0.8
        assert max(ious) - min(ious) <= 0.15, dict(zip(prompts, ious, strict=True))
    (held,) = query(clip, hold[:1])
    assert not any(held.holds(frame) for frame in range(13, 27))


def test_other_acts_of_the_clip_are_found_too(clip: Run):
    thrown, caught, watched, dog = query(
        clip, ["a person throws a ball", "a man catches the ball", "two men watch", "a dog barking"]
    )
    assert temporal_iou(thrown, 8, 12) >= 0.8
    assert temporal_iou(caught, 27, 29) >= 0.6
    assert temporal_iou(watched, 13, 26) >= 0.8
    assert dog.intervals == []
