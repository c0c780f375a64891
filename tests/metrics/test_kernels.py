"""The kernels of the package: each goes through the cache, which can tell it by its content."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import factor_metrics
from factor_metrics import kernel_cache

SOURCE = Path(factor_metrics.__file__).parent


def test_every_kernel_of_the_package_can_be_kept() -> None:
    kernels = {
        kernel_cache._full_name(value): kernel_cache._digest(value)
        for module in pkgutil.walk_packages(factor_metrics.__path__, "factor_metrics.")
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(getattr(value, "_cache", None), kernel_cache._KernelCache)
    }
    assert len(set(kernels.values())) == len(kernels)
    sources = "".join(path.read_text() for path in SOURCE.rglob("*.py") if path.name != "kernel_cache.py")
    assert sources.count("@kernel(") == len(kernels) > 20
    assert "njit" not in sources
