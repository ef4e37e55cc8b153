"""Names are left out, what happens stays."""

import pytest

from legs4d.language.wording import without_names


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
