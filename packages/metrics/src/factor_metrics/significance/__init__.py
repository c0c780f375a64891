"""Is it different from zero, and is the best of many looks? Intervals, t-statistics, corrections."""
