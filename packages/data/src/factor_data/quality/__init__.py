"""The quality report: what each cleaning rule found and did, as data, as a page, and merged from parts."""

from __future__ import annotations

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
