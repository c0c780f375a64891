"""Expressions over the columns of the bars, in the style of qlib's: `Mean($close, 20) / $close - 1`.

`$name` is a column: open, high, low, close, volume and vwap in adjusted units, any other as the data have it. An
expression is made of columns, numbers, `+ - * / **`, comparisons (1 or 0), `&`, `|` and calls of `OPERATORS`. Its text
is parsed by `ast` and held against this list; the tree is then walked over arrays. Nothing of it is run as Python.
"""

from __future__ import annotations

import ast
import operator
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

import numpy as np

from factor_data.bar_columns import REQUIRED_COLUMNS
from factor_data.features.alpha_inputs import adjusted_vwap
from factor_data.features.kernels import Floats
from factor_data.features.operators import OPERATORS, Ages, Operator, compare
from factor_data.history import bar_age
from factor_data.panel.panel import Panel

MAX_LENGTH, MAX_DEPTH, MAX_WINDOW = 2000, 50, 10_000
COLUMN = r"\$(\w+)"
PREFIX = "_column_"  # `$close` is no Python name, `_column_close` is

BINARY: dict[type[ast.AST], Callable[[Floats, Floats], Floats]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: np.power,
    ast.BitAnd: compare(lambda left, right: (left != 0.0) & (right != 0.0)),
    ast.BitOr: compare(lambda left, right: (left != 0.0) | (right != 0.0)),
    ast.Gt: compare(operator.gt),
    ast.GtE: compare(operator.ge),
    ast.Lt: compare(operator.lt),
    ast.LtE: compare(operator.le),
    ast.Eq: compare(operator.eq),
    ast.NotEq: compare(operator.ne),
}
UNARY: dict[type[ast.AST], Callable[[Floats], Floats]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}


@dataclass(frozen=True)
class Expression:
    """A checked expression: a symbol feature as those of `FEATURES` are.

    ValueError says what in the text is wrong.
    """

    text: str

    def __post_init__(self) -> None:
        _check(self._tree, 1)
        if not self.columns:
            raise ValueError(f"{self.text!r} has no column such as $close")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads, each once, in the order of the text."""
        return tuple(dict.fromkeys(re.findall(COLUMN, self.text)))

    @cached_property
    def bars(self) -> int:
        """How many bars of the symbol it looks at, that of t included: it has the same bits with no more of them."""
        return _bars(self._tree)

    @cached_property
    def _tree(self) -> ast.expr:
        if len(self.text) > MAX_LENGTH:
            raise ValueError(f"is longer than {MAX_LENGTH} characters")
        if PREFIX in self.text:
            raise ValueError(f"{self.text!r}: a name must not contain {PREFIX}")
        try:
            return ast.parse(re.sub(COLUMN, rf"{PREFIX}\1", self.text).strip(), mode="eval").body
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"{self.text!r} is no expression: {error}") from None

    def check_columns(self, available: Sequence[str]) -> None:
        """ValueError for a column that the bars do not have."""
        for name in self.columns:
            if name != "vwap" and name not in available:
                near = get_close_matches(name, available, n=3)
                hint = f"did you mean {', '.join(f'${one}' for one in near)}?" if near else f"they have {[*available]}"
                raise ValueError(f"the bars have no column {name!r}; {hint}")

    def __call__(self, panel: Panel) -> Floats:
        """Return (num_rows,) float64, NaN where it is missing or not finite."""
        with np.errstate(all="ignore"):
            return _Evaluation(panel).array(self._tree)


class _Evaluation:
    """Values of the nodes of one expression on a panel; what occurs twice in it is computed once."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.done: dict[str, Floats] = {}

    @cached_property
    def age(self) -> Ages:
        return bar_age(self.panel.symbol_code)

    def array(self, node: ast.expr) -> Floats:
        """The value of a node per row, also where it is a number."""
        value = self.value(node)
        return value if np.ndim(value) else np.full(self.panel.num_rows, value)

    def value(self, node: ast.expr) -> Floats:
        """The value of a node; a number has no axis."""
        key = ast.dump(node)
        if key not in self.done:
            value = self._compute(node)
            self.done[key] = np.where(np.isfinite(value), value, np.nan)
        return self.done[key]

    def _compute(self, node: ast.expr) -> Floats:
        match node:
            case ast.Constant(value=number):
                return np.asarray(number, dtype=np.float64)
            case ast.Name(id=name):
                return self._column(name.removeprefix(PREFIX))
            case ast.UnaryOp(op=op, operand=operand):
                return UNARY[type(op)](self.value(operand))
            case ast.BinOp(left=left, op=op, right=right) | ast.Compare(left=left, ops=[op], comparators=[right]):
                return BINARY[type(op)](self.value(left), self.value(right))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return self._call(OPERATORS[name], arguments)
        raise AssertionError(f"an unchecked node: {ast.dump(node)}")

    def _column(self, name: str) -> Floats:
        if name == "vwap":
            return adjusted_vwap(self.panel)
        return self.panel.adjusted(name) if name in REQUIRED_COLUMNS else self.panel.columns[name]

    def _call(self, called: Operator, arguments: Sequence[ast.expr]) -> Floats:
        values = [self.array(one) for one in arguments[: called.values]]
        if called.least_window is None:
            return called.function(*values)
        numbers = [number for one in arguments[called.values :] if (number := _number(one)) is not None]
        return called.function(*values, self.age, *numbers)


def _bars(node: ast.expr) -> int:
    match node:
        case ast.UnaryOp(operand=operand):
            return _bars(operand)
        case ast.BinOp(left=left, right=right) | ast.Compare(left=left, comparators=[right]):
            return max(_bars(left), _bars(right))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            called = OPERATORS[name]
            before = max(_bars(one) for one in arguments[: called.values])
            if called.least_window is None:
                return before
            window = _number(arguments[called.values])
            assert isinstance(window, int)
            return before + called.bars_before(window)
    return 1


def _number(node: ast.expr) -> int | float | None:
    """The number that a node is, with its sign; None where it is none."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _number(node.operand)
        return None if number is None else -number
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.value
    return None


def _written(node: ast.expr) -> str:
    return ast.unparse(node).replace(PREFIX, "$")


def _check(node: ast.expr, depth: int) -> None:
    """Refuse whatever is not on the list of the module's docstring."""
    if depth > MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH}")
    match node:
        case ast.Constant() if (number := _number(node)) is not None:
            if abs(number) > sys.float_info.max:
                raise ValueError(f"the number {_written(node):.20} ... is too large")
        case ast.Name(id=name) if name.startswith(PREFIX):
            return
        case ast.Name(id=name):
            raise ValueError(f"{name!r} is no column and no number: a column is written ${name}")
        case ast.UnaryOp(op=op, operand=operand) if type(op) in UNARY:
            _check(operand, depth + 1)
        case ast.BinOp(left=left, op=op, right=right) | ast.Compare(left=left, ops=[op], comparators=[right]) if (
            type(op) in BINARY
        ):
            _check(left, depth + 1)
            _check(right, depth + 1)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            _check_call(name, arguments, depth)
        case _:
            raise ValueError(f"{_written(node)!r} is not allowed; columns, numbers, operators and their calls are")


def _check_call(name: str, arguments: Sequence[ast.expr], depth: int) -> None:
    if name not in OPERATORS:
        near = get_close_matches(name, OPERATORS, n=2) or list(OPERATORS)
        raise ValueError(f"unknown operator {name!r}; did you mean {', '.join(near)}?")
    called = OPERATORS[name]
    if len(arguments) != called.num_arguments:
        raise ValueError(f"{called.describe(name)} takes {called.num_arguments} arguments, got {len(arguments)}")
    for one in arguments[: called.values]:
        _check(one, depth + 1)
    if called.least_window is not None:
        _check_window(called.describe(name), called.least_window, arguments[called.values])
    if called.level:
        share = _number(arguments[-1])
        if share is None or not 0 <= share <= 1:
            raise ValueError(
                f"{called.describe(name)}: level must be a number in [0, 1], got {_written(arguments[-1])}"
            )


def _check_window(call: str, least: int, node: ast.expr) -> None:
    window = _number(node)
    if not isinstance(window, int) or not least <= window <= MAX_WINDOW:
        ahead = "; a negative one would look ahead" if window is not None and window < 0 else ""
        raise ValueError(
            f"{call}: window must be a whole number of bars from {least} to {MAX_WINDOW}, got {_written(node)}{ahead}"
        )
