"""Shared by the tests: one finished run of the DAG for all workers, copies of it, and where the real data lie."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.assertion import rewrite
from filelock import FileLock

from checkout import Checkout, make_checkout
from stages import ROOT
from warm import no_sync, share_with_workers
from workplace import KEPT

# Files that take longest, the longest first; the three after the first do not need the finished run that it makes.
LONG_FILES = [
    "test_run.py",
    "test_training_ways.py",
    "test_kill.py",
    "test_flow_news.py",
    "test_run_cache.py",
    "test_experiments.py",
    "test_edits.py",
    "test_flow_kline.py",
    "test_flow_direction_hourly.py",
    "test_flow_factors_daily.py",
    "test_registry.py",
    "test_bad_input.py",
    "test_engine.py",
    "test_predict_choices.py",
    "test_every_model.py",
    "test_refit.py",
    "test_stack.py",
    "test_check.py",
    "test_train_every_model.py",
    "test_no_lookahead.py",
    "test_guards.py",
    "test_estimators.py",
    "test_packages_alone.py",
    "test_contributing.py",
]
REAL_DATA = ROOT.parent / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Workers are forked from one process that has imported the libraries; nothing waits for disks."""
    os.fsync = no_sync
    if getattr(config.option, "numprocesses", None) and (folder := share_with_workers()):
        config.option.tx = [f"popen//python={folder / 'python'}" for _ in config.option.tx]
        with subprocess.Popen([folder / "python", "-u", "-c", ""]):  # it imports the libraries meanwhile
            if not sys.dont_write_bytecode:
                rewrite_asserts(config)


def rewrite_asserts(config: pytest.Config) -> None:
    """Do once what each worker would do for every file of tests that has changed or was cloned."""
    for path in Path(__file__).parent.rglob("test_*.py"):
        folder = rewrite.get_cache_dir(path)
        compiled = folder / (path.stem + rewrite.PYC_TAIL)
        if rewrite._read_pyc(path, compiled) is None and rewrite.try_makedirs(folder):
            status, code = rewrite._rewrite_test(path, config)
            rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, status, compiled)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: `make test` gives whole files to its workers, and none may start a long one last."""
    rank = {name: position for position, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(scope="module", autouse=True)
def imports_are_no_garbage() -> Iterator[None]:
    """Modules stay: no collection of garbage, of which every training of a network asks for one, looks through them."""
    gc.collect()
    gc.freeze()
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip("the real market data are not beside the checkout (../shared/data)")
    return REAL_DATA


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a run of pytest see."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def kept_stages(shared_folder: Path) -> None:
    """Where `Workplace.made` keeps what a stage has written, for all workers."""
    (shared_folder / "kept").mkdir(exist_ok=True)
    os.environ[KEPT] = str(shared_folder / "kept")


@pytest.fixture(scope="session")
def finished_run(shared_folder: Path) -> Checkout:
    """Return a copy in which the whole DAG has run once, by whichever worker is first.

    Tests must not change it: they take `copy_of_run`.
    """
    folder = shared_folder / "finished"
    with FileLock(shared_folder / "finished.lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            checkout = make_checkout(folder / "factorcast")
            checkout.run("dvc", "repro")
            checkout.commit("a run")
            (folder / "done").touch()
    return Checkout(folder / "factorcast")


@pytest.fixture
def copy_of_run(finished_run: Checkout, tmp_path: Path) -> Checkout:
    shutil.copytree(finished_run.path, tmp_path / "factorcast", symlinks=True)
    return Checkout(tmp_path / "factorcast")
