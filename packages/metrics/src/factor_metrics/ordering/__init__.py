"""The symbols of a date in order: average ranks, and the quantiles that are formed from them."""
