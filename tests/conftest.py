"""Shared by the tests that run the DAG: small copies of this repository, and where the real data lie."""

import shutil
from pathlib import Path

import pytest

from checkout import Checkout, make_checkout
from stages import ROOT

# Files that run for minutes, the longest first.
LONG_FILES = ["test_end_to_end.py", "test_packages_alone.py", "test_bad_input.py"]
REAL_DATA = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: `make test` gives whole files to its workers, and none may start a long one last."""
    rank = {name: position for position, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip("the real market data are not beside the checkout (../shared/data)")
    return REAL_DATA


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A copy in which the whole DAG has run once. Tests must not change it: they take `copy_of_run`."""
    checkout = make_checkout(tmp_path_factory.mktemp("finished") / "factorcast")
    checkout.run("dvc", "repro")
    checkout.commit("a run")
    return checkout


@pytest.fixture
def copy_of_run(finished_run: Checkout, tmp_path: Path) -> Checkout:
    shutil.copytree(finished_run.path, tmp_path / "factorcast", symlinks=True)
    return Checkout(tmp_path / "factorcast")
