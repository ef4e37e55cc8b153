"""Reads pickles of dictionaries of NumPy arrays without unpickling: no name in the file is looked up or called.

A pickle is a program for a small machine. This runs the few instructions that arrays in dictionaries are made of and
refuses all others, and of names knows three that it reads itself.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.priors.graphs.graph import GraphError

_NAMES = {
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
}
_MARK = object()
_VALUES = {"BININT", "BININT1", "BININT2", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass
class _Name:
    kind: str


@dataclass
class _Made:
    """An array or a dtype that is being put together."""

    kind: str
    given: tuple[Any, ...]
    value: Any = field(default=None)


def read_pickled_arrays(data: bytes) -> dict[str, Any]:
    """Arrays by name, in dictionaries in dictionaries.

    Raises:
        GraphError: it is damaged, or holds anything else.
    """
    try:
        found = _plain(_run(data))
    except GraphError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise GraphError("is damaged, or no pickle of arrays") from error
    if not isinstance(found, dict):
        raise GraphError("holds no arrays by name")
    return found


def flat(arrays: dict[str, Any], before: str = "") -> dict[str, NDArray[Any]]:
    """{"a": {"b": array}} as {"a.b": array}."""
    found: dict[str, NDArray[Any]] = {}
    for name, value in arrays.items():
        found |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return found


def _run(data: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for code, argument, _ in pickletools.genops(data):
        op = code.name
        if op in ("PROTO", "FRAME"):
            continue
        if op in _VALUES:
            stack.append(argument)
        elif op in _CONSTANTS:
            stack.append(_CONSTANTS[op])
        elif op == "MARK":
            stack.append(_MARK)
        elif op == "EMPTY_DICT":
            stack.append({})
        elif op in _TUPLES:
            count = _TUPLES[op]
            stack[len(stack) - count :] = [tuple(stack[len(stack) - count :])]
        elif op == "TUPLE":
            at = _mark(stack)
            stack[at:] = [tuple(stack[at + 1 :])]
        elif op == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1][key] = value
        elif op == "SETITEMS":
            at = _mark(stack)
            pairs = stack[at + 1 :]
            del stack[at:]
            stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))
        elif op in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif op == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif op in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif op == "GLOBAL":
            stack.append(_name(argument))
        elif op == "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            stack.append(_name(f"{module} {name}"))
        elif op == "REDUCE":
            given, what = stack.pop(), stack.pop()
            stack.append(_Made(what.kind, given))
        elif op == "BUILD":
            state = stack.pop()
            _build(stack[-1], state)
        elif op == "STOP":
            return stack.pop()
        else:
            raise GraphError(f"holds more than arrays ({op}), and was not opened: loading it could run code")
    raise GraphError("is cut short")


def _mark(stack: list[Any]) -> int:
    return len(stack) - 1 - next(i for i, value in enumerate(reversed(stack)) if value is _MARK)


def _name(text: str) -> _Name:
    if text not in _NAMES:
        raise GraphError(f"holds more than arrays ({text.replace(' ', '.')}), and was not opened: it could run code")
    return _Name(_NAMES[text])


def _build(made: _Made, state: tuple[Any, ...]) -> None:
    if made.kind == "dtype":
        made.value = np.dtype(made.given[0]).newbyteorder(state[1])
    elif made.kind == "array":
        _, shape, kind, columns_first, content = state
        made.value = np.frombuffer(content, _plain(kind)).reshape(shape, order="F" if columns_first else "C")
    else:
        raise TypeError(made.kind)


def _plain(value: Any) -> Any:
    if isinstance(value, _Made):
        if value.value is None and value.kind == "dtype":
            return np.dtype(value.given[0])
        if value.value is None:
            raise ValueError("an array without numbers")
        return value.value
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, _Name):
        raise TypeError(value.kind)
    return value
