"""The K-line foundation model: tokenizer, predictor, generation; compatible with the published Kronos models."""

from __future__ import annotations

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
