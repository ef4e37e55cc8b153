"""Names that people give: of objects, segments and selections."""

from __future__ import annotations

from legs4d.errors import RunError

LONGEST_NAME = 100
"""Characters."""


def plain_name(name: str, where: str, *, blank: bool = True) -> str:
    """A name without white space around it.

    Args:
        where: what is named, for the message.
        blank: whether it may be empty, for "has none".

    Raises:
        RunError: it has more than LONGEST_NAME characters, or one that is not shown as it is (a line break, which would
            spoil lists), or is blank where it must not be.
    """
    plain = name.strip()
    if len(plain) > LONGEST_NAME:
        raise RunError(
            f"a name of {len(plain)} characters is too long", where=where, fix=f"give at most {LONGEST_NAME} characters"
        )
    if not plain.isprintable():
        raise RunError("a name is one line of visible characters", where=where, fix="leave out line breaks")
    if not plain and not blank:
        raise RunError("a name is blank", where=where, fix=f"give 1 to {LONGEST_NAME} characters")
    return plain
