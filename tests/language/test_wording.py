"""Names are left out, what happens stays."""

import pytest

from legs4d.language.wording import is_name, without_names


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("A man is holding the ball", "something is holding something"),
        ("a basketball held in a man's hands", "something held in something hands"),
        ("the woman’s dog runs after her cat", "something dog runs after something"),
        ("two men watching another man", "something watching something"),
        ("basketball in mid-air", "basketball in mid-air"),
        ("someone carries it", "someone carries it"),
        ("the ball", ""),
        ("the ball the box", ""),
        ("something", "something"),
        ("theatre anthem", "theatre anthem"),
        ("der Mann wirft den Ball", "der Mann wirft den Ball"),
        ("", ""),
    ],
)
def test_names_are_left_out(text: str, rest: str):
    assert without_names(text) == rest


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("the ball", True),
        ("two men", True),
        ("people", True),
        ("throwing", False),
        ("the ball flies", False),
        ("", True),
    ],
)
def test_names_are_told_from_statements(text: str, name: bool):
    assert is_name(text) == name
