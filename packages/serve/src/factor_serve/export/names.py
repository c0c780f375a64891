"""Names in an export: of its document, and of what graphs take and give."""

from __future__ import annotations

DOCUMENT, DOCUMENT_HASH, BUNDLE = "onnx.json", "document_sha256", "bundle"
"""The document, its key with its own hash, and the folder with what the bundle holds besides its models."""
STACK = "stack"
"""Name of the whole graph; its file is `stack.onnx`."""
INPUT, WINDOWS, OUTPUT = "inputs", "windows", "forecasts"
KNOWN, TOKENS = "known", "tokens"
"""Inputs of the stack's graph alone: which members forecast a symbol, and the windows of those that read tokens."""
