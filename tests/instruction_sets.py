"""Run tests under other instruction sets than this CPU's best.

`python tests/instruction_sets.py [SET ...] [-- FILE ...]`

Called by `make test-isa` (all sets, everything marked `numeric`) and `.ci/run` (a few files). Each library has a
variable of its own, so each is asked whether it obeyed: a variable that nothing reads would test nothing. Shown are
the counts and seconds of each set; the status is 0 if all pass and no library went on using more than it may.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np

NUMERIC = ["--dist", "loadfile", "-m", "numeric and not real_data"]
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
PROBE = """
import json, os
import numpy as np, scipy.linalg, threadpoolctl, torch
from numba import njit
@njit
def largest_square(x):
    largest = x[0]
    for i in range(len(x)):
        largest = max(largest, x[i] * x[i])
    return largest
largest_square(np.ones(9, np.float32))
code = "".join(largest_square.inspect_asm().values())
widths = [name for name in ("zmm", "ymm", "xmm") if name in code]
add = np.lib.introspect.opt_func_info(func_name="^exp$", signature="float32")["exp"]["ff"]["current"]
a = torch.ones(64, 64)
torch.nn.functional.conv2d(torch.ones(4, 16, 64, 64), torch.ones(16, 16, 3, 3))
a @ a
blas = {one["architecture"] for one in threadpoolctl.threadpool_info() if one["internal_api"] == "openblas"}
print("FOUND", json.dumps({
    "ATEN_CPU_CAPABILITY": torch.backends.cpu.get_cpu_capability(),
    "NPY_DISABLE_CPU_FEATURES": add,
    "NUMBA_CPU_NAME": widths[0],
    "OPENBLAS_CORETYPE": " ".join(sorted(blas)),
}))
"""


def numpy_features(kept: tuple[str, ...]) -> str:
    """What numpy could use on this CPU beyond its baseline and `kept`; their names depend on its version."""
    umath = np._core._multiarray_umath
    usable = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__.get(name)]
    return " ".join(name for name in usable if name not in kept)


@dataclass(frozen=True)
class InstructionSet:
    """A name and the variables that ask for it."""

    name: str
    variables: dict[str, str]


SETS = (
    InstructionSet("native", {}),
    InstructionSet(
        "avx2",
        {
            "ATEN_CPU_CAPABILITY": "avx2",
            "DNNL_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "NPY_DISABLE_CPU_FEATURES": numpy_features(("X86_V3", "AVX2", "FMA3")),
            "NUMBA_CPU_NAME": "haswell",
            "NUMBA_CPU_FEATURES": "",  # without it numba adds what this CPU has
            "OPENBLAS_CORETYPE": "Haswell",
        },
    ),
    InstructionSet(
        "sse4",
        {
            "ATEN_CPU_CAPABILITY": "default",
            "DNNL_MAX_CPU_ISA": "SSE41",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
            "NPY_DISABLE_CPU_FEATURES": numpy_features(()),
            "NUMBA_CPU_NAME": "generic",
            "OPENBLAS_CORETYPE": "Nehalem",
        },
    ),
)
LOWERED = {  # what a library says of itself once it has obeyed
    "avx2": {"ATEN_CPU_CAPABILITY": "AVX2", "OPENBLAS_CORETYPE": "Haswell", "DNNL_MAX_CPU_ISA": "Intel AVX2"},
    "sse4": {"ATEN_CPU_CAPABILITY": "DEFAULT", "OPENBLAS_CORETYPE": "Nehalem", "NUMBA_CPU_NAME": "xmm",
             "DNNL_MAX_CPU_ISA": "Intel SSE4.1"},
}  # fmt: skip


def environment(chosen: InstructionSet) -> dict[str, str]:
    """Return the variables of this process, those of the other sets left out, with those of the set."""
    ours = {name for one in SETS for name in one.variables}
    return {name: value for name, value in os.environ.items() if name not in ours} | chosen.variables


def found(chosen: InstructionSet) -> dict[str, str]:
    """What each library says that it uses."""
    verbose = {"ONEDNN_VERBOSE": "1", "MKL_VERBOSE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env=environment(chosen) | verbose,
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(one for one in done.stdout.splitlines() if one.startswith("FOUND "))
    dnnl = re.search(r"cpu,isa:(.*)", done.stdout)
    mkl = re.search(r"MKL_VERBOSE oneMKL.*?\((Intel\(R\) [^)]*)\)", done.stdout)
    return json.loads(line.removeprefix("FOUND ")) | {
        "DNNL_MAX_CPU_ISA": dnnl[1].strip() if dnnl else "not used",
        "MKL_ENABLE_INSTRUCTIONS": mkl[1].replace("Intel(R) ", "") if mkl else "not used",
    }


def describe_cpu() -> str:
    """Model name and the flags that matter."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123  (a file of the kernel, Linux only)
        text = lines.read()
    name = re.search(r"model name\s*: (.*)", text)
    flags = re.search(r"flags\s*: (.*)", text)
    told = [one for one in (flags[1].split() if flags else []) if re.match(r"sse4|avx|fma|amx", one)]
    return f"{name[1] if name else 'unknown CPU'} ({' '.join(told)})"


def run(chosen: InstructionSet, arguments: list[str]) -> tuple[bool, str]:
    """Whether the tests passed, and the summary of pytest with the seconds."""
    started = time.monotonic()
    done = subprocess.run([*PYTEST, *arguments, "-rN"], env=environment(chosen), check=False, text=True,
                          stdout=subprocess.PIPE)  # fmt: skip
    if done.returncode:
        print(done.stdout)
    counts = re.findall(r"\d+ (?:passed|failed|errors?|skipped|xfailed|deselected)", done.stdout)
    return done.returncode == 0, f"{', '.join(counts)} in {time.monotonic() - started:.0f} s"


def main() -> None:
    given = sys.argv[1:]
    place = given.index("--") if "--" in given else len(given)
    names, arguments = given[:place], given[place + 1 :]
    if unknown := sorted(set(names) - {one.name for one in SETS}):
        sys.exit(f"no instruction set {unknown[0]!r}: known are {', '.join(one.name for one in SETS)}")
    chosen = [one for one in SETS if not names or one.name in names]
    print(describe_cpu())
    native, good = found(SETS[0]), True
    print(f"native: {native}", flush=True)
    for one in chosen:
        uses = found(one)
        for variable in native if one.variables else ():
            wanted = LOWERED[one.name].get(variable)
            obeyed = wanted is None or wanted == uses[variable]
            state = "unchanged" if native[variable] == uses[variable] else f"was {native[variable]}"
            print(f"  {variable}={one.variables[variable]}: {uses[variable]} ({state})")
            if not obeyed:
                print(f"  {variable} has no effect: {wanted} was asked for")
            good &= obeyed
        passed, told = run(one, ["-v", "-q", "-n", "2", *(arguments or NUMERIC)])
        print(f"{one.name}: {told}", flush=True)
        good &= passed
    sys.exit(not good)


if __name__ == "__main__":
    main()
