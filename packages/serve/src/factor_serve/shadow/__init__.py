"""Forecasts in the shadow: logged as they are made, judged when what they foretold is known."""
