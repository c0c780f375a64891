"""Compiled kernels on disk, found by what they are made of: edited code never meets old machine code.

`numba.njit(cache=True)` looks at the file of a kernel alone: when a kernel of another file that it calls changes, the
old machine code goes on being used, and it keeps the code beside the sources, so that every checkout compiles anew.
Here an entry is found by a digest of all that the kernel runs: its bytecode and options, the constants it reads, and
the same of each kernel that it calls, however deep, all taken from the functions in memory, not from files. Comments,
docstrings and formatting are no part of it. Checkouts with the same kernels share entries; an edit, an undo or another
revision each finds its own.

Machine code refers to what it calls by name, and numba tells functions of one name apart by a number that every
process counts from 1: entries of two processes would find each other's functions, `np.argsort` that of `np.sort`. So
each process counts from a random number.

The folder is `FACTORCAST_KERNEL_CACHE`, by default `factorcast/kernels` in the user's cache folder
(`XDG_CACHE_HOME`, `~/.cache`). Where it cannot be written, numba's own places are tried in numba's order: its
`NUMBA_CACHE_DIR`, `__pycache__`, its folder of the user. Of processes that need a kernel at once one compiles it, and
the others wait. An entry that was not used for 30 days is deleted. Numba loads entries with pickle: the folder must
belong to somebody whom you trust.

This file lies in more than one package, the same to the byte (a test compares them), since packages do not import
each other. Only functions under `kernel` are affected.
"""

from __future__ import annotations

import contextlib
import dis
import fcntl
import hashlib
import inspect
import itertools
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import BuiltinFunctionType, CodeType, EllipsisType, FunctionType, ModuleType
from typing import IO, Any

import numba
import numpy as np
from numba.core import config
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile
from numba.core.dispatcher import Dispatcher
from numba.core.types import Type
from numba.misc.appdirs import AppDirs

VARIABLE = "FACTORCAST_KERNEL_CACHE"
DAYS_KEPT = 30
FORMAT = 3
"""Format of entries; the first one named called functions by numbers that other processes give to others, and the
second one did not say of which kernel it is."""
PACKAGE = __name__.partition(".")[0]
PATIENCE = 60.0
"""Seconds to wait for the machine code of another process, which may have been halted; then this one compiles too."""
SIGNATURE = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
"""Those flags of code that numba reads; it clears others where a profiler looks on."""
PLAIN = (bool, int, float, complex, str, bytes, slice, EllipsisType, np.dtype, Type)  # their repr says all
# What else decides the machine code; the signature and the CPU are in numba's own key.
FLAGS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX")


def _count_from_a_random_number() -> None:
    """Name what this process compiles as no other process does."""
    FunctionIdentity._unique_ids = itertools.count(int.from_bytes(os.urandom(7), "big"))


_count_from_a_random_number()
os.register_at_fork(after_in_child=_count_from_a_random_number)


def kernel(**options: Any) -> Callable[[Callable], Any]:
    """Compile a function by `numba.njit(**options)` when it is called, and keep the machine code on disk.

    Kernels must get at each other and at their constants by name (`from module import name`, or as a module's
    attribute); a kernel that reads something that cannot be told by content is compiled by every process, with a
    warning.
    """

    def decorate(function: Callable) -> Any:
        compiled: Any = numba.njit(**options)(function)
        if hasattr(compiled, "_cache"):  # it is the function itself under NUMBA_DISABLE_JIT
            compiled._cache = _KernelCache(compiled)
        return compiled

    return decorate


class _NotKept(Exception):
    """Why the machine code of a kernel cannot be kept."""


class _KernelCache(FunctionCache):
    """What numba asks for the machine code of one kernel."""

    def __init__(self, dispatcher: Any) -> None:
        self._py_func, self._name = dispatcher.py_func, repr(dispatcher.py_func)
        self._impl = _Implementation(dispatcher.py_func)
        self._cache_file = _Entries(dispatcher)
        self.own: tuple[str, tuple[int, ...]] | None = None  # what was compiled, once it was
        self.enable()

    @property
    def cache_path(self) -> str:
        return str(_folder() or "")


class _Implementation(CompileResultCacheImpl):
    """Turns machine code into bytes as numba does; it has no place of its own."""

    def __init__(self, function: FunctionType) -> None:
        self._lineno = function.__code__.co_firstlineno
        self._locator = _NoPlace(function.__code__.co_filename)


class _NoPlace:
    def __init__(self, file: str) -> None:
        self._py_file = file

    def ensure_cache_path(self) -> None:
        """Nothing: `_folder` has made sure."""


class _Entries(IndexDataCacheFile):
    """The files of one kernel: one per digest, signature and CPU, written whole, so that no index is needed.

    Whoever finds no entry holds a file beside its place until it has compiled; whoever does not get that file looks
    again. A file says by its own name whose it is, numba's key being the same for kernels that differ by what they
    call alone, and ends with the SHA-256 of what it holds; what is anything else counts as absent.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._held: dict[Path, IO[bytes]] = {}

    def load(self, key: tuple) -> Any:
        """Return what was kept under numba's key (signature, CPU, bytecode), None: it must be compiled."""
        try:
            digest = _digest(self._dispatcher)
        except _NotKept as reason:
            warnings.warn(f"{_full_name(self._dispatcher)}: {reason}; not kept on disk", stacklevel=2)
            return None
        folder = _folder()
        if folder is None:
            _say_once(folder)
            return None
        path = folder / self._file_name(digest, key)
        kept = self._kept(path, key)
        if kept is None:
            _say_once(folder)
            if self._is_held_after_waiting(path):
                kept = self._kept(path, key)
        if kept is not None:
            self._let_go(path)
        return kept

    def _kept(self, path: Path, key: tuple) -> Any:
        """Return what a whole file holds, None: there is none."""
        with contextlib.suppress(OSError):
            content = path.read_bytes() if path.is_file() else b""  # a pipe would be waited on
            if hashlib.sha256(content[:-32]).digest() == content[-32:]:
                _mark_used(path)
                name, stored, data = self._load_data(str(path))
                if (name, stored) == (path.name, key):
                    return data
        return None

    def _is_held_after_waiting(self, path: Path) -> bool:
        """Wait until no other process compiles this entry, and hold it for this one; False: another still does.

        What is held is the process's: two of its threads do not wait for each other, and its end lets go.
        """
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(OSError):  # then the entry cannot be written either
            while path not in self._held and time.monotonic() < deadline:  # to close it a second time would let go
                if file := _locked(path.with_suffix(".compiling"), deadline):
                    self._held[path] = file
        return path in self._held

    def _let_go(self, path: Path) -> None:
        """The next process that needs the entry finds it; a file that another process holds is not touched."""
        if file := self._held.pop(path, None):
            with contextlib.suppress(OSError):
                path.with_suffix(".compiling").unlink(missing_ok=True)
            file.close()

    def save(self, key: tuple, data: Any) -> None:
        """Keep what was compiled; a full disk is no reason to fail."""
        folder = _folder()
        try:
            digest = _digest(self._dispatcher)
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)  # somebody may have deleted it since
                _delete_old(folder)
                name = self._file_name(digest, key)
                self._save_data(str(folder / name), (name, key, data))
        except _NotKept:
            return
        except OSError as error:
            _say_once_that_nothing_is_kept(folder, error.strerror)
        finally:
            for path in list(self._held):
                self._let_go(path)

    def flush(self) -> None:
        """Nothing to forget: there is no index."""

    def _file_name(self, digest: str, key: tuple) -> str:
        named = hashlib.sha256(f"{digest}{key!r}".encode()).hexdigest()
        return f"{_full_name(self._dispatcher)}-{named[:40]}.nbc"

    def _data_path(self, name: str) -> str:
        return name

    def _dump(self, obj: Any) -> bytes:
        content = super()._dump(obj)
        return content + hashlib.sha256(content).digest()


def _locked(path: Path, deadline: float) -> IO[bytes] | None:
    """Return a file that this process holds, which is there by its name; None: it is not, or was not got in time."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666), "wb")  # a pipe would be waited on
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink:  # who held it before has deleted it, and others hold a new one
                return file
            break
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    file.close()
    return None


def _full_name(dispatcher: Dispatcher) -> str:
    function = dispatcher.py_func
    return f"{function.__module__}.{function.__qualname__}".replace("<", "").replace(">", "")


def _digest(dispatcher: Any) -> str:
    """Return the SHA-256 of all that a kernel runs; _NotKept where that cannot be told."""
    kernels, place = [dispatcher], {id(dispatcher): 0}
    rows: list[tuple] = []
    for one in kernels:  # grows on the way
        called: list[Any] = []
        text = repr([_full_name(one), sorted(one.targetoptions.items()), *_described(one.py_func, called)])
        for other in called:
            if id(other) not in place:
                place[id(other)] = len(kernels)
                kernels.append(other)
        rows.append((text, [place[id(other)] for other in called]))
        _check_unchanged(one, (text, tuple(id(other) for other in called)), is_asked=one is dispatcher)
    return hashlib.sha256(repr([_surroundings(), rows]).encode()).hexdigest()


def _check_unchanged(one: Any, own: tuple[str, tuple[int, ...]], is_asked: bool) -> None:
    """Numba freezes constants when it compiles: if one is set anew later, machine code and digest would differ."""
    cache = one._cache
    if not isinstance(cache, _KernelCache):
        return
    if cache.own not in (None, own):
        raise _NotKept(f"{_full_name(one)} changed after it was compiled in this process")
    if is_asked:
        cache.own = own


@lru_cache(maxsize=1)
def _surroundings() -> list:
    versions = (numba.__version__, sys.modules["llvmlite"].__version__, np.__version__, sys.version_info[:3])
    return [FORMAT, *versions, *((name, getattr(config, name, None)) for name in FLAGS)]


def _described(function: FunctionType, called: list[Any]) -> Iterator[Any]:
    """Say what a function runs, apart from the kernels that it calls, which are added to `called`."""
    yield [_describe(value, called) for value in (function.__defaults__, function.__kwdefaults__)]
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    yield [_describe(value, called) for value in cells]
    for code in _codes(function.__code__):
        numbers = (code.co_flags & SIGNATURE, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        yield code.co_code, code.co_exceptiontable, numbers, names
        for value in code.co_consts:
            is_docstring = value == function.__doc__ and code is function.__code__ and isinstance(value, str)
            yield None if is_docstring or isinstance(value, CodeType) else _describe(value, called)
        for name in _global_names(code):
            if name in function.__globals__:
                value = function.__globals__[name]
                yield name, _describe(value, called)
                if isinstance(value, ModuleType) and _is_ours(value.__name__, function):
                    for attribute in sorted(set(code.co_names) & vars(value).keys()):
                        yield attribute, _describe(vars(value)[attribute], called)


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a function, then that of the functions inside it."""
    yield code
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _codes(value)


def _global_names(code: CodeType) -> list[str]:
    read = (step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    return sorted(set(read))


def _is_ours(module: str, function: FunctionType) -> bool:
    return module.partition(".")[0] == function.__module__.partition(".")[0]


def _describe(value: Any, called: list[Any]) -> Any:
    if isinstance(value, Dispatcher):
        called.append(value)
        return "kernel"
    if value is None or isinstance(value, PLAIN):
        return type(value).__name__, repr(value)
    if isinstance(value, (tuple, list)):
        return type(value).__name__, [_describe(item, called) for item in value]
    if isinstance(value, frozenset):
        return "frozenset", sorted(repr(_describe(item, called)) for item in value)
    if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
        return "array", value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest()
    if isinstance(value, ModuleType):
        return "module", value.__name__
    if isinstance(value, (type, BuiltinFunctionType, np.ufunc)):
        return "name", getattr(value, "__module__", ""), value.__name__
    raise _NotKept(f"it reads a {type(value).__name__}, which has no content to go by")


@lru_cache(maxsize=1)
def _folder() -> Path | None:
    """Return the folder of this package's kernels, the first that can be written; None: there is none."""
    first, reason = None, ""
    for place in _places():
        folder = place / PACKAGE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            first, reason = first or folder, reason or str(error)
            continue
        if first is not None:
            warnings.warn(f"{first} cannot be written ({reason}): compiled kernels are kept in {folder}", stacklevel=2)
        return folder
    warnings.warn(
        f"{first} cannot be written ({reason}): every process compiles its kernels anew; "
        f"let {VARIABLE} name a folder that can",
        stacklevel=2,
    )
    return None


def _places() -> Iterator[Path]:
    if own := os.environ.get(VARIABLE):
        yield Path(own).expanduser().absolute()
    else:
        user = Path(os.environ.get("XDG_CACHE_HOME", ""))
        home = user if user.is_absolute() else Path(os.path.expanduser("~")) / ".cache"  # noqa: PTH111
        if home.is_absolute():
            yield home / "factorcast" / "kernels"
    if numbas := getattr(config, "CACHE_DIR", ""):
        yield Path(numbas).absolute()
    yield Path(__file__).parent / "__pycache__" / "kernels"
    yield Path(AppDirs(appname="numba", appauthor=False).user_cache_dir).absolute() / "kernels"


@lru_cache(maxsize=1)
def _say_once(folder: Path | None) -> None:
    where = f"kept in {folder}" if folder else "not kept"
    advice = f"; python -m {PACKAGE}.warm does all at once" if not sys.argv[0].endswith("warm.py") else ""
    print(f"{PACKAGE}: compiling kernels for this machine, once ({where}){advice} ...", file=sys.stderr, flush=True)


@lru_cache(maxsize=1)
def _say_once_that_nothing_is_kept(folder: Path | None, why: str | None) -> None:
    warnings.warn(f"{folder}: compiled kernels cannot be written there ({why}) and are not kept", stacklevel=2)


def _mark_used(path: Path) -> None:
    """Set the time of an entry, which `_delete_old` goes by, at most once a day."""
    if path.stat().st_mtime < time.time() - 86_400:
        with contextlib.suppress(OSError):
            os.utime(path)


@lru_cache(maxsize=1)
def _delete_old(folder: Path) -> None:
    """Delete what was not used for `DAYS_KEPT` days, once in a process that compiles."""
    oldest = time.time() - DAYS_KEPT * 86_400
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may have deleted it
            if path.stat().st_mtime < oldest:
                path.unlink()
