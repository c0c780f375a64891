"""Windows: for each sample the last bars of its symbol, gathered straight from the feature matrix, in batches."""

from __future__ import annotations

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
