"""Experiments that keep their own ledger: reads git and DVC, compares revisions, counts trials, says what survives."""

from __future__ import annotations
