"""Factors that a language model reads out of news, over an OpenAI-compatible endpoint given by its address."""

from __future__ import annotations

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
