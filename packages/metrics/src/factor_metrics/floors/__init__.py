"""Signals without a model that every model has to beat, and models beside them."""
