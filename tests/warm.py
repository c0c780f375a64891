"""Processes that are forked from one that has imported the libraries, for tests that start many.

A stage imports torch, DeepSpeed, numba and pandas for seconds and then works for one. `python warm.py FOLDER` imports
them once, and nothing of the project, for programs in the folder that hand their command to it (`warm_client.py`).
What runs is a fork, which loads the project from the copy it stands in, and whose program lives, is asked to stop, is
killed and ends as it does. It differs from a process that a user starts in four ways: sets have the same order in all,
DVC reads and writes its lock by libyaml (`warm_lock.py`), nothing waits for disks, and what libraries read from the
environment as they are imported was read before, so that a command with other such variables is started as users start
it. So is what tests start with `cold`.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import inspect
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, Never

import psutil

LIBRARIES = (
    "setuptools",  # before any that loads distutils, of which it brings its own
    "numpy", "numba", "pandas", "pyarrow.dataset", "pyarrow.parquet", "scipy.optimize", "scipy.sparse.csgraph",
    "scipy.stats", "sklearn.linear_model", "statsmodels.api", "lightgbm", "xgboost",
    "torch", "torch._dynamo", "torch.distributed.run", "safetensors.torch", "deepspeed",
    "deepspeed.module_inject.auto_ep_layer", "deepspeed.ops.op_builder.all_ops",
    "pydantic", "pydantic.dataclasses", "ruamel.yaml", "rich.live", "rich.progress", "threadpoolctl",
    "dvclive.live", "dvc.cli.parser", "dvc.data_cloud", "dvc.repo.index", "dvc.repo.experiments.queue.celery",
    "dvc.repo.experiments.executor.local", "dvc.utils.strictyaml", "dulwich.porcelain", "networkx",
)  # fmt: skip
"""What stages and DVC load."""
PROGRAMS = ("python", "dvc", "torchrun", "deepspeed", "factor-data", "factor-exp", "factor-metrics", "factor-serve")
READ_AT_IMPORT = (
    "ATEN", "CUDA", "DS_", "GOMP", "KMP", "LD_", "MKL", "NPY", "NUMBA", "OMP", "OPENBLAS", "PYTHON",
    "TORCHDYNAMO", "TORCHINDUCTOR",
)  # fmt: skip
"""First letters of variables that libraries or the interpreter read once."""
SET_BY_LIBRARIES = ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR")
"""Those among them that scikit-learn and torch set when they are imported, in the process of a test as in this one."""
READ_IN_FORKS = ("OMP_NUM_THREADS", "PYTHONPATH")
"""Those that every fork reads itself."""
HAS_GPU = Path("/dev/nvidiactl").exists()
"""CUDA does not outlive a fork, nor do libraries of macOS: there every process is started as users start it."""


FOLDER = "WARM_FOLDER"
"""Variable by which the process that starts workers of pytest names the folder to them."""


def no_sync(file: object) -> None:
    """Stand for `os.fsync`: what a test has written need not outlive a failing computer, and disks take long."""


def share_with_workers() -> Path | None:
    """Let one process serve all that this one starts from now on; None where nothing can be forked."""
    if folder := warm_folder():
        os.environ[FOLDER] = str(folder)
    return folder


@cache
def warm_folder() -> Path | None:
    """A folder with `PROGRAMS` that are warm until this process ends; None where nothing can be forked.

    Libraries are imported when the first of them is called.
    """
    if FOLDER in os.environ:
        return Path(os.environ[FOLDER])
    if HAS_GPU or sys.platform != "linux":
        return None
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    client = f"#!{sys.executable} -IS\n" + Path(__file__).with_name("warm_client.py").read_text(encoding="utf-8")
    for name in PROGRAMS:
        (folder / name).write_text(client, encoding="utf-8")
        (folder / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in READ_IN_FORKS}
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
        listening.listen(64)
        server = subprocess.Popen(
            [sys.executable, __file__, str(folder), str(listening.fileno())],
            env=environment, stdin=subprocess.PIPE, pass_fds=[listening.fileno()], start_new_session=True,
        )  # fmt: skip
    assert server.stdin is not None
    atexit.register(server.stdin.close)  # which ends it, as the end of this process would
    return folder


def path_of_programs(cold: bool = False) -> str:
    """PATH with those first, unless `cold`, then with this interpreter."""
    warm = None if cold else warm_folder()
    folders = [str(folder) for folder in (warm, Path(sys.executable).parent) if folder is not None]
    return os.pathsep.join([*folders, os.environ["PATH"]])


def main() -> None:
    """Serve until the end of standard input; in a fork, run its module as `python -m` does."""
    folder, environment = Path(sys.argv[1]), dict(os.environ)
    listening = socket.socket(fileno=int(sys.argv[2]))
    if sys.stdin in select.select([listening, sys.stdin], [], [])[0]:
        shutil.rmtree(folder)
        return
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    for library in LIBRARIES:
        importlib.import_module(library)
    importlib.import_module("numba").njit(abs_of)(-1)  # it loads a fifth of itself with the first function
    inspect.stack()  # it looks up the file of every module, once; torchrun asks many times for its stack
    inspect.modulesbyfile["<frozen runpy>"] = "runpy"  # else it looks them up anew for each such frame: a second
    own = [name for name in sys.modules if name.startswith(("stages", "factor_"))]
    assert not own, f"{own} would come from another copy"
    faster_dvc = importlib.import_module("warm_lock").use_libyaml
    os.fsync = no_sync
    gc.collect()
    gc.freeze()  # so that no fork looks through, and so copies, what is there already
    for left in weakref.finalize._registry.values():  # nor takes apart when it ends
        left.atexit = False
    atexit.unregister(importlib.import_module("torch._dynamo.utils").dump_compile_times)  # a table for a log at INFO
    take_huge_pages()
    pools = importlib.import_module("threadpoolctl").ThreadpoolController()  # it looks through all that is loaded
    with listening:
        request = serve(listening, environment)
    if request is None:
        shutil.rmtree(folder)
        os._exit(0)
    if "-c" not in request["arguments"][:2]:  # a worker of pytest starts others as users do, and tests DVC itself
        sys.executable = str(folder / "python")
        faster_dvc()
    run_to_end(take_place(request, pools))


def take_huge_pages() -> None:
    """Let the kernel put memory into pages of 2 MiB: a fork, which copies their table, takes half as long.

    A kernel that cannot (before Linux 6.1) leaves them as they are.
    """
    collapse, size = 25, 1 << 21
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        place, rights, _, _, file, *_ = line.split()
        if rights == "rw-p" and file == "0":
            first, last = (int(number, 16) // size * size for number in place.split("-"))
            for address in range(first + size, last, size):
                advise(address, size, collapse)


def abs_of(number: int) -> int:
    """A function to compile."""
    return abs(number)


def take_place(request: dict[str, Any], pools: Any) -> Callable[[], object]:
    """Folder, environment, import path, parent and threads of the process that this one stands for; what it runs."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    os.getppid = psutil.Process(request["pid"]).ppid
    if threads := os.environ.get("OMP_NUM_THREADS"):
        pools.limit(limits=int(threads))
        importlib.import_module("torch").set_num_threads(int(threads))
    arguments: list[str] = request["arguments"]
    if arguments[0] == "-u":
        sys.stdout.reconfigure(write_through=True)
        del arguments[0]
    if arguments[0] == "-c":
        sys.argv, sys.path[:1] = ["-c", *arguments[2:]], [""]
        sys.modules["__main__"] = ModuleType("__main__")
        return partial(exec, arguments[1], vars(sys.modules["__main__"]))
    is_module = arguments[0] == "-m"
    sys.argv = arguments[1:] if is_module else arguments
    first = request["folder"] if is_module else str(Path(arguments[0]).resolve().parent)
    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [first, *(str(Path(folder).resolve()) for folder in own if folder)]
    if is_module:
        return partial(runpy.run_module, sys.argv[0], run_name="__main__", alter_sys=True)
    return partial(runpy.run_path, sys.argv[0], run_name="__main__")


def run_to_end(code: Callable[[], object]) -> Never:
    """End as the interpreter does, but do not take all libraries apart, which takes longer than most code here."""
    status: Any = None
    try:
        code()
    except SystemExit as ended:
        status = ended.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


def serve(listening: socket.socket, environment: dict[str, str]) -> dict[str, Any] | None:
    """Fork for each request; the fork that does the work returns with it, the server with None at the end of input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while True:
        ready, _, _ = select.select([listening, sys.stdin], [], [])
        if sys.stdin in ready:
            return None
        connection, _ = listening.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return work(connection, environment)
        connection.close()


def work(connection: socket.socket, environment: dict[str, str]) -> dict[str, Any]:
    """Fork once more: the one above passes signals on and tells the client how the other, which returns, has ended."""
    head, files, _, _ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as rest:
        request: dict[str, Any] = json.loads(rest.read(int.from_bytes(head, "big")))
    if read_at_import(request["environment"]) != read_at_import(environment):
        connection.send(b"cold")
        os._exit(0)
    worker = os.fork()
    if worker == 0:
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        connection.close()
        return request
    for file in files:
        os.close(file)
    threading.Thread(target=pass_on, args=(connection, worker), daemon=True).start()
    _, status = os.waitpid(worker, 0)
    with suppress(BrokenPipeError):  # a client that was killed hears nothing
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def pass_on(connection: socket.socket, worker: int) -> None:
    """Signals of the client; with its end that of the process that works for it."""
    with suppress(ProcessLookupError):  # it has ended by itself
        while number := connection.recv(1):
            os.kill(worker, number[0])
        os.kill(worker, signal.SIGKILL)


def read_at_import(environment: dict[str, str]) -> dict[str, str]:
    """Variables that this process has read once for all its forks."""
    return {
        name: value
        for name, value in ({"DS_ACCELERATOR": "cpu"} | environment).items()
        if name.startswith(READ_AT_IMPORT) and name not in (*READ_IN_FORKS, *SET_BY_LIBRARIES)
    }


if __name__ == "__main__":
    main()
