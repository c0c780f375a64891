"""Folds: which dates a model is fitted on, tuned on and scored on, with the labels of each segment kept apart."""

from __future__ import annotations

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
