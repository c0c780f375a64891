"""Features that users bring: ready-made columns, expressions, functions of a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from factor_data.features.columns import ColumnFeatures
from factor_data.features.expressions import Expression
from factor_data.features.functions import FileFunction
from factor_data.features.history import Floats
from factor_data.panel.panel import Panel


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

    def features(self, available: Sequence[str]) -> dict[str, Callable[[Panel], Floats]]:
        """The features by name, in the order columns, expressions, functions.

        `available` are the columns that they may read. ValueError for a column that is not there, and for a name that
        comes twice.
        """
        found: list[tuple[str, Callable[[Panel], Floats]]] = []
        for one in self.columns:
            rules = ColumnFeatures(names=(one,)) if isinstance(one, str) else one
            try:
                found += rules.features(available).items()
            except ValueError as error:
                raise ValueError(f"columns: {error}") from None
        for name, text in self.expressions.items():
            expression = Expression(text)
            try:
                expression.check_columns(available)
            except ValueError as error:
                raise ValueError(f"expressions.{name}: {error}") from None
            found.append((name, expression))
        found += [(name, FileFunction(path, name)) for path, names in self.functions.items() for name in names]
        if repeated := sorted(name for name, count in Counter(name for name, _ in found).items() if count > 1):
            raise ValueError(f"features of your own repeat: {repeated}")
        return dict(found)
