"""scikit-learn's face of the zoo: `FactorRegressor` and `FactorClassifier` over any model of the table."""

from __future__ import annotations

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
