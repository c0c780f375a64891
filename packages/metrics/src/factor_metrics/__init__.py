"""Metrics of cross-sectional forecasts: arrays (num_dates, num_symbols) in, numbers and a report out.

The public names stand in `__init__.pyi`, one a line. A name is loaded where it is first used, with the modules
that it needs and no other: `import factor_metrics` loads none of them.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
