"""The panel: bars of many symbols in memory and on disk, whole or part after part."""
