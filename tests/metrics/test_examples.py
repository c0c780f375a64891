"""Every example in a docstring of factor_metrics gives what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import factor_metrics

MODULES = [
    module.name for module in pkgutil.walk_packages(factor_metrics.__path__, "factor_metrics.") if not module.ispkg
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
