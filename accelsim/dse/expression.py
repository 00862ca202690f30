"""Small exact expressions of sweep files: ``rows * 2``, ``512 KiB - ub.size``, ``area_mm2 <= 5``.

Numbers are exact rationals and may carry the units of machine files. Names are dotted keys; whoever evaluates says
what they stand for.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

from accelsim.units import CLOCK_UNITS, SIZE_UNITS

Value: TypeAlias = Fraction | str
Lookup: TypeAlias = Callable[[str], Value]

UNITS: Mapping[str, int] = {**SIZE_UNITS, **CLOCK_UNITS}
FUNCTIONS: Mapping[str, Callable[..., Any]] = {"min": min, "max": max}
_LIMIT = 500  # characters of an expression
_EXPONENT_LIMIT = 64
_WITH_UNIT = re.compile(rf"(?<![\w.])(\d+(?:\.\d+)?)\s*({'|'.join(sorted(UNITS, key=len, reverse=True))})\b(?!/)")
_BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
_COMPARE: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.LtE: operator.le, ast.Lt: operator.lt, ast.GtE: operator.ge, ast.Gt: operator.gt, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression; ``names`` are the dotted names it uses, in order."""

    text: str
    names: tuple[str, ...]
    _body: ast.expr

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Raises ``ValueError`` whose text is the problem, then after a line break a hint."""
        if len(text) > _LIMIT:
            raise ValueError(f"an expression has at most {_LIMIT} characters")
        plain = _WITH_UNIT.sub(lambda match: f"({match[1]}*{UNITS[match[2]]})", text)
        try:
            body = ast.parse(plain.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ValueError(f"{text!r} cannot be read\nfor example: rows * 2, 512 KiB - ub.size") from None
        names: dict[str, None] = {}
        _check(body, names)
        return cls(text, tuple(names), body)

    @property
    def compares(self) -> bool:
        """Whether it is a comparison, true or false."""
        return isinstance(self._body, ast.Compare)

    def evaluate(self, lookup: Lookup) -> Any:
        """The value: a Fraction, a word, or for a comparison a bool. Raises ``ValueError``, as ``lookup`` may."""
        try:
            return _evaluate(self._body, lookup)
        except ZeroDivisionError:
            raise ValueError(f"{self.text!r} divides by zero") from None
        except TypeError:
            raise ValueError(f"{self.text!r} calculates with a word") from None


def _check(node: ast.AST, names: dict[str, None]) -> None:
    """Refuse everything but arithmetic; collect the names."""
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            _check(left, names)
            _check(right, names)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            _check(operand, names)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARE for op in ops):
            for part in (left, *others):
                _check(part, names)
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as arguments, keywords=[]) if name in FUNCTIONS:
            for part in arguments:
                _check(part, names)
        case ast.Constant(value=int() | float() | str() as value) if not isinstance(value, bool):
            pass
        case ast.Name() | ast.Attribute():
            names[_dotted(node)] = None
        case _:
            raise ValueError(
                f"{ast.unparse(node)!r} is not allowed in an expression\n"
                "allowed: numbers, names, + - * / // % **, min, max, comparisons"
            )


def _dotted(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=inner, attr=name):
            return f"{_dotted(inner)}.{name}"
    raise ValueError(f"{ast.unparse(node)!r} is not a name")


def _evaluate(node: ast.AST, lookup: Lookup) -> Any:
    match node:
        case ast.Constant(value=value):
            return value if isinstance(value, str) else Fraction(str(value))
        case ast.BinOp(left=left, op=op, right=right):
            first, second = _evaluate(left, lookup), _evaluate(right, lookup)
            if isinstance(first, str) or isinstance(second, str):
                raise TypeError
            if isinstance(op, ast.Pow) and (second.denominator != 1 or abs(second) > _EXPONENT_LIMIT):
                raise ValueError(f"an exponent is a whole number up to {_EXPONENT_LIMIT}, got {second}")
            return Fraction(_BINARY[type(op)](first, second))
        case ast.UnaryOp(op=op, operand=operand):
            value = _evaluate(operand, lookup)
            return -value if isinstance(op, ast.USub) else value
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_evaluate(part, lookup) for part in (left, *others)]
            return all(_COMPARE[type(op)](a, b) for op, a, b in zip(ops, values, values[1:]))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return FUNCTIONS[name](*(_evaluate(part, lookup) for part in arguments))
    return lookup(_dotted(node))
