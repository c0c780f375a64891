"""Metrics of cross-sectional forecasts: arrays (num_dates, num_symbols) in, numbers and a report out.

The public names stand in `__init__.pyi`, one a line. A name is loaded where it is first used, with the modules
that it needs and no other: `import factor_metrics` loads none of them.
"""

from __future__ import annotations

import importlib
from typing import Any

import lazy_loader

_named, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "report":  # a folder that can be called, so it is no name of the stub
        return importlib.import_module(f"{__name__}.report")
    return _named(name)
