"""The language in which prompts are put together: "the ball is flying AND NOT a man raises his arms".

    expression = both { "OR" both }            in frames where either holds
    both       = single { "AND" single }       in frames where both hold
    single     = "NOT" single | relation       in frames where it does not hold
    relation   = prompt { ("BEFORE" | "AFTER") prompt }
    prompt     = words | "words in quotes" | "(" expression ")"

Operators are whole words in capitals, so that sentences may use them in small letters; quotes protect everything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from legs4d.errors import PromptError

OPERATORS = ("AND", "OR", "NOT", "BEFORE", "AFTER")

MAX_EXPRESSION = 4000
"""Characters."""

_MAX_DEPTH = 50
"""Parentheses in each other."""


@dataclass(frozen=True)
class Prompt:
    """A leaf of an expression: words that are asked for as they are."""

    text: str


@dataclass(frozen=True)
class Operation:
    """An operator of OPERATORS and its operands: one of NOT, two of the others."""

    operator: str
    operands: tuple[Expression, ...]


Expression = Prompt | Operation


def parse(text: str) -> Expression:
    """Read an expression.

    Raises:
        PromptError: it is empty or too long, a quote or parenthesis is not closed, or an operator lacks its prompt.
    """
    if len(text) > MAX_EXPRESSION:
        raise PromptError(f"has {len(text)} characters, at most {MAX_EXPRESSION} are read", where="expression")
    tokens = _tokens(text)
    if not tokens:
        raise PromptError("is empty", where="expression", fix='write a prompt, or several: "a" AND NOT "b"')
    return _Reader(text, tokens).expression()


_TOKEN = re.compile(r'\s*(?:(?P<quoted>"[^"]*")|(?P<mark>[()])|(?P<word>[^\s()"]+)|(?P<open>"))')


def _tokens(text: str) -> list[tuple[str, str]]:
    """(kind, text): `operator`, `mark` for parentheses, or `prompt`, words side by side being one."""
    tokens: list[tuple[str, str]] = []
    for match in _TOKEN.finditer(text):
        kind, value = str(match.lastgroup), match[match.lastgroup or 0]
        if kind == "open":
            raise PromptError(f"{text!r} has a quote that is not closed", where="expression", fix='write "…" around it')
        if kind == "quoted":
            tokens.append(("prompt", value[1:-1]))
        elif kind == "word" and value in OPERATORS:
            tokens.append(("operator", value))
        elif kind == "mark":
            tokens.append((kind, value))
        elif tokens and tokens[-1][0] == "word":
            tokens[-1] = ("word", f"{tokens[-1][1]} {value}")
        else:
            tokens.append(("word", value))
    return [("prompt" if kind == "word" else kind, value) for kind, value in tokens]


class _Reader:
    """Recursive descent, one method a rule."""

    def __init__(self, text: str, tokens: list[tuple[str, str]]) -> None:
        self._text, self._tokens, self._next, self._depth = text, tokens, 0, 0

    def expression(self) -> Expression:
        whole = self._either()
        if self._peek() is not None:
            raise self._error(f"has {self._peek()!r} where it should end or go on with an operator")
        return whole

    def _either(self) -> Expression:
        return self._row(self._both, ("OR",))

    def _both(self) -> Expression:
        return self._row(self._single, ("AND",))

    def _single(self) -> Expression:
        negations = 0
        while self._take(("NOT",)):
            negations += 1
        single = self._row(self._prompt, ("BEFORE", "AFTER"))
        return Operation("NOT", (single,)) if negations % 2 else single

    def _row(self, operand: Callable[[], Expression], operators: tuple[str, ...]) -> Expression:
        left = operand()
        while operator := self._take(operators):
            left = Operation(operator, (left, operand()))
        return left

    def _prompt(self) -> Expression:
        if self._tokens[self._next :] and self._tokens[self._next][0] == "prompt":
            self._next += 1
            return Prompt(self._tokens[self._next - 1][1])
        if self._take(("(",)):
            self._depth += 1
            if self._depth > _MAX_DEPTH:
                raise self._error(f"has more than {_MAX_DEPTH} parentheses in each other")
            inside = self._either()
            if not self._take((")",)):
                raise self._error("has a parenthesis that is not closed")
            self._depth -= 1
            return inside
        before = f"after {self._tokens[self._next - 1][1]}" if self._next else "at its start"
        raise self._error(f"has no prompt {before}")

    def _peek(self) -> str | None:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else None

    def _take(self, wanted: tuple[str, ...]) -> str | None:
        if self._next >= len(self._tokens) or self._tokens[self._next][0] == "prompt":
            return None
        found = self._tokens[self._next][1]
        if found not in wanted:
            return None
        self._next += 1
        return found

    def _error(self, what: str) -> PromptError:
        fix = f"operators are {', '.join(OPERATORS)}; put a prompt that contains one in quotes"
        return PromptError(f"{self._text!r} {what}", where="expression", fix=fix)


def prompts_of(expression: Expression) -> list[str]:
    """The prompts of an expression from left to right, repeated ones too."""
    if isinstance(expression, Prompt):
        return [expression.text]
    return [text for operand in expression.operands for text in prompts_of(operand)]
