"""Models of the cross-section of returns, their training through DeepSpeed ZeRO, and stacking.

Names are loaded on first use, `__init__.pyi` says from where: what imports one loads its module, and depends on it, but
on no other model, loss or part of the package.
"""

from __future__ import annotations

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
