"""The report of a run: plain data in, one self-contained HTML page out; a terminal table and a picture.

The public names stand in `__init__.pyi`; each is loaded where it is first used. The module can be called as well:
`factor_metrics.report(prediction, label, prices)` is `make_report`, from forecasts to a page in one call.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


class _CallableModule(ModuleType):
    """A module that is also what users know as `report(...)`: folder and function have one name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.make_report(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
