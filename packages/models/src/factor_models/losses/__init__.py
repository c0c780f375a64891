"""What a network is trained for: one idea a file, and a table of names. `get_loss(name, **settings)` makes a `Loss`.

Every term is computed on the cross-section of a date; NaN targets are masked, weights of windows are repetitions, and
splitting the dates of a batch over processes changes nothing (`cross_section`).
"""

from __future__ import annotations

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
