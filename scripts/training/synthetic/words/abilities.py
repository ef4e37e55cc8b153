"""Which objects do which actions in generated scenes."""

from __future__ import annotations

from training.synthetic.schema import ACTIONS, OBJECTS

PEOPLE = ("man", "woman", "robot")

_ANYTHING = ("still", "appear", "disappear")
_THING = (*_ANYTHING, "fly", "fall", "rise", "spin", "slide", "shake", "grow", "shrink", "orbit", "collide")
_HANDY = (*_THING, "held", "carried", "swing")
_PERSON = (
    *_ANYTHING,
    *("walk", "run", "jump", "wave", "throw", "catch", "pick up", "put down", "hold", "carry", "kick"),
    *("sit down", "stand up", "bow", "clap", "spin", "fall"),
)

DOES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(PEOPLE, _PERSON),
    "dog": (*_ANYTHING, "walk", "run", "jump", "sit down", "stand up", "spin", "fall", "carried", "held"),
    "bird": (*_ANYTHING, "fly", "rise", "fall", "jump", "walk", "orbit", "held", "carried", "spin"),
    "ball": (*_HANDY, "bounce", "roll"),
    "balloon": (*_HANDY, "bounce"),
    "box": (*_HANDY, "bounce", "topple", "open", "close"),
    "cylinder": (*_HANDY, "roll", "topple", "bounce"),
    "cone": (*_HANDY, "topple", "bounce"),
    "ring": (*_HANDY, "roll", "bounce", "topple"),
    "wheel": (*_HANDY, "roll", "bounce", "topple"),
    "door": (*_ANYTHING, "open", "close", "shake", "swing"),
    "book": (*_HANDY, "open", "close", "topple"),
    "chair": (*_THING, "topple", "carried", "held"),
    "table": (*_THING, "topple"),
    "lamp": (*_THING, "swing", "topple", "held", "carried"),
    "cup": (*_HANDY, "roll", "topple"),
    "bottle": (*_HANDY, "roll", "topple"),
    "plate": (*_HANDY, "roll"),
    "hammer": (*_HANDY, "topple"),
    "car": (*_THING, "roll"),
    "plane": (*_HANDY,),
    "tree": (*_ANYTHING, "shake", "swing", "topple", "grow", "shrink", "fall"),
}
"""Of each object, the actions it does. A car that drives "rolls"; a bird hops ("jump")."""

PAIRS: frozenset[tuple[str, str]] = frozenset((thing, action) for thing, actions in DOES.items() for action in actions)

assert set(DOES) == set(OBJECTS) and {action for _, action in PAIRS} == set(ACTIONS)
