"""Labels: forward returns, directions and ready-made targets; targets per date; counts of what is left out."""

from __future__ import annotations

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
