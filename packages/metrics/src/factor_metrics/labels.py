"""Labels of arguments: two matrices that name their dates and symbols must name the same ones, in the same order.

Inside this package a matrix is numbers alone, and the third column of a prediction is the third one of a label. A frame
brings names for its rows and columns, and `np.asarray` drops them without a word: two frames whose symbols come in
another order would be compared symbol by wrong symbol. So every public function that takes more than one matrix, or
more than one series, says by `same_labels` which of its arguments belong together, and refuses those that differ.
Nothing is put in order for the caller: which of two orders, or of two sets of dates, was meant is theirs to say.

Labelled are pandas frames and series, what has `dims` and `indexes` as xarray's arrays do, and frames of polars,
pyarrow and others that speak Arrow (`matrices`). None of these libraries is imported before it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from factor_metrics.matrices import as_wide, is_foreign, is_keyed

P = ParamSpec("P")
R = TypeVar("R")

Axes = tuple[Any, ...]
"""Per axis of a matrix or a series the labels along it."""


def same_labels(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function refuse a call in which the arguments `names` are labelled differently.

    A mapping, a list or a tuple among them stands for what it holds. A series fits a matrix whose dates or symbols it
    has. Arguments without labels fit all.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        code = function.__code__
        parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if unknown := set(names) - set(parameters):
            raise TypeError(f"{code.co_qualname} has no parameter {', '.join(sorted(unknown))}")

        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            given = dict(zip(parameters, args, strict=False)) | kwargs
            read = {name: _read(name, given[name]) for name in names if name in given}
            check_same_labels(read)
            changed = {name: value for name, value in read.items() if value is not given[name]}
            return function(**given | changed) if changed else function(*args, **kwargs)  # type: ignore[call-arg, arg-type]

        checked.same_labels = names  # type: ignore[attr-defined]
        return checked

    return decorate


def check_same_labels(arguments: Mapping[str, object]) -> None:
    """Refuse labelled values, by name, that do not have the same labels in the same order; ValueError."""
    labelled = [found for name, value in arguments.items() for found in _labelled(name, value)]
    if len(labelled) < 2:
        return
    first, axes = max(labelled, key=lambda found: len(found[1]))
    for name, others in labelled:
        if not any(_equal(axes[start : start + len(others)], others) for start in range(len(axes) - len(others) + 1)):
            raise ValueError(f"{first} and {name} must have the same labels in the same order, {_how(axes, others)}")


def _read(name: str, value: object) -> object:
    """Return frames that bring their labels otherwise than in an index of pandas spread out; else `value`.

    So are those of other libraries and those of pandas with a column of stamps, on their own or in a mapping or
    sequence. Series and frames of pandas with dates and symbols in their index stay: two of them belong together row by
    row, and are spread over dates and symbols later.
    """
    if _brings_columns(value):
        return as_wide(name, value)
    if isinstance(value, Mapping) and any(map(_brings_columns, value.values())):
        return {key: _read(f"{name}[{key!r}]", inner) for key, inner in value.items()}
    if isinstance(value, list | tuple) and any(map(_brings_columns, value)):
        return [_read(f"{name}[{place}]", inner) for place, inner in enumerate(value)]
    return value


def _brings_columns(value: object) -> bool:
    return is_foreign(value) or is_keyed(value)


def _labelled(name: str, value: object) -> Iterator[tuple[str, Axes]]:
    """Yield the labelled arrays of an argument, each with its name and axes."""
    axes = _axes(value)
    if axes is not None:
        yield name, axes
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _labelled(f"{name}[{key!r}]", inner)
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            if not isinstance(inner, int | float | list):  # rows of numbers
                yield from _labelled(f"{name}[{place}]", inner)


def _axes(value: object) -> Axes | None:
    """Return the labels along each axis, None where the value has none."""
    index, columns = getattr(value, "index", None), getattr(value, "columns", None)
    if hasattr(index, "equals"):
        return (index,) if columns is None else (index, columns)
    dims, indexes = getattr(value, "dims", None), getattr(value, "indexes", None)
    if dims is None or indexes is None or not all(dim in indexes for dim in dims):
        return None
    return tuple(indexes[dim] for dim in dims)


def _equal(some: Axes, others: Axes) -> bool:
    return all(a is b or a.equals(b) for a, b in zip(some, others, strict=True))


def _how(axes: Axes, others: Axes) -> str:
    """Say in words where two sets of axes part."""
    if len(axes) != len(others):
        return f"got {_shown(others[0])} along {' and '.join(map(_shown, axes))}"
    kinds = ("rows", "columns") if len(axes) == 2 else tuple(f"axis {number}" for number in range(len(axes)))
    for kind, some, other in zip(kinds, axes, others, strict=True):
        if some.equals(other):
            continue
        if len(some) == len(other) and set(some) == set(other):
            places = [place for place, (a, b) in enumerate(zip(some, other, strict=True)) if a != b]
            at = f", first at {places[0]}: {some[places[0]]} and {other[places[0]]}" if places else ""
            return f"but their {kind} come in another order{at}; reindex one like the other first"
        return (
            f"got {_shown(some)} and {_shown(other)} as {kind}, {len(set(some) & set(other))} of them in both; "
            "reindex one like the other, or keep what both have"
        )
    raise AssertionError("the axes are equal")


def _shown(labels: Any) -> str:
    values = np.asarray(labels)
    return f"{len(values)} ({values[0]} to {values[-1]})" if len(values) else "none"
