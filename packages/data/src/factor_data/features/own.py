"""Features that users bring: ready-made columns, expressions, functions of a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from factor_data.features.columns import ColumnFeatures
from factor_data.features.dates import GROUP
from factor_data.features.expressions import Expression
from factor_data.features.functions import FileFunction
from factor_data.history import Floats
from factor_data.panel.panel import Panel

Feature = Callable[[Panel], Floats]


class Brought(NamedTuple):
    """The features that a user brings: functions of a panel by name, and the names of the columns they make.

    A name of a column that is no function is `<function>~<column of groups>`.
    """

    functions: dict[str, Feature]
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class OwnFeatures:
    """What a user names besides the features and sets of this package."""

    columns: tuple[str | ColumnFeatures, ...] = ()
    """Columns of the bars: names or patterns, or such with their rules."""
    expressions: Mapping[str, str] = field(default_factory=dict)
    """Feature name -> expression."""
    functions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Python file -> names of its functions, which name the features."""

    def __post_init__(self) -> None:
        for name, text in self.expressions.items():
            try:
                Expression(text)
            except ValueError as error:
                raise ValueError(f"expressions.{name}: {error}") from None

    def __bool__(self) -> bool:
        return bool(self.columns or self.expressions or self.functions)

    @property
    def named(self) -> tuple[str, ...]:
        """Names of features that are known without the bars, so without those that patterns stand for."""
        columns = [name for one in self.columns for name in ((one,) if isinstance(one, str) else one.names)]
        return (*columns, *self.expressions, *(name for names in self.functions.values() for name in names))

    def features(self, available: Sequence[str]) -> Brought:
        """The features in the order columns, expressions, functions.

        `available` are the columns that they may read. ValueError for a column that is not there, and for a name that
        comes twice.
        """
        found: list[tuple[str, str, Feature]] = []  # name of the column, name of the function, function
        for one in self.columns:
            rules = ColumnFeatures(names=(one,)) if isinstance(one, str) else one
            group = "" if rules.neutral is None else f"{GROUP}{rules.neutral}"
            try:
                found += [(f"{name}{group}", name, feature) for name, feature in rules.features(available).items()]
            except ValueError as error:
                raise ValueError(f"columns: {error}") from None
        for name, text in self.expressions.items():
            expression = Expression(text)
            try:
                expression.check_columns(available)
            except ValueError as error:
                raise ValueError(f"expressions.{name}: {error}") from None
            found.append((name, name, expression))
        found += [(name, name, FileFunction(path, name)) for path, names in self.functions.items() for name in names]
        functions = {name: feature for _, name, feature in found}
        twice = [name for _, name, feature in found if functions[name] != feature]
        twice += [name for name, count in Counter(name for name, _, _ in found).items() if count > 1]
        if twice:
            raise ValueError(f"features of your own repeat: {sorted(set(twice))}")
        return Brought(functions=functions, names=tuple(name for name, _, _ in found))
