"""Names of objects, segments and selections."""

import pytest

from legs4d.errors import RunError
from legs4d.gaussians.names import plain_name


@pytest.mark.parametrize("name", ["the ball", "  the ball ", "мяч", "ボール", "ball 2 (left)"])
def test_names_that_are_shown_as_they_are_pass(name: str) -> None:
    assert plain_name(name, "object 1") == name.strip()


@pytest.mark.parametrize(
    ("name", "told"),
    [("a\nball", "one line"), ("a\x1b[2Jball", "visible"), ("b" * 101, "too long"), (" \t", "blank")],
)
def test_others_are_refused_with_what_is_named(name: str, told: str) -> None:
    with pytest.raises(RunError, match=told) as error:
        plain_name(name, "the selection", blank=False)
    assert "the selection" in str(error.value)


def test_a_thing_may_have_no_name() -> None:
    assert plain_name("", "object 1") == ""
