"""What an object looks like, which no motion tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Looks:
    """Of one object.

    Attributes:
        kinds: what it is most like, of `looking.KINDS` or a person → 0..1; empty where it is like nothing.
        colors: of `looking.COLORS` → 0..1.
    """

    kinds: dict[str, float]
    colors: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {"kinds": self.kinds, "colors": self.colors}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Looks:
        """See `to_json`."""
        return cls(dict(told["kinds"]), dict(told["colors"]))
