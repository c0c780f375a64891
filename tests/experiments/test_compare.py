from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments_samples import DATES, Fabricated, draws, make_repository, table
from factor_experiments.cli import main
from factor_experiments.compare import Comparison, compare
from factor_experiments.compare_page import comparison_page
from factor_experiments.history import known_evaluations
from factor_experiments.stored import Stored
from factor_metrics import paired_difference


def compared(made: Fabricated, a: str, b: str, **options: bool) -> Comparison:
    return compare(made.git, Stored(made.path), a, b, **options)


@pytest.fixture
def made(tmp_path: Path) -> Fabricated:
    return make_repository(tmp_path)


def test_revisions_that_differ_by_a_comment_are_equal(made: Fabricated) -> None:
    (values,) = draws(1)
    made.results({"linear": table({"h1": values}), "stack": table({"h1": values})})
    made.commit("first")
    (made.path / "code.py").write_text("# a comment\n")
    made.commit("second")
    result = compared(made, "HEAD~1", "HEAD")
    assert [pair.status for pair in result.pairs] == ["equal", "equal"]
    assert result.differences.nothing
    assert result.verdict == "The results are equal."


def test_a_better_model_is_found_with_its_interval_and_what_differs_is_named(made: Fabricated) -> None:
    first, noise = draws(2)
    second = first + 0.01 + 0.1 * noise
    made.results({"linear": table({"h1": first}), "stack": table({"h1": first})}, params="train:\n  lr: 0.003\n")
    made.commit("first")
    made.run("git", "tag", "old")
    made.results(
        {"linear": table({"h1": second}), "stack": table({"h1": first})},
        params="train:\n  lr: 0.01\n",
        settings={"stack": {"alpha": 2.0}},
        modules={"stages.stack": "bb", "stages.new": "cc"},
        versions={"numpy": "2.5.0"},
    )
    made.commit("second")
    result = compared(made, "old", "main")
    stack, linear = result.pairs
    assert (stack.name, stack.status) == ("stack", "equal")
    assert linear.difference is not None
    expected = paired_difference(second, first, 1)
    assert linear.difference == expected
    assert expected.ci_low < 0.01 < expected.ci_high
    assert linear.net == paired_difference(second / 100.0, first / 100.0, 1)
    assert "better for linear at h1" in result.verdict
    assert repr(result).endswith(f"{result.verdict})")
    assert "<td" in result._repr_html_()
    assert result.verdict.split(";")[0] in result._repr_html_()
    assert result.differences.params == {"train.lr": (0.003, 0.01)}
    assert result.differences.modules == {"stages.stack": ("aa", "bb"), "stages.new": ("absent", "cc")}
    assert result.differences.environment == {"numpy": ("2.4.6", "2.5.0")}
    assert result.differences.data is None
    assert result.differences.stages == ("evaluate_linear", "stack", "tokenize")


def test_other_data_are_named_and_only_dates_with_the_same_symbols_are_paired(made: Fabricated) -> None:
    first, second = draws(2)
    made.results({"linear": table({"h1": first})})
    made.commit("first")
    made.results({"linear": table({"h1": second}, symbols=8)}, data="b")
    made.commit("second")
    result = compared(made, "HEAD~1", "HEAD")
    assert result.differences.data is not None
    (pair,) = result.pairs
    assert (pair.status, pair.note) == ("refused", "other symbols are scored on all 400 dates in common")
    (pair,) = compared(made, "HEAD~1", "HEAD", any_symbols=True).pairs
    assert (pair.status, pair.note) == ("compared", "400 dates score other symbols: paired all the same")


def test_dates_that_one_lacks_are_left_out_and_counted(made: Fabricated) -> None:
    first, second = draws(2)
    made.results({"linear": table({"h1": first[:300]})})
    made.commit("first")
    made.results({"linear": table({"h1": second[100:]}, DATES[100:])})
    made.commit("second")
    (pair,) = compared(made, "HEAD~1", "HEAD").pairs
    assert pair.note == "100 dates of A and 100 of B are left out: the other has none"
    assert pair.difference == paired_difference(second[100:300], first[100:300], 1)


def test_without_a_date_in_common_both_periods_are_named(made: Fabricated) -> None:
    first, second = draws(2)
    made.results({"linear": table({"h1": first[:100]})})
    made.commit("first")
    made.results({"linear": table({"h1": second[:100]}, DATES[200:300])})
    made.commit("second")
    (pair,) = compared(made, "HEAD~1", "HEAD").pairs
    assert pair.note.startswith("no date in common (HEAD~1 has 2020-01-01 to 2020-04-09, HEAD has 2020-07-19 to")


def test_rank_ics_that_are_nowhere_defined_are_not_called_equal(made: Fabricated) -> None:
    unknown = np.full(50, np.nan)
    made.results({"linear": table({"h1": unknown})})
    made.commit("first")
    made.results({"linear": table({"h1": unknown}, overlaps={"h1": 1}, floor=np.ones(50))})
    made.commit("second")
    (pair,) = compared(made, "HEAD~1", "HEAD").pairs
    assert (pair.status, pair.note) == ("refused", "no rank IC is defined in both on any of 50 dates")


def test_too_few_dates_to_test_are_no_finding(made: Fabricated) -> None:
    first, second = draws(2, num_dates=3)
    made.results({"stack": table({"h1": first})})
    made.commit("first")
    made.results({"stack": table({"h1": second})})
    made.commit("second")
    assert compared(made, "HEAD~1", "HEAD").verdict == (
        "Nothing can be tested: stack at h1: 3 dates, fewer than 5 horizons of 1."
    )


def test_what_is_equal_is_not_called_incomparable(made: Fabricated) -> None:
    first, second = draws(2)
    made.results({"stack": table({"h1": first}), "lstm": table({"h1": second})})
    made.commit("first")
    made.results({"stack": table({"h1": first}), "lstm": table({"h1": second}, symbols=8)})
    made.commit("second")
    assert compared(made, "HEAD~1", "HEAD").verdict.startswith("Nothing that is not equal can be compared: lstm, h1: ")


def test_another_label_of_the_same_name_is_refused(made: Fabricated) -> None:
    (values,) = draws(1)
    made.results({"linear": table({"h1": values})})
    made.commit("first")
    made.results({"linear": table({"h1": values[::-1]})})
    plan = made.path / "results" / "plan" / "tokenize.json"
    plan.write_text(plan.read_text().replace('"h1": {"horizon": 1}', '"h1": {"horizon": 2}'))
    made.commit("second")
    (pair,) = compared(made, "HEAD~1", "HEAD").pairs
    assert pair.status == "refused"
    assert pair.note == "another label in HEAD~1, {'horizon': 1}, than in HEAD, {'horizon': 2}"


def test_the_workspace_and_an_experiment_have_names(made: Fabricated) -> None:
    first, second, third = draws(3)
    made.results({"linear": table({"h1": first})})
    base = made.commit("first")
    made.results({"linear": table({"h1": second})})
    commit = made.commit("an experiment")
    made.run("git", "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/vapid-knit", commit)
    made.run("git", "reset", "--quiet", "--hard", base)
    made.results({"linear": table({"h1": third})})
    result = compared(made, "vapid-knit", "workspace")
    assert result.a.commit == commit
    assert result.pairs[0].difference == paired_difference(third, second, 1)


def test_only_the_table_is_fetched_from_the_remote(made: Fabricated, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A clone with nothing in its cache compares, by DVC's own remote."""
    first, second = draws(2)
    made.results({"linear": table({"h1": first})}, beside={"page.json": b"1"})
    made.commit("first")
    made.results({"linear": table({"h1": second})}, beside={"page.json": b"2"})
    remote, clone = tmp_path_factory.mktemp("remote"), tmp_path_factory.mktemp("clone") / "copy"
    (made.path / ".dvc" / "config").write_text(
        f"[core]\n    remote = here\n    analytics = false\n['remote \"here\"']\n    url = {remote}\n"
    )
    made.commit("second")
    made.run("cp", "--recursive", str(made.path / ".dvc" / "cache" / "files"), str(remote))
    subprocess.run(["git", "clone", "--quiet", str(made.path), str(clone)], check=True)
    result = compared(Fabricated(clone), "HEAD~1", "HEAD")
    assert result.pairs[0].difference == paired_difference(second, first, 1)
    fetched = [path for path in (clone / ".dvc" / "cache" / "files").rglob("*") if path.is_file()]
    assert len(fetched) == 4, "of each folder its listing and the table"


def test_a_folder_that_differs_by_another_file_holds_an_equal_table(made: Fabricated) -> None:
    first = table({"h1": draws(1)[0]})
    for page in (b"1", b"2"):
        made.results({"linear": first}, beside={"page.json": page})
        made.commit("a run")
    assert [pair.status for pair in compared(made, "HEAD~1", "HEAD").pairs] == ["equal"]


def test_a_lock_file_of_single_files_is_compared_with_one_of_folders(made: Fabricated) -> None:
    """Commits of before dvc.lock had a line per folder."""
    first, second = draws(2)
    made.results({"linear": table({"h1": first})})
    lock = (made.path / "dvc.lock").read_text()
    digest = made.cache(table({"h1": second}))
    old = re.sub(r"md5: \w+\.dir", f"md5: {digest}", lock)
    (made.path / "dvc.lock").write_text(old.replace("results/evaluate/linear", "results/evaluate/linear/ic.parquet"))
    made.commit("before")
    (made.path / "dvc.lock").write_text(lock)
    made.commit("now")
    assert compared(made, "HEAD~1", "HEAD").pairs[0].difference == paired_difference(first, second, 1)


def test_a_table_that_is_nowhere_is_named(made: Fabricated) -> None:
    first, second = draws(2)
    made.results({"linear": table({"h1": first})})
    made.commit("first")
    made.results({"linear": table({"h1": second})})
    made.commit("second")
    made.run("rm", "--recursive", ".dvc/cache")
    (pair,) = compared(made, "HEAD~1", "HEAD").pairs
    assert pair.status == "refused"
    assert pair.note == (
        "the table of HEAD~1, HEAD is neither in DVC's cache nor in its remote: DVC has no remote here"
    )


def test_the_command_prints_a_table_json_and_a_page(made: Fabricated, capsys: pytest.CaptureFixture[str]) -> None:
    first, noise = draws(2)
    made.results({"linear": table({"h1": first, "h5": first})})
    made.commit("first")
    made.results({"linear": table({"h1": first + 0.1 * noise, "h5": first}), "lstm": table({"h1": first})})
    made.commit("second")
    page = made.path / "out" / "page.html"
    assert main(["-C", str(made.path), "compare", "HEAD~1", "HEAD", "--page", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "only in B: lstm" in printed
    assert "equal on 400 dates" in printed
    text = page.read_text()
    assert "chart-curves-linear-h1" in text
    assert "http" not in text.replace("http://www.w3.org", "")
    assert comparison_page(compared(made, "HEAD~1", "HEAD")) == text
    assert main(["-C", str(made.path), "compare", "HEAD~1", "HEAD", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["status"] for one in document["forecasts"]] == ["compared", "equal"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("nowhere", "'nowhere' is no revision, branch, tag or experiment"), ("HEAD~1", "HEAD~1 has no dvc.lock")],
)
def test_a_revision_without_results_is_refused_by_name(
    made: Fabricated, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made.commit("empty")
    made.results({"linear": table({"h1": draws(1)[0]})})
    made.commit("first")
    assert main(["-C", str(made.path), "compare", name, "HEAD"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("file", ["data.dvc", "params.yaml"])
def test_a_file_with_the_marks_of_a_conflict_is_named(made: Fabricated, file: str) -> None:
    made.results({"stack": table({"h1": draws(1)[0]})})
    made.commit("first")
    (made.path / file).write_text("<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> other\n")
    with pytest.raises(ValueError, match=f"{file} of workspace is not YAML"):
        compared(made, "HEAD", "workspace")


def test_a_damaged_lock_file_is_named(made: Fabricated) -> None:
    made.results({"stack": table({"h1": draws(1)[0]})})
    made.commit("first")
    (made.path / "dvc.lock").write_text("stages:\n  stack:\n    outs:\n    - path: [\n")
    with pytest.raises(ValueError, match=r"dvc.lock of workspace: stage stack is not YAML"):
        compared(made, "HEAD", "workspace")
    bad = made.commit("bad")
    with pytest.raises(ValueError, match=f"dvc.lock of {bad[:9]}: stage stack is not YAML"):
        known_evaluations(made.git, lambda out: out)


def test_of_200_null_pairs_at_most_7_percent_are_called_different() -> None:
    """The p that compare gives, of two forecasts of the same quality: half of each is shared."""
    generator = np.random.default_rng(0)
    p_values = []
    for _ in range(200):
        shared = generator.normal(size=250)
        a, b = (0.05 * (shared + generator.normal(size=250)) for _ in range(2))
        p_values.append(paired_difference(b, a, 1, num_bootstrap=20).p_value)
    assert np.mean(np.array(p_values) < 0.05) <= 0.07


def test_the_package_loads_neither_torch_nor_stages() -> None:
    code = (
        "import sys, factor_experiments.cli\n"
        "heavy = {'torch', 'stages', 'factor_data', 'factor_models', 'dvc'}\n"
        "found = {name.split('.')[0] for name in sys.modules} & heavy\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
