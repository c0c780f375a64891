"""The stages of the DAG: each reads its parameters, calls the packages, chooses paths and logs.

Importing this package puts the packages of *this* copy of the repository first on the import path. Queued
and temporary experiments run in another directory: without this they would import the editable installs of
the main checkout, and the code that ran would not be the code that was recorded.

It also lets waiting OpenMP threads sleep after a short spin, which must be said before torch and LightGBM are
imported: when two experiments share the cores, threads that spin for long make both many times slower, and threads
that sleep at once make one alone a quarter slower. And it asks cuBLAS for the workspace with which its products are
the same run to run. It notes who started the process, before imports that take seconds; while these last, Ctrl-C ends
a command (`python -m stages...`) without a traceback. And it keeps Python's search for garbage from going through the
hundred thousands of objects that libraries are made of, again and again while they are imported and once more at the
end: a third of what a short stage takes.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# GNU's OpenMP takes this in the place of the policy: tens of microseconds.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

gc.set_threshold(100_000, 10, 10)
atexit.register(gc.freeze)

ROOT = Path(__file__).resolve().parents[1]
PARENT = os.getppid()
"""The process that started this one: another one's child by the time it is asked for, if that one has ended."""

if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # being imported for `-m`
    signal.signal(signal.SIGINT, signal.SIG_DFL)

sys.path[:0] = [str(path) for path in sorted(ROOT.glob("packages/*/src"))]
