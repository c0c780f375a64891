"""Readers: whatever a folder of bars looks like, checked tables in batches come out.

`bars` and `news` are the doors, `layouts` finds out which layout a path has; one file per layout says which
files it has and what their columns mean. `raw` reads batches of Parquet and CSV, `table` and `stamps` check them.
"""
