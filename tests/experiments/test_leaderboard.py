from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experiments_samples import DATES, Fabricated, draws, make_repository, table
from factor_experiments.cli import main
from factor_experiments.leaderboard import better_than, leaderboard
from factor_experiments.leaderboard_text import leaderboard_markdown
from factor_experiments.ledger import Ledger, trial_of
from factor_experiments.revision import read_revision
from factor_experiments.stored import Stored
from factor_metrics import deflated_sharpe_ratio, moments, paired_difference, summarize


@pytest.fixture
def made(tmp_path: Path) -> Fabricated:
    repository = make_repository(tmp_path)
    shared, *own, other = draws(5)
    series = {name: shared + 0.3 * one for name, one in zip(("linear", "lstm", "mlp"), own, strict=True)}
    tables = {name: table({"h1": values}) for name, values in series.items()}
    tables["linear"] = table({"h1": series["linear"] + 0.05})
    tables["stack"] = table({"h1": (shared + 0.3 * other)[100:] + 0.051}, DATES[100:], equal=0.9 * series["mlp"][100:])
    repository.results(tables)
    repository.tables = tables
    repository.commit("results")
    return repository


def test_all_are_judged_on_the_dates_that_all_have(made: Fabricated) -> None:
    board = leaderboard(read_revision(made.git, "HEAD"), Stored(made.path))
    assert board.num_dates == {"h1": 300}
    shared, first, *_ = draws(5)
    linear = next(place for place in board.places if place.name == "linear")
    values = (shared + 0.3 * first + 0.05)[100:]
    assert linear.summary == summarize(values, 1)
    assert linear.beside_floor == paired_difference(values, np.zeros(300), 1)
    assert linear.net_return == pytest.approx(values.mean() / 100.0)
    assert linear.beside_equal is None
    stack = next(place for place in board.places if place.name == "stack")
    shared, *_, third, other = draws(5)
    expected = (shared + 0.3 * other)[100:] + 0.051, 0.9 * (shared + 0.3 * third)[100:]
    assert stack.beside_equal == paired_difference(*expected, 1)


def test_ranks_that_chance_would_make_are_ranges(made: Fabricated) -> None:
    board = leaderboard(read_revision(made.git, "HEAD"), Stored(made.path))
    ranks = {place.name: place.rank for place in board.places}
    assert ranks == {"linear": "1-2", "stack": "1-2", "lstm": "3-4", "mlp": "3-4"}


def test_seconds_come_from_the_ledger_and_luck_is_taken_off(made: Fabricated) -> None:
    tables = {name: made.tables[name] for name in ("linear", "lstm", "mlp")}
    ledger = Ledger(made.git)
    ledger.add([trial_of(name, content, commit=None, cpu_seconds=2.5) for name, content in tables.items()])
    costs = {(one.name, one.table): one.cpu_seconds for one in ledger.read() if one.cpu_seconds is not None}
    board = leaderboard(read_revision(made.git, "HEAD"), Stored(made.path), costs=costs)
    seconds = {place.name: place.cpu_seconds for place in board.places}
    assert seconds == {"linear": 2.5, "lstm": 2.5, "mlp": 2.5, "stack": 7.5}
    text = leaderboard_markdown(board)
    assert "| CPU s | features |" in text
    shared, first, second, third, other = draws(5)
    series = [(shared + 0.3 * first + 0.05)[100:], *((shared + 0.3 * one)[100:] for one in (second, third))]
    series.append((shared + 0.3 * other)[100:] + 0.051)
    sharpes = [one.mean() / one.std(ddof=1) for one in series]
    expected = deflated_sharpe_ratio(sharpes[0], 300, 4, float(np.std(sharpes, ddof=1)), *moments(series[0]))
    linear = next(place for place in board.places if place.name == "linear")
    assert linear.deflated_sharpe == pytest.approx(expected)
    unknown = leaderboard(read_revision(made.git, "HEAD"), Stored(made.path))
    assert all(np.isnan(place.cpu_seconds) for place in unknown.places)


def test_equal_forecasts_are_never_told_apart() -> None:
    (values,) = draws(1)
    assert better_than({"a": values, "b": values.copy()}, 1) == {"a": set(), "b": set()}
    assert better_than({"a": values}, 1) == {"a": set()}


def test_the_command_writes_the_same_document_again(made: Fabricated, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = made.path / "docs" / "leaderboard.md", made.path / ".live" / "page.html"
    command = ["-C", str(made.path), "leaderboard"]
    assert main([*command, "--out", str(out), "--page", str(page)]) == 0
    first = out.read_bytes(), page.read_bytes()
    assert main([*command, "HEAD", "--out", str(out), "--page", str(page)]) == 0
    assert (out.read_bytes(), page.read_bytes()) == first
    text = out.read_text()
    assert text.startswith("# Leaderboard\n\nMade by `make leaderboard` of the results ")
    assert "| 1-2 | linear | +0.0" in text
    assert all(len(line) <= 120 for line in text.splitlines() if line[:1] != "|")
    assert "not to be told apart" in page.read_text()
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    assert [place["rank"] for place in json.loads(capsys.readouterr().out)["places"]] == ["1-2", "1-2", "3-4", "3-4"]


def test_a_table_that_is_nowhere_is_named(made: Fabricated, capsys: pytest.CaptureFixture[str]) -> None:
    made.run("rm", "--recursive", ".dvc/cache")
    assert main(["-C", str(made.path), "leaderboard"]) == 2
    assert "the table of linear is neither in DVC's cache nor in its remote" in capsys.readouterr().err
