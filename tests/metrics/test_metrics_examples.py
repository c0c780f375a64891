"""Every example in a docstring of factor_metrics gives what it says."""

import doctest
import importlib
import pkgutil

import pytest

import factor_metrics

MODULES = [module.name for module in pkgutil.iter_modules(factor_metrics.__path__)]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("__")])
def test_the_examples_of_a_module_hold(name: str) -> None:
    module = importlib.import_module(f"factor_metrics.{name}")
    assert doctest.testmod(module).failed == 0
