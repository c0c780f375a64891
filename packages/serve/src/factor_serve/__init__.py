"""Forecasts from a bundle: the DAG's own numbers for bars that it has not seen.

Names are loaded on first use, `__init__.pyi` says from where. This is the one package that imports the others.
"""

from __future__ import annotations

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
