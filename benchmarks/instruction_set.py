"""On what a benchmark ran: the CPU, its widest instruction set, and variables that ask libraries for less."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

WIDEST_FIRST = (
    ("amx_tile", "AMX"),
    ("avx512f", "AVX-512"),
    ("avx2", "AVX2"),
    ("avx", "AVX"),
    ("sse4_2", "SSE4.2"),
)
LIMITS = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
    "OPENBLAS_CORETYPE",
)


def describe_instruction_set() -> str:
    """One line; what torch chose is in it where torch is loaded."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    model, flags = (re.search(rf"^{key}\s*: (.*)$", text, re.MULTILINE) for key in ("model name", "flags"))
    name = model[1] if model else platform.processor() or platform.machine()
    usable = set(flags[1].split()) if flags else set()
    told = [", ".join(label for flag, label in WIDEST_FIRST if flag in usable) or "instruction set unknown"]
    if (torch := sys.modules.get("torch")) is not None:
        told.append(f"torch uses {torch.backends.cpu.get_cpu_capability()}")
    told += [f"{limit}={os.environ[limit]}" for limit in LIMITS if limit in os.environ]
    return f"{name}: {'; '.join(told)}"


def print_instruction_set() -> None:
    print(f"CPU: {describe_instruction_set()}\n", flush=True)
