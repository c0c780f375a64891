"""What is not installed with the package, and how to get it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def from_extra(name: str) -> Iterator[None]:
    """Name the extra of this package that brings what is imported inside, where that is not installed.

    Raises
    ------
    ModuleNotFoundError
        With the command that installs it, in place of Python's own.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed: pip install 'factor-models[{name}]'", name=error.name
        ) from error
