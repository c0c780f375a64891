"""Compiled kernels are found by what they run: an edit anywhere below them counts, where they lie does not."""

from __future__ import annotations

import cProfile
import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numba
import pytest
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import FunctionCache

import factor_data
from factor_data import kernel_cache
from warm import path_of_programs

SOURCE = Path(factor_data.__file__).parent

# Kernels of our own beside those of the package: they call one of another file, and read a constant of a module.
GUARDS = "EPSILON = 1e-12\n"
EXTRA = """
from factor_data.features import guards
from factor_data.features.guards import EPSILON
from factor_data.features.ratios import over
from factor_data.kernel_cache import kernel

@kernel(nogil=True)
def over_and_guard(values, divisor, result):
    over(values, divisor, 1.0, result)
    result[0] = guards.EPSILON

@kernel(nogil=True)
def guarded(values, result):
    for row in range(len(values)):
        result[row] = values[row] / (values[row] + EPSILON)
"""

# Four kernels, each with what it calls or reads in another file.
COMPUTE = """
import json
import numpy as np
from factor_data.features import alpha158_kernels as a158, extra
from factor_data.fit import tokens

rng = np.random.default_rng(0)
prices = 10.0 + rng.random(a158.PAD + 3)
made = {}
codes = np.zeros(4, np.uint8)
tokens._tokens_of(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0]), codes)
made["tokens"] = codes
block = np.zeros((15, 3), np.float32)
a158._gains_and_losses(prices, block)
made["gains"] = block
shares = np.zeros(2, np.float32)
extra.over_and_guard(np.ones(2), np.ones(2), shares)
made["over"] = shares
guarded = np.zeros(1)
extra.guarded(np.full(1, 2.0), guarded)
made["guarded"] = guarded
kernels = tokens._tokens_of, a158._gains_and_losses, extra.over_and_guard, extra.guarded
hits = [sum(kernel.stats.cache_hits.values()) for kernel in kernels]
print(json.dumps({"hits": hits, **{name: values.tolist() for name, values in made.items()}}))
"""

# File, text, other text: in what the kernels above call or read, never in their own files.
EDITS = [
    ("fit/quantiles.py", "edges[first + half - 1] <= value", "edges[first + half - 1] < value"),
    ("features/nested.py", "result[i] = newer[i] + older[i]\n", "result[i] = newer[i] + 2.0 * older[i]\n"),
    ("features/ratios.py", "factor * values[i] / divisor[i]", "1000.0 * factor * values[i] / divisor[i]"),
    ("features/guards.py", "EPSILON = 1e-12", "EPSILON = 0.5"),
]
HARMLESS = [
    ("fit/quantiles.py", '@kernel(nogil=True)\n', '# A remark.\n\n\n@kernel(nogil=True)\n'),
    ("features/ratios.py", '"""factor * values / divisor."""', '"""Said otherwise."""  # and here'),
]  # fmt: skip


def start(tree: Path, cache: Path, program: Path, *arguments: str, **variables: str) -> subprocess.Popen:
    """Run a program with the package as it stands in `tree`; libraries alone are loaded already, where they can be."""
    environment = {**os.environ, "PATH": path_of_programs(), "PYTHONPATH": str(tree)}
    return subprocess.Popen(
        ["python", str(program), *arguments], env=environment | {kernel_cache.VARIABLE: str(cache), **variables},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tree,
    )  # fmt: skip


def result(process: subprocess.Popen) -> tuple[dict[str, Any], str]:
    """What it computed, and what it said beside."""
    out, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return json.loads(out), said


def written(folder: Path, code: str) -> Path:
    program = folder / "program.py"
    program.write_text(code)
    return program


def copy_sources(tree: Path) -> Path:
    shutil.copytree(SOURCE, tree / "factor_data", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "factor_data" / "features" / "extra.py").write_text(EXTRA)
    (tree / "factor_data" / "features" / "guards.py").write_text(GUARDS)
    return tree


def edit(tree: Path, edits: list[tuple[str, str, str]]) -> None:
    for file, old, new in edits:
        path = tree / "factor_data" / file
        text = path.read_text()
        assert old in text, f"{file} no longer has {old!r}"
        path.write_text(text.replace(old, new))


@pytest.mark.slow
def test_values_follow_the_code_and_copies_share_what_was_compiled(tmp_path: Path) -> None:
    cache, tree, program = tmp_path / "cache", copy_sources(tmp_path / "one"), written(tmp_path, COMPUTE)
    both = [start(tree, cache, program), start(tree, cache, program)]  # at once, on an empty cache
    (first, said), (other, said_too) = (result(one) for one in both)
    assert {**other, "hits": None} == {**first, "hits": None}, "either may find what the other has compiled already"
    for one in (said, said_too):
        assert one.count("compiling kernels for this machine, once") <= 1
    assert "compiling kernels for this machine, once" in said + said_too
    assert not list(tree.rglob("*.nb[ic]")), "nothing is kept in the checkout"

    edit(tree, HARMLESS)
    again, said = result(start(tree, cache, program))
    assert again == {**first, "hits": [1, 1, 1, 1]}
    assert "compiling" not in said

    edit(tree, EDITS)
    changed, _ = result(start(tree, cache, program))
    assert changed["hits"] == [0, 0, 0, 0]
    assert (first["tokens"], changed["tokens"]) == ([1, 2, 3, 3], [1, 1, 2, 3])
    assert changed["gains"] != first["gains"]
    assert (first["over"], changed["over"]) == ([pytest.approx(1e-12), 1.0], [0.5, 1000.0])
    assert (first["guarded"], changed["guarded"]) == ([pytest.approx(1.0)], [pytest.approx(2.0 / 2.5)])

    edit(tree, [(file, new, old) for file, old, new in EDITS])
    undone, _ = result(start(tree, cache, program))
    assert undone == again

    clone, _ = result(start(copy_sources(tmp_path / "another" / "place"), cache, program))
    assert clone == again


SMALL = """
import json, sys
import numpy as np
from factor_data.fit import quantiles
{before}
values = quantiles.shares_below(np.array([0.5, 1.0]), np.array([0.0, 1.0, 2.0]))
print(json.dumps([values.tolist(), sum(quantiles.shares_below.stats.cache_hits.values())]))
"""
SHARES = [0.25, 0.5]


NAMESAKES = """
import itertools, json, os, sys
import numpy as np
from numba.core.bytecode import FunctionIdentity
FunctionIdentity._unique_ids = itertools.count(1 + int(os.environ["SKIPPED"]))  # as numba counts, some in between
from factor_data.kernel_cache import kernel

@kernel(nogil=True)
def ordered(values):
    return np.sort(values)

@kernel(nogil=True)
def places(values):
    return np.argsort(values)

values = np.arange(60)[::-1] * 0.5
for name in sys.argv[1:]:
    expected = {"ordered": np.sort, "places": np.argsort}[name](values)
    np.testing.assert_array_equal(globals()[name](values), expected, err_msg=name)
print(json.dumps(sys.argv[1:]))
"""


def test_machine_code_of_two_processes_does_not_find_each_others_functions(tmp_path: Path) -> None:
    """Both kernels call a `run_quicksort1`, numba's for values and for places: by its count each is the seventh."""
    program, cache = written(tmp_path, NAMESAKES), tmp_path / "cache"
    for skipped, names in (("0", ["ordered"]), ("3", ["places"]), ("0", ["ordered", "places"])):
        assert result(start(SOURCE.parent, cache, program, *names, SKIPPED=skipped))[0] == names
    assert len(list(cache.rglob("*.nbc"))) == 2, "the third process compiles nothing"


def test_a_process_and_its_fork_give_functions_numbers_of_their_own() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(next(FunctionIdentity._unique_ids)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as told:
        theirs = int(told.read())
    ours = next(FunctionIdentity._unique_ids)
    assert abs(ours - theirs) > 2**20
    assert min(ours, theirs) > 2**20


def test_a_damaged_entry_is_compiled_anew(tmp_path: Path) -> None:
    code = written(tmp_path, SMALL.format(before=""))
    assert result(start(SOURCE.parent, tmp_path, code))[0] == [SHARES, 0]
    entries = list((tmp_path / "factor_data").iterdir())
    assert len(entries) == 3
    for number, entry in enumerate(entries):
        content = bytearray(entry.read_bytes())
        content[len(content) // 2] ^= 1
        entry.write_bytes(content[: len(content) - 10] if number == 0 else content)
    assert result(start(SOURCE.parent, tmp_path, code))[0] == [SHARES, 0]
    assert result(start(SOURCE.parent, tmp_path, code))[0] == [SHARES, 1]


def test_what_is_no_whole_entry_of_its_own_name_and_key_is_none(tmp_path: Path) -> None:
    entries, path, key = kernel_cache._Entries(kernel_cache.kernel()(lambda: 0)), tmp_path / "a.nbc", ("key",)
    entries._save_data(str(path), (path.name, key, "machine code"))
    whole = path.read_bytes()
    assert entries._kept(path, key) == "machine code"
    assert entries._kept(path, ("other",)) is None
    shutil.copy(path, tmp_path / "b.nbc")
    assert entries._kept(tmp_path / "b.nbc", key) is None, "of another kernel"
    flipped = [bytes([*whole[:place], whole[place] ^ 1, *whole[place + 1 :]]) for place in range(len(whole))]
    cut = [whole[:length] for length in range(len(whole))]
    for content in (*flipped, *cut, bytes(len(whole)), whole + b"\0", hashlib.sha256(b"").digest()[:31]):
        path.write_bytes(content)
        assert entries._kept(path, key) is None
    for make in (lambda: os.mkfifo(path), path.mkdir, lambda: path.symlink_to(tmp_path / "nowhere")):
        path.unlink() if path.is_fifo() or path.is_file() else path.rmdir()
        make()
        assert entries._kept(path, key) is None


FACTORS = """
import json
from factor_data.kernel_cache import kernel

@kernel(nogil=True)
def doubled(value):
    return value * 2.0

@kernel(nogil=True)
def tripled(value):
    return value * 3.0

print(json.dumps([doubled(1.0), tripled(1.0)]))
"""


def test_entries_that_were_swapped_are_not_believed(tmp_path: Path) -> None:
    """The bytecode of both kernels is the same: their constants differ, which numba's key does not know."""
    program = written(tmp_path, FACTORS)
    assert result(start(SOURCE.parent, tmp_path, program))[0] == [2.0, 3.0]
    one, other = tmp_path.rglob("*.nbc")
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert result(start(SOURCE.parent, tmp_path, program))[0] == [2.0, 3.0]


def test_two_processes_compile_while_the_folder_is_deleted_again_and_again(tmp_path: Path) -> None:
    program, cache = written(tmp_path, SMALL.format(before="")), tmp_path / "cache"
    both = [start(SOURCE.parent, cache, program) for _ in range(2)]
    deadline = time.monotonic() + 240
    while any(one.poll() is None for one in both) and time.monotonic() < deadline:
        shutil.rmtree(cache, ignore_errors=True)
        time.sleep(0.05)
    for one in both:
        assert result(one)[0][0] == SHARES


def test_of_processes_that_need_a_kernel_at_once_one_compiles_it(tmp_path: Path) -> None:
    code, folder = written(tmp_path, SMALL.format(before="")), tmp_path / "factor_data"
    assert result(start(SOURCE.parent, tmp_path, code))[0] == [SHARES, 0]
    made = {path: path.read_bytes() for path in folder.iterdir()}
    with ExitStack() as held:
        for path in made:
            path.unlink()
            fcntl.lockf(held.enter_context(path.with_suffix(".compiling").open("wb")), fcntl.LOCK_EX)
        other = start(SOURCE.parent, tmp_path, code)
        assert other.stderr is not None
        assert "compiling kernels" in other.stderr.readline()
        for path, content in made.items():
            path.write_bytes(content)
        assert other.poll() is None
    assert result(other)[0] == [SHARES, 1]
    assert {path: path.read_bytes() for path in made} == made


def test_a_process_that_is_halted_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kernel_cache, "PATIENCE", 0.1)
    holder = (
        "import fcntl, sys\nfile = open(sys.argv[1], 'wb')\nfcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print(flush=True)\ninput()"
    )
    entries, path = kernel_cache._Entries(kernel_cache.kernel()(lambda: 0)), tmp_path / "a.nbc"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(path.with_suffix(".compiling"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        other.stdout.readline()
        assert not entries._is_held_after_waiting(path)
        entries._let_go(path)
        assert path.with_suffix(".compiling").exists(), "it is the other's"
        other.kill()
    assert entries._is_held_after_waiting(path)
    entries._let_go(path)
    assert not path.with_suffix(".compiling").exists()


def test_a_file_that_its_holder_has_deleted_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.compiling"
    with path.open("wb") as held:
        os.mkfifo(tmp_path / "pipe.compiling")
        for place in (tmp_path / "pipe.compiling", path):
            file = kernel_cache._locked(place, time.monotonic() + 1.0)
            assert file is not None
            file.close()
        file = kernel_cache._locked(path, time.monotonic() + 1.0)
        path.unlink()
        assert file is not None
        again = kernel_cache._locked(path, time.monotonic() + 1.0)
        assert again is not None
        assert os.fstat(again.fileno()).st_ino != os.fstat(held.fileno()).st_ino
        file.close()
        again.close()


def test_a_full_disk_is_said_once_and_kernels_are_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fill(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(kernel_cache, "_folder", lambda: tmp_path)
    monkeypatch.setattr(kernel_cache._Entries, "_save_data", fill)
    kernel_cache._say_once_that_nothing_is_kept.cache_clear()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for function in (lambda: 2.0, lambda: 3.0):
            kernel_cache._Entries(kernel_cache.kernel()(function)).save(("key",), "machine code")
    assert [str(one.message) for one in said] == [
        f"{tmp_path}: compiled kernels cannot be written there (No space left on device) and are not kept"
    ]
    kernel_cache._say_once_that_nothing_is_kept.cache_clear()


def test_a_disk_that_can_only_be_read_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "none", str(first)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    monkeypatch.setattr(kernel_cache, "_places", lambda: iter([first, second]))
    try:
        with pytest.warns(UserWarning, match="Read-only file system"):
            assert kernel_cache._folder.__wrapped__() == second / "factor_data"
    finally:
        subprocess.run(["umount", str(first)], check=True)


def test_a_profiler_changes_no_digest() -> None:
    """Numba clears flags of the code of a kernel that it calls while a profiler looks on."""
    twice = kernel_cache.kernel(nogil=True)(lambda number: 2 * number)
    before = kernel_cache._digest(twice)
    profiler = cProfile.Profile()
    profiler.enable()
    assert twice(1) == 2
    profiler.disable()
    assert kernel_cache._digest(twice) == before


def test_what_was_set_anew_in_a_process_is_not_kept(tmp_path: Path) -> None:
    """A caller would be kept under the digest of a callee that is not the one it was compiled with."""
    before = """
from numba import njit
quantiles.count_below(np.array([1.0]), 1.0)
quantiles.count_below.py_func.__defaults__ = (1.0,)
"""
    (made, hits), said = result(start(SOURCE.parent, tmp_path, written(tmp_path, SMALL.format(before=before))))
    assert (made, hits) == (SHARES, 0)
    assert "count_below changed after it was compiled in this process; not kept on disk" in said
    assert not list((tmp_path / "factor_data").glob("*shares_below*"))


def test_a_folder_that_cannot_be_written_is_named_once_and_another_taken(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tree, code = copy_sources(tmp_path / "one"), written(tmp_path, SMALL.format(before=""))
    numbas = {"NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    (made, _), said = result(start(tree, tmp_path / "file" / "cache", code, **numbas))
    assert made == SHARES
    assert said.count("cannot be written") == 1
    assert f"compiled kernels are kept in {tmp_path / 'numba' / 'factor_data'}" in said
    assert result(start(tree, tmp_path / "file" / "cache", code, **numbas))[0] == [SHARES, 1]


def test_without_any_folder_kernels_are_compiled_by_each_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(kernel_cache, "_places", lambda: iter([tmp_path / "file" / "a", tmp_path / "file"]))
    with pytest.warns(UserWarning, match=f"let {kernel_cache.VARIABLE} name a folder that can"):
        assert kernel_cache._folder.__wrapped__() is None


def test_the_default_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(kernel_cache.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert next(kernel_cache._places()) == tmp_path / "factorcast" / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")  # counts as unset, says the XDG specification
    assert next(kernel_cache._places()) == Path.home() / ".cache" / "factorcast" / "kernels"


def test_entries_that_nobody_used_for_long_are_deleted(tmp_path: Path) -> None:
    for name, days in (("old", 31), ("used", 29), ("new", 0)):
        (tmp_path / name).write_text("")
        then = time.time() - days * 86_400
        os.utime(tmp_path / name, (then, then))
    kernel_cache._delete_old.__wrapped__(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "used"]
    kernel_cache._mark_used(tmp_path / "used")
    assert (tmp_path / "used").stat().st_mtime > time.time() - 60


def test_functions_of_others_keep_numbas_cache() -> None:
    others = numba.njit(cache=True)(_twice)
    assert type(others._cache) is FunctionCache


def test_a_kernel_that_reads_what_has_no_content_is_refused_a_place() -> None:
    reads = kernel_cache.kernel()(_reads_an_object)
    with pytest.raises(kernel_cache._NotKept, match="it reads a object, which has no content to go by"):
        kernel_cache._digest(reads)


def test_every_kernel_of_the_package_can_be_kept(tmp_path: Path) -> None:
    code = """
import importlib, json, pkgutil, factor_data
from factor_data import kernel_cache
kernels = {}
for module in pkgutil.walk_packages(factor_data.__path__, "factor_data."):
    if not module.name.endswith("__main__"):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(getattr(value, "_cache", None), kernel_cache._KernelCache):
                kernels[kernel_cache._full_name(value)] = kernel_cache._digest(value)
print(json.dumps(kernels))
"""
    kernels, _ = result(start(SOURCE.parent, SOURCE / "unused", written(tmp_path, code)))
    assert len(kernels) > 60
    assert len(set(kernels.values())) == len(kernels)
    sources = "".join(path.read_text() for path in SOURCE.rglob("*.py") if path.name != "kernel_cache.py")
    assert sources.count("@kernel(") == len(kernels)
    assert "njit" not in sources


def _twice(value: float) -> float:
    return 2.0 * value


SOMETHING = object()


def _reads_an_object() -> int:
    return id(SOMETHING)
