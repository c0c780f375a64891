"""The report of a run: plain data in, one self-contained HTML page out; a terminal table and a picture.

The public names stand in `__init__.pyi`; each is loaded where it is first used.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
