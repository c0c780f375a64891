"""Features in a Python file of the user's: `def my_momentum(panel): ...`, a function of the panel as in `FEATURES`.

A function is handed a panel of whole symbols, perhaps not all of them, and returns (num_rows,) numbers of each symbol's
own bars up to t. `factor_data` is there to import from, such as its rolling kernels.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from traceback import extract_tb
from types import MappingProxyType, ModuleType

import numpy as np
import pandas as pd

from factor_data.history import Floats
from factor_data.panel.panel import Panel


@dataclass(frozen=True)
class FileFunction:
    """A function of a file, found by name when it is first called: small enough to send to another process."""

    path: str
    name: str

    def __call__(self, panel: Panel) -> Floats:
        """Return (num_rows,) float64.

        ValueError if the function fails, writes into the panel, which others read after it, or returns anything else
        than a number per row in the order of the rows.
        """
        function = _function(self.path, Path(self.path).read_bytes(), self.name)
        try:
            returned = function(_read_only(panel))
        except (Exception, SystemExit) as error:
            if isinstance(error, MemoryError):
                raise
            lines = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == self.path]
            where = f"{self.path} line {lines[-1]}" if lines else self.path
            raise ValueError(f"{where}: {self.name} ended with {type(error).__name__}: {error}") from error
        if isinstance(returned, np.ma.MaskedArray):
            raise ValueError(f"{self.path}: {self.name} returned a masked array: write NaN where there is no value")
        if isinstance(returned, pd.Series) and not np.array_equal(returned.index, np.arange(panel.num_rows)):
            raise ValueError(
                f"{self.path}: {self.name} returned a Series whose index is not 0 to {panel.num_rows - 1} in order: "
                "return an array in the order of the rows"
            )
        result = np.asarray(returned)
        if result.shape != (panel.num_rows,) or result.dtype.kind not in "fiub":
            raise ValueError(
                f"{self.path}: {self.name} must return one number per bar, ({panel.num_rows},), got {result.shape} "
                f"{result.dtype}"
            )
        return result.astype(np.float64)


def _read_only(panel: Panel) -> Panel:
    """Return the panel with arrays that refuse to be written to."""
    guarded = copy.copy(panel)
    held = {name: getattr(panel, name).view() for name in ("symbols", "dates", "symbol_code", "date_code")}
    columns = {name: values.view() for name, values in panel.columns.items()}
    for values in (*held.values(), *columns.values()):
        values.flags.writeable = False
    for name, value in {**held, "columns": MappingProxyType(columns)}.items():
        object.__setattr__(guarded, name, value)
    return guarded


def check_functions(path: str, names: tuple[str, ...]) -> None:
    """ValueError unless the file defines functions of these names; it is read and not run."""
    try:
        tree = ast.parse(Path(path).read_bytes(), filename=path)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist") from None
    except SyntaxError as error:
        where = path if error.lineno is None else f"{path} line {error.lineno}"
        raise ValueError(f"{where}: {error.msg}") from None
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if missing := [name for name in names if name not in defined]:
        raise ValueError(f"{path} defines no function {missing[0]!r}; it defines {', '.join(defined) or 'none'}")


@cache
def _function(path: str, code: bytes, name: str) -> Callable[[Panel], object]:
    check_functions(path, (name,))
    function: Callable[[Panel], object] = getattr(_module(path, code), name)
    return function


@cache
def _module(path: str, code: bytes) -> ModuleType:
    """What stands in a file as a module of its own; the import system keeps no other trace of it.

    It goes by its content: a bundle that is replaced under a running server has the same path, and so has the file of
    another checkout that a process enters.
    """
    name = f"features_of_user_{Path(path).stem}_{hashlib.sha256(code).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    exec(compile(code, path, "exec"), module.__dict__)
    return module
