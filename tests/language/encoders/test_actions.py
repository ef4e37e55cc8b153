"""The encoder `actions`: how prompts are read, what words may mean an object, what Gaussians and prompts then say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from legs4d.cli.inspecting import describe, info
from legs4d.errors import DatasetError, EncoderError, Legs4dError, RunError
from legs4d.gaussians.objects import Objects, write_objects
from legs4d.gaussians.store.run import Run
from legs4d.language.encoders import get_encoder, of_run
from legs4d.language.encoders.actions import looking
from legs4d.language.encoders.actions.asking import Actor, origins, remarks, score
from legs4d.language.encoders.actions.looks import Looks
from legs4d.language.encoders.actions.names import fits, is_being
from legs4d.language.encoders.actions.reading import read
from legs4d.language.encoders.actions.story import MOST_STATES, Deed, State, Story, tell
from legs4d.motion import stored
from legs4d.motion.recognised import Recognised
from tests.synthetic import Scene, write_run


@pytest.mark.parametrize(
    ("prompt", "subject", "others", "action"),
    [
        ("a ball flying through the air", "ball", (), "fly"),
        ("a man throwing a frisbee", "man", ("frisbee",), "throw"),
        ("she catches the bottle with both hands", "she", ("bottle",), "catch"),
        ("a tennis racket held in hands", "tennis racket", (), "hold"),
        ("the moment when a box tips over", "box", (), "topple"),
        ("an opening door", "door", (), "open"),
        ("a quick throw of the ball", "ball", (), "throw"),
        ("the other one catches it", "somebody", ("it",), "catch"),
        ("a door moves on its hinges", "door", (), "open"),
        ("he has let go of the ball", "he", ("ball",), "throw"),
        ("a hoverboard flying", "hoverboard", (), "fly"),
        ("pikachu is holding a ball", "pikachu", ("ball",), "hold"),
        ("people", "people", (), None),
        ("a man eating an apple", "man", ("apple",), None),
    ],
)
def test_a_prompt_is_read_as_who_does_what_with_what(prompt: str, subject: str, others: tuple[str, ...], action: Any):
    reading = read(prompt)
    assert reading.subjects == (subject,) and reading.others == others
    assert (max(reading.actions, key=lambda a: reading.actions[a]) if reading.actions else None) == action
    assert reading.says == (prompt != "people")


@pytest.mark.parametrize(
    ("prompt", "action"),
    [
        ("the man hasn't let go of the ball", "hold"),
        ("the man has let go of the ball", "throw"),
        ("the man doesn't throw the ball", "hold"),
        ("nobody holds the ball", "fly"),
        ("the door is no longer shut", "open"),
        ("the ball isn't spinning", None),
    ],
)
def test_what_is_denied_means_what_goes_on_instead_or_nothing(prompt: str, action: str | None):
    assert max(found := read(prompt).actions, key=lambda a: found[a], default=None) == action


def test_an_adjective_may_say_what_happens_and_what_only_says_which_one_does_not():
    assert next(iter(read("an airborne ball").actions)) == "fly"
    for prompt in ("a red ball", "the left man", "a man in a blue shirt", "a wooden box"):
        assert not read(prompt).says, prompt


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("LeBron throws a ball", "LeBron"),
        ("LeBron James is throwing a ball", "LeBron James"),
        ("lebron throws a ball", "lebron"),
        ("Mark throws the ball", "Mark"),
        ("a ball thrown by Kobe Bryant", "Kobe Bryant"),
        ("the man passes the ball to Anna", "Anna"),
        ("a throw by LeBron", "LeBron"),
        ("LeBron's throw", "LeBron"),
    ],
)
def test_a_name_that_nothing_has_is_nobody_who_is_there_and_that_is_said(prompt: str, name: str):
    assert fitting(prompt) == []
    assert any(f"called '{name}'" in sentence for sentence in remarks(STORY, CAST, prompt))


def test_a_name_is_whom_its_user_called_so_and_a_capital_alone_makes_none():
    cast = [Actor("LeBron James", "name", {}), CAST[1]]
    assert np.flatnonzero(score(STORY, cast, "LeBron throws a ball") > 0).tolist() == [1]
    assert np.flatnonzero(score(STORY, cast, "a ball held by LeBron James") > 0).tolist() == [2]
    assert np.flatnonzero(score(STORY, cast, "a ball held by Kobe") > 0).tolist() == []
    assert np.flatnonzero(score(STORY, cast, "Kobe throws a ball") > 0).tolist() == []
    for prompt in ("Man throws ball", "A Man Throws A Ball", "A MAN THROWS A BALL", "The man throws the ball"):
        assert fitting(prompt) == [1] and not remarks(STORY, CAST, prompt), prompt
    assert fitting("Anna's ball flying") == fitting("a ball flying")
    assert "'Anna'" in remarks(STORY, CAST, "Anna's ball flying")[0]


def test_who_causes_what_a_thing_does_is_not_asked_for_it():
    reading = read("somebody pulls the door open")
    assert reading.subjects == ("door",) and reading.others == ("somebody",)
    assert read("a man holds the door").subjects == ("man",)


def test_what_is_done_to_somebody_is_not_what_somebody_does():
    assert read("a dog held in the arms").passive and read("a ball being thrown").passive
    assert not read("a man holding a ball").passive and not read("a girl throwing").passive


@pytest.mark.parametrize(
    ("word", "name", "may"),
    [
        ("basketball", "sports ball", True),
        ("crate", "box", True),
        ("guy", "person", True),
        ("he", "man", True),
        ("thing", "ball", True),
        ("somebody", "ball", False),
        ("lady", "man", False),
        ("dog", "cat", False),
        ("frisbee", "sports ball", False),
        ("toaster", "person", False),
        ("window", "door", False),
        ("unicorn", "person", False),
        ("ghost", "man", False),
        ("love", "woman", False),
        ("individual", "man", True),
        ("ball", "", False),
    ],
)
def test_which_words_may_mean_what_has_that_name(word: str, name: str, may: bool):
    assert (fits(word, name) > 0.5) == may


def test_who_is_a_being_by_name():
    assert is_being("man") and is_being("dog")
    assert is_being("door") is False and is_being("toaster") is False and is_being("") is None


MAN, BALL = 0, 1
STORY = Story(
    (
        State(MAN, (Deed("hold", BALL, 1.0),)),
        State(MAN, (Deed("throw", BALL, 0.9), Deed("hold", BALL, 1.0))),
        State(BALL, (Deed("held", MAN, 1.0),)),
        State(BALL, (Deed("fly", -1, 1.0),)),
    ),
    np.zeros((1, 2), np.int64),
)
CAST = [Actor("man", "name", {}), Actor("ball", "tiny", {"red": 0.9, "blue": 0.01})]


def fitting(prompt: str) -> list[int]:
    """The states that fit."""
    return np.flatnonzero(score(STORY, CAST, prompt) > 0).tolist()


def test_prompts_fit_the_states_that_they_mean_and_no_others():
    assert fitting("a basketball soaring through the room") == [3]
    assert fitting("a ball held in hands") == [2] and fitting("someone grips a ball") == [0, 1]
    assert fitting("a guy throwing a ball") == [1]
    assert fitting("the ball") == [2, 3] and fitting("people") == [0, 1]
    for absent in (
        "a dog running",
        "a ball rolling",
        "a man throwing a bottle",
        "a man held in hands",
        "a unicorn",
        "a hoverboard flying",
        "a man holding a hoverboard",
        "a man singing",
    ):
        assert fitting(absent) == [], absent


def test_colors_are_asked_of_pictures_and_an_answer_says_whence_it_comes():
    assert fitting("a red ball flying") == [3] and fitting("a blue ball flying") == []
    assert origins(STORY, CAST, "a red ball flying") == {"action": "motion", "name": "tiny", "color": "tiny"}
    assert origins(STORY, CAST, "the man") == {"name": "name"}
    assert "dog" in remarks(STORY, CAST, "a dog running")[0] and not remarks(STORY, CAST, "a ball flying")
    assert "motion" in remarks(STORY, CAST, "a man singing")[0]


def test_a_story_has_a_state_for_all_that_is_done_at_once_and_room_for_the_most_telling():
    found = Recognised(6, 2)
    found.note("hold", 0, slice(0, 4), 0.9, 1)
    found.note("throw", 0, slice(3, 4), 0.8, 1)
    story = tell(found)
    assert story.at[:, 0].tolist() == [0, 0, 0, 1, 2, 2] and len(set(story.at[:, 1])) == 1
    assert [deed.action for deed in story.states[1].deeds] == ["hold", "throw"]
    thrown = story.states[1].deeds[1]
    assert (thrown.other, thrown.sure) == (1, pytest.approx(0.8)) and story.states[2].deeds == ()
    many = Recognised(80, 2)
    for frame in range(80):
        many.note("approach", 0, slice(frame, frame + 1), 0.9, frame)
    many.note("fly", 0, slice(0, 10), 0.9)
    assert len(tell(many).states) <= MOST_STATES
    assert any(deed.action == "fly" for state in tell(many).states for deed in state.deeds)


class _Sequence:
    """Masks of two objects, as big as they have to be; only what the encoder asks for."""

    root, num_frames = Path("somewhere"), Scene().num_frames
    pixels: Any = np.array([[[0, 1, 1, 2]]], np.uint8)

    def objects(self, split: str, frame: int, cameras: Any = None) -> Any:
        return self.pixels


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The box spins in place and the ball flies; masks call them 1 and 2."""
    monkeypatch.setattr(looking, "look", lambda sequence, ids: {ids[0]: Looks({"box": 0.6}, {"red": 0.9})})
    made = write_run(tmp_path / "run", language=False)
    dynamic = made.dynamic(0)
    is_ball = np.linalg.norm(dynamic.means - Scene().ball_center(0), axis=1) < 0.4
    pose = np.tile(np.array([0, 0, 0, 1, 0, 0, 0], np.float32), (made.num_frames, 2, 1))
    ones = np.ones((made.num_frames, 2))
    with made.lock():
        made.write_marks("object", np.full(made.num_static, -1), is_ball.astype(int))
        write_objects(made, Objects(("", "ball"), pose, ones.astype(np.float32), ones > 0, (1, 2)))
    return made


def test_gaussians_and_prompts_of_a_run_meet_and_names_count_when_they_are_given(run: Run):
    encoder: Any = of_run(get_encoder("actions"), run)
    with run.lock():
        rows = encoder.sample_rows(_Sequence())
    assert np.allclose(np.linalg.norm(rows[0], axis=1), 1)
    flights = [f for f in range(run.num_frames) if _said(encoder, f, "a ball flying")[3] > 0.5]
    assert flights and len(flights) < run.num_frames
    assert [f for f in range(run.num_frames) if _said(encoder, f, "the box")[1] > 0.5] == list(range(run.num_frames))
    assert all(_said(encoder, f, "a dog")[3] == 0 for f in range(run.num_frames))
    assert encoder.encode_text([""])[0] @ encoder.encode_text(["a dog running"])[0] == pytest.approx(1)
    objects = Objects(("crate", "frisbee"), *_arrays(run))
    with run.lock():
        write_objects(run, objects)
    renamed: Any = of_run(get_encoder("actions"), run)
    assert (
        _said(renamed, flights[0], "a frisbee flying")[3] > 0.5 and _said(renamed, flights[0], "a ball flying")[3] == 0
    )


def _said(encoder: Any, frame: int, prompt: str) -> np.ndarray:
    """[4] cosine of each pixel with a prompt."""
    found = encoder.feature_map(_Sequence(), frame)
    return (found.rows @ encoder.encode_text([prompt])[0])[found.index[0, 0, :, 0]]


def _arrays(run: Run) -> Any:
    ones = np.ones((run.num_frames, 2))
    pose = np.tile(np.array([0, 0, 0, 1, 0, 0, 0], np.float32), (run.num_frames, 2, 1))
    return pose, ones.astype(np.float32), ones > 0, (1, 2)


def test_a_lift_by_older_rules_of_motion_is_one_by_another_encoder(monkeypatch: pytest.MonkeyPatch):
    now = get_encoder("actions").version
    monkeypatch.setattr(stored, "VERSION", stored.VERSION - 1)
    assert get_encoder("actions").version < now


def test_what_is_missing_is_told():
    with pytest.raises(EncoderError, match="takes no weights"):
        get_encoder("actions:large")
    with pytest.raises(EncoderError, match="only of a run"):
        get_encoder("actions").encode_text(["a ball"])
    without: Any = _Sequence()
    without.pixels = None
    with pytest.raises(DatasetError, match="no object masks"):
        get_encoder("actions").sample_rows(without)


def test_a_page_shows_what_was_recognised_where_anything_was(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(RunError, match="nothing is known of what its objects do"):
        info(run.path, actions=tmp_path / "none.png")
    with pytest.raises(Legs4dError, match="no kind of plot"):
        info(run.path, actions=tmp_path / "page.html")
    assert not list(tmp_path.glob("*.png")) and describe(run)["actions"] == []
    encoder: Any = of_run(get_encoder("actions"), run)
    with run.lock():
        encoder.sample_rows(_Sequence())
    info(run.path, actions=tmp_path / "page" / "actions.svg")
    assert "ball: fly " in capsys.readouterr().out.replace("actions    1 ", "")
    told = (tmp_path / "page" / "actions.svg").read_text()
    with run.lock():
        write_objects(run, Objects(("ball", "ball"), *_arrays(run)))
    info(run.path, actions=tmp_path / "alike.svg")
    assert "<!-- ball 2: fly -->" in (tmp_path / "alike.svg").read_text()
    assert told.count("<!-- ball: fly -->") == 1 and "<!-- ball: roll" not in told
