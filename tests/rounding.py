"""What rounding may do to results that are equal on paper: bounds that hold on every CPU, and why.

A sum of n products in a type of unit eps is off by at most n eps times the sum of their magnitudes. Its order depends
on the CPU's instruction set, on a row's place in a matrix and on the alignment of buffers.
"""

from __future__ import annotations

ROUNDING_FLOAT64 = 1e-12
"""Bound of networks in float64: outputs of order 1 from sums of up to 100 products, one behind the other some
45 times in layers and days: 100 * 2.2e-16 * 45 = 1e-12. A leak is a multiple of an input: a billionth of it stands
out."""

ROUNDING_FLOAT32 = 1e-5
"""Bound of forecasts that a stage makes in float32: sums of up to 100 products, 100 * 1.2e-7 = 1.2e-5 if all roundings
have one sign. 3e-8 to 9e-8 have been seen. A leak is a share of a return or of a feature of order 1."""
