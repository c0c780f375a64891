"""The warm-up compiles all that a first session needs, and says so; a second one finds everything."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.mark.parametrize("package", ["factor_data", "factor_metrics"])
def test_a_warm_up_leaves_nothing_to_compile(package: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In one process: what it called is there, so that a call of the same finds no kernel without machine code."""
    module = importlib.import_module(f"{package}.warm")
    assert module.main() == 0
    assert f"{package}: kernels are ready (" in capsys.readouterr().err
    kernels = [
        value
        for name, loaded in list(sys.modules.items())
        if name.startswith(f"{package}.")
        for value in vars(loaded).values()
        if type(value).__name__ == "CPUDispatcher" and value.__module__.startswith(f"{package}.")
    ]
    compiled = [kernel for kernel in kernels if kernel.signatures]
    assert len(compiled) > 0.3 * len(kernels) > 3
