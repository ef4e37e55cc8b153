"""Prompts put together: how expressions read, and when and where what they say holds."""

import numpy as np
import pytest

from legs4d.config import ENSEMBLE, QuerySettings
from legs4d.errors import PromptError
from legs4d.gaussians.store.run import Run
from legs4d.grounding import Grounding, compose, query
from legs4d.grounding.compose import _beside
from legs4d.grounding.expression import Operation, Prompt, parse
from tests.synthetic import Scene, write_run

SCENE = Scene(num_frames=12)
FIRST, LAST = SCENE.flight or (0, 0)
END = SCENE.num_frames - 1
FLYING, LYING, BOX = "the ball is flying", "the ball lies on the floor", "a wooden box"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("compose") / "run", SCENE)


def intervals(grounding: Grounding) -> list[tuple[int, int]]:
    return [(i.start, i.end) for i in grounding.intervals]


# -- reading -----------------------------------------------------------------------------------------------------------

A, B, C = Prompt("a ball"), Prompt("b"), Prompt("c")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("a ball", A),
        ("  a   ball ", A),
        ("a ball AND b", Operation("AND", (A, B))),
        ("a ball OR b AND c", Operation("OR", (A, Operation("AND", (B, C))))),
        ("(a ball OR b) AND c", Operation("AND", (Operation("OR", (A, B)), C))),
        ("a ball AND NOT b", Operation("AND", (A, Operation("NOT", (B,))))),
        ("NOT NOT a ball", A),
        ("NOT a ball BEFORE b", Operation("NOT", (Operation("BEFORE", (A, B)),))),
        ("a ball BEFORE b AFTER c", Operation("AFTER", (Operation("BEFORE", (A, B)), C))),
        ("a ball OR b OR c", Operation("OR", (Operation("OR", (A, B)), C))),
        ('"salt AND pepper (both)" OR b', Operation("OR", (Prompt("salt AND pepper (both)"), B))),
        ("rock and roll", Prompt("rock and roll")),
        ("before noon not after", Prompt("before noon not after")),
        ("ANDREW", Prompt("ANDREW")),
    ],
)
def test_expressions_read_as_they_say(text: str, meant: object):
    assert parse(text) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("a AND", "no prompt after AND"),
        ("AND a", "no prompt at its start"),
        ("a AND AND b", "no prompt after AND"),
        ("(a OR b", "parenthesis that is not closed"),
        ("a)", r"has '\)' where it should end"),
        ("a (b)", "where it should end"),
        ('a AND "b', "quote that is not closed"),
        ("a NOT b", "has 'NOT' where it should end"),
        ("()", "no prompt after"),
        ("(" * 200 + "a" + ")" * 200, "more than 50 parentheses"),
        ("a " * 3000, "has 6000 characters"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, said: str):
    with pytest.raises(PromptError, match=said):
        parse(text)


# -- answering ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (f"{FLYING} AND {BOX}", [(FIRST, LAST)]),
        (f"{FLYING} OR {LYING}", [(0, END)]),
        (f"{BOX} AND NOT {FLYING}", [(0, FIRST - 1), (LAST + 1, END)]),
        (f"NOT {FLYING}", [(0, FIRST - 1), (LAST + 1, END)]),
        (f"{LYING} BEFORE {FLYING}", [(0, FIRST - 1)]),
        (f"{LYING} AFTER {FLYING}", [(LAST + 1, END)]),
        (f"{BOX} BEFORE {FLYING}", [(0, FIRST - 1)]),
        (f"{FLYING} AND {LYING}", []),
        (f"{FLYING} BEFORE a surgeon washing his hands", []),
        (f"NOT ({FLYING} OR {LYING})", []),
    ],
)
def test_when_a_composition_holds(run: Run, expression: str, expected: list[tuple[int, int]]):
    (found,) = compose(run, [expression])
    assert intervals(found) == expected
    assert found.prompt == expression
    for interval in found.intervals:
        assert interval.start <= interval.peak <= interval.end
        assert 0 < interval.score <= 1


def test_who_takes_part_in_a_composition(run: Run):
    ball = np.arange(run.num_gaussians) >= run.num_static
    box = np.concatenate([run.static().is_foreground, np.zeros(run.num_dynamic, bool)])
    both, either, without, absent = compose(
        run, [f"{FLYING} AND {BOX}", f"{FLYING} OR {BOX}", f"{BOX} AND NOT {FLYING}", f"NOT {FLYING}"]
    )
    assert (both.part(FIRST) == (ball | box)).all() and not both.part(0).any()
    assert (either.part(FIRST) == (ball | box)).all() and (either.part(0) == box).all()
    assert (without.part(0) == box).all() and not without.part(FIRST).any()
    assert absent.holds(0) and not absent.part(0).any()
    # What a consumer with one relevancy and one threshold sees is the same.
    assert ((both.frame(FIRST) >= both.threshold) == both.part(FIRST)).all()
    assert both.frame(FIRST).max() <= 1 and (both.dynamic(FIRST) == both.frame(FIRST)[run.num_static :]).all()


def test_prompts_of_different_thresholds_share_one(run: Run):
    flying, box = query(run, [FLYING, BOX])
    (both,) = compose(run, [f"{FLYING} OR {BOX}"])
    assert both.threshold == max(flying.threshold, box.threshold) and flying.threshold != box.threshold


def test_a_single_prompt_is_answered_as_ever(run: Run):
    (alone,), (composed,) = query(run, [FLYING]), compose(run, [f'"{FLYING}"'])
    assert type(composed) is Grounding and composed.prompt == FLYING
    np.testing.assert_array_equal(alone.relevancy, composed.relevancy)


def test_before_is_before_the_last_beginning_and_after_the_first_end():
    holds = np.array([0, 1, 1, 0, 0, 1, 0], bool)
    assert _beside(holds, "BEFORE").tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert _beside(holds, "AFTER").tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert not _beside(np.zeros(3, bool), "BEFORE").any()


# -- settings ----------------------------------------------------------------------------------------------------------


def test_a_negative_prompt_takes_away_what_fits_it_better(run: Run):
    (plain,) = query(run, ["the ball"])
    (without,) = query(run, ["the ball"], QuerySettings(negative=("the ball is flying through the air",)))
    assert intervals(plain) == [(0, END)]
    assert without.dynamic(FIRST).max() == 0 and (plain.dynamic(FIRST) >= plain.threshold).all()


def test_canonical_phrases_are_those_given(run: Run):
    (usual,) = query(run, [FLYING])
    (same,) = query(run, [FLYING], QuerySettings(canonical=("something",)))
    (strict,) = query(run, [FLYING], QuerySettings(canonical=("something", "a ball")))
    np.testing.assert_array_equal(usual.frame(FIRST), same.frame(FIRST))
    assert strict.scale < usual.scale


def test_an_ensemble_asks_for_the_mean_of_its_wordings(run: Run):
    (found,) = query(run, [FLYING], QuerySettings(templates=ENSEMBLE))
    assert intervals(found) == [(FIRST, LAST)]
    (plain,) = query(run, [FLYING])
    assert found.scale != plain.scale


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"canonical": ("",)}, "canonical phrase is empty"),
        ({"negative": ("x" * 2000,)}, "negative phrase has 2000 characters"),
        ({"templates": ("a photo",)}, "has no {}"),
        ({"templates": ()}, "there are none"),
    ],
)
def test_settings_that_cannot_be_used_say_why(run: Run, settings: dict, said: str):
    with pytest.raises(PromptError, match=said):
        query(run, [FLYING], QuerySettings(**settings))
