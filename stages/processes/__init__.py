"""Processes that train: how they are started, watched and reported on. Nothing here decides a number."""
