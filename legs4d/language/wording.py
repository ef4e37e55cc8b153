"""What a sentence says happens, apart from what it happens to."""

from __future__ import annotations

import re

NAMELESS = "something"

_NAMED = re.compile(
    r"\b(?:a|an|the|this|that|these|those|his|her|their|its|some|another|each|all"
    r"|one|two|three|four|five)\s+\w+(?:['’]s)?",
    re.IGNORECASE,
)
"""A determiner, and the word that it belongs to."""


def without_names(text: str) -> str:
    """The text with "something" for what it names: "a man is holding the ball" → "something is holding something".

    English only, and only by its determiners: text without them comes back as it is. Text that is nothing but names
    ("the ball") says nothing else, and gives "".
    """
    rest = " ".join(_NAMED.sub(NAMELESS, text).split())
    return "" if set(rest.split()) <= {NAMELESS} and rest != text else rest


def is_name(text: str) -> bool:
    """Whether the text only names a thing ("the ball", "people") and says nothing of what happens to it.

    Told by its determiner or by being one word that is no gerund, so "a red ball" passes for a statement.
    """
    words = text.split()
    return not without_names(text) or (len(words) == 1 and not words[0].lower().endswith("ing"))
