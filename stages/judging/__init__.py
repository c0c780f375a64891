"""Forecasts judged: numbers only. What is drawn of them is `stages.drawing`."""
