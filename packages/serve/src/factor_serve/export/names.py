"""Names in an export: of its document, and of what graphs take and give."""

from __future__ import annotations

DOCUMENT, DOCUMENT_HASH, BUNDLE = "onnx.json", "document_sha256", "bundle"
"""The document, its key with its own hash, and the folder with what the bundle holds besides its models."""
STACK = "stack"
"""Name of the whole graph; its file is `stack.onnx`."""
INPUT, WINDOWS, OUTPUT = "inputs", "windows", "forecasts"
KNOWN, TOKENS = "known", "tokens"
"""Inputs of the stack's graph alone: which members forecast a symbol, and the windows of those that read tokens."""
BARS, STAMPS, AHEAD, UNIFORM = "bars", "stamps", "stamps_ahead", "uniform"
"""Inputs of a K-line model: its windows as they are, the numbers of their stamps and of those ahead, and the draws."""
DRAWN = "drawn"
"""The tokens of its paths, which its graph gives too."""
