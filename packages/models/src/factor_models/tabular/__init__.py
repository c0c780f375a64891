"""Models of the last bar alone: fitted in one call on a table of features, no gradient, no DeepSpeed."""

from __future__ import annotations

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
