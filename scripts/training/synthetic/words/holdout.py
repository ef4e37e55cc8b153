"""Combinations that training never sees, so that what is measured on them is composed, not remembered.

Every object, action, colour and most camera heights are seen in training, only never together as listed here. None of
the pairs is one that the demo asks for.
"""

from __future__ import annotations

from dataclasses import dataclass

HELD_OUT_ACTIONS: frozenset[tuple[str, str]] = frozenset(
    {
        *(("man", "bow"), ("man", "pick up"), ("woman", "kick"), ("woman", "sit down"), ("robot", "wave")),
        *(("robot", "catch"), ("dog", "jump"), ("bird", "rise")),
        *(("ball", "swing"), ("ball", "shrink"), ("balloon", "spin"), ("balloon", "collide"), ("box", "rise")),
        *(("box", "topple"), ("cylinder", "fly"), ("cylinder", "bounce"), ("cone", "spin"), ("cone", "grow")),
        *(("ring", "roll"), ("ring", "held"), ("wheel", "fall"), ("wheel", "orbit"), ("door", "shake")),
        *(("book", "close"), ("book", "carried"), ("chair", "slide"), ("chair", "topple"), ("table", "shake")),
        *(("lamp", "grow"), ("lamp", "fall"), ("cup", "fly"), ("cup", "topple"), ("bottle", "shake")),
        *(("bottle", "roll"), ("plate", "spin"), ("plate", "appear"), ("hammer", "rise"), ("hammer", "collide")),
        *(("car", "disappear"), ("car", "shrink"), ("plane", "slide"), ("plane", "fall"), ("tree", "swing")),
    }
)
"""(object, action) pairs, about a tenth of all."""

HELD_OUT_COLORS: frozenset[tuple[str, str]] = frozenset(
    {
        *(("man", "pink"), ("man", "green"), ("woman", "orange"), ("robot", "blue"), ("dog", "purple")),
        *(("bird", "white"), ("ball", "purple"), ("ball", "brown"), ("balloon", "black"), ("box", "pink")),
        *(("cylinder", "green"), ("cone", "yellow"), ("ring", "red"), ("wheel", "blue"), ("door", "purple")),
        *(("book", "orange"), ("chair", "red"), ("table", "yellow"), ("lamp", "green"), ("cup", "gray")),
        *(("bottle", "red"), ("plate", "blue"), ("hammer", "pink"), ("car", "yellow"), ("plane", "orange")),
        *(("tree", "pink"),),
    }
)
"""(object, colour) pairs, about a tenth of all."""

HELD_OUT_ELEVATIONS: tuple[tuple[float, float], ...] = ((6.0, 9.0), (33.0, 40.0))
"""Bands, degrees above the horizon, of cameras that look at a scene."""

SPLITS = ("train", "held out", "held out actions", "held out colors", "held out cameras")
"""What a `Generator` draws: nothing held out; all of it at once; or only one kind of it, the rest as in training."""


@dataclass(frozen=True)
class Split:
    """What the clips of a split have that training has not.

    Attributes:
        actions: the chief entity is an object that does what it never does in training.
        colors: it has a colour that it never has in training.
        cameras: the scene is seen from a height from which none is seen in training.
    """

    actions: bool
    colors: bool
    cameras: bool

    @classmethod
    def of(cls, name: str) -> Split:
        """One of `SPLITS`.

        Raises:
            ValueError: it is none of them.
        """
        if name not in SPLITS:
            raise ValueError(f"no split is called {name!r}: choose one of {', '.join(SPLITS)}")
        everything = name == "held out"
        return cls(*(everything or name == f"held out {kind}" for kind in ("actions", "colors", "cameras")))
