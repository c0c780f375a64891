"""What an edit runs again: the table of docs/pipeline.md, each line through `dvc repro` on the smoke preset."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from checkout import Checkout, stages_that_ran

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

MODELS = ("linear", "lstm")
DATA, METRICS, NETWORKS = (
    "packages/data/src/factor_data",
    "packages/metrics/src/factor_metrics",
    "packages/models/src/factor_models",
)
REPORTS = {"report@linear", "report@lstm", "report_stack"}
EVALUATED = {"evaluate@linear", "evaluate@lstm"}


@pytest.fixture(scope="module")
def two_models(finished_run: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A finished run of two models."""
    path = tmp_path_factory.mktemp("edits") / "factorcast"
    shutil.copytree(finished_run.path, path, symlinks=True)
    checkout = Checkout(path)
    checkout.change_params(lambda params: params.update(models=list(MODELS)))
    output = checkout.run("dvc", "repro").stdout
    assert stages_that_ran(output) == {"inputs", "tokenize_kline", "stack", "report_stack"}
    assert sorted(path.name for path in (checkout.path / "results" / "train").glob("*/")) == sorted(MODELS)
    checkout.commit("two models")
    return checkout


@pytest.fixture
def checkout(two_models: Checkout) -> Iterator[Checkout]:
    """The same for each test: edits are taken back, and what they ran is."""
    yield two_models
    two_models.run("git", "reset", "--quiet", "--hard")
    two_models.run("git", "clean", "--quiet", "--force", "-d")
    two_models.run("dvc", "checkout", "--force")


def append(text: str, *files: str) -> Callable[[Checkout], None]:
    def edit(checkout: Checkout) -> None:
        for file in files:
            path = checkout.path / file
            path.write_text(path.read_text() + text)

    return edit


def replace(file: str, old: str, new: str) -> Callable[[Checkout], None]:
    def edit(checkout: Checkout) -> None:
        path = checkout.path / file
        text = path.read_text()
        assert old in text, f"{file} has changed: {old!r}"
        path.write_text(text.replace(old, new, 1))

    return edit


def together(*edits: Callable[[Checkout], None]) -> Callable[[Checkout], None]:
    def edit(checkout: Checkout) -> None:
        for one in edits:
            one(checkout)

    return edit


def params(change: Callable[[dict[str, Any]], object]) -> Callable[[Checkout], None]:
    return lambda checkout: checkout.change_params(change)


def add_network(checkout: Checkout) -> None:
    """A new model: a copy of the MLP under another name, and its entry."""
    networks = checkout.path / NETWORKS / "networks"
    (networks / "mlp_too.py").write_text((networks / "mlp.py").read_text())
    replace(
        f"{NETWORKS}/zoo_table.py",
        '    "mlp": ModelEntry(',
        '    "mlp_too": ModelEntry("factor_models.networks.mlp_too", "MLPConfig", "MLPForecaster", "features"),\n'
        '    "mlp": ModelEntry(',
    )(checkout)


NEW_CODE = "\n\nADDED_BY_A_TEST = 1\n"
EVERYWHERE = [
    "stages/train.py",
    "stages/params/reading.py",
    "stages/fitting/network.py",
    f"{DATA}/panel/panel.py",
    f"{METRICS}/information_coefficient/ic.py",
    f"{NETWORKS}/training/loop.py",
    f"{NETWORKS}/networks/lstm.py",
]

NOTHING = [
    append("\n\n\n# a comment\n", *EVERYWHERE),
    replace("stages/train.py", '"""train: one model', '"""Train: a model'),
    append(NEW_CODE, f"{DATA}/importing.py", f"{DATA}/cli.py"),
    append(NEW_CODE, *(f"stages/processes/{name}.py" for name in ("launch", "watch", "progress"))),
    params(lambda document: document["train"].update(checkpoint={"keep": 3, "every_steps": 7})),
    append(NEW_CODE, f"{NETWORKS}/estimators/regressor.py", f"{METRICS}/information_coefficient/ic_weighted.py"),
    add_network,
]
"""Comments and docstrings; the importer and a command line; launcher, watch and progress; how often a checkpoint is
written; estimators and a metric that no stage uses; a network that is not listed."""

SOMETHING: list[tuple[Callable[[Checkout], None], set[str]]] = [
    (append("\n/* wider */\n", f"{METRICS}/report/page.css"), REPORTS),
    (replace("stages/drawing/shared.py", "none are taken off", "none are subtracted"), REPORTS),
    (append(NEW_CODE, f"{DATA}/reading/qlib.py"), {"split"}),
    (append(NEW_CODE, f"{NETWORKS}/stacking/learners.py"), {"stack"}),
]
"""The style and the wording of a report; a reader, whose bytes are the same; stacking, whose bytes are the same."""


def test_edits_that_can_change_no_result_run_nothing(checkout: Checkout) -> None:
    together(*NOTHING)(checkout)
    assert stages_that_ran(checkout.run("dvc", "repro").stdout) == set()


def test_other_edits_run_what_they_can_change_and_nothing_after_the_same_bytes(checkout: Checkout) -> None:
    """Each alone is in tests/stages/test_plans.py; here DVC runs what all of them ask for, and no more."""
    together(*(edit for edit, _ in SOMETHING))(checkout)
    expected = set().union(*(stages for _, stages in SOMETHING))
    assert stages_that_ran(checkout.run("dvc", "repro").stdout) == expected


def test_a_learning_rate_fits_no_tabular_model_again(checkout: Checkout) -> None:
    checkout.change_params(lambda document: document["train"].update(lr=0.004))
    own = {"train@lstm", "evaluate@lstm", "report@lstm"}
    assert stages_that_ran(checkout.run("dvc", "repro").stdout) == {*own, "stack", "report_stack"}


def test_a_metric_that_evaluate_reports_runs_no_training(checkout: Checkout) -> None:
    scores, evaluation = f"{METRICS}/judging/scores.py", f"{METRICS}/judging/evaluation.py"
    replace(
        scores,
        "    num_dates: int = 0\n",
        '    best_date: float = math.nan\n    """Highest rank IC."""\n    num_dates: int = 0\n',
    )(checkout)
    replace(
        evaluation,
        "            num_dates=rank.num_dates,\n",
        "            best_date=float(np.nanmax(self.rank_ic)),\n            num_dates=rank.num_dates,\n",
    )(checkout)
    assert stages_that_ran(checkout.run("dvc", "repro").stdout) == {*EVALUATED, "stack", *REPORTS}
    metrics = (checkout.path / "results" / "evaluate" / "lstm" / "metrics.json").read_text()
    assert '"best_date"' in metrics, "a field of Scores and a line of Evaluation.scores are enough"


def test_a_new_network_runs_itself_and_the_stack(checkout: Checkout) -> None:
    add_network(checkout)
    checkout.change_params(lambda document: document.update(models=[*MODELS, "mlp_too"]))
    ran = stages_that_ran(checkout.run("dvc", "repro").stdout)
    own = {"train@mlp_too", "evaluate@mlp_too", "report@mlp_too"}
    assert ran == {"inputs", *own, "stack", "report_stack"}


def test_why_names_the_setting_or_the_module(checkout: Checkout) -> None:
    """On three edits of the table."""
    add_network(checkout)
    assert "nothing has changed" in why(checkout, "train@lstm")
    append(NEW_CODE, f"{NETWORKS}/networks/lstm.py")(checkout)
    assert "code of factor_models.networks.lstm: changed" in why(checkout, "train@lstm")
    assert "nothing has changed" in why(checkout, "train@linear")
    checkout.change_params(lambda document: document["train"].update(lr=0.004))
    assert "train.lr: 0.005 -> 0.004" in why(checkout, "train@lstm")
    append("\n/* wider */\n", f"{METRICS}/report/page.css")(checkout)
    assert "page.css: changed" in why(checkout, "report_stack")


def why(checkout: Checkout, stage: str) -> str:
    return checkout.run("python", "-m", "stages.commands.why", stage).stdout


def test_the_texts_of_the_simulated_market_run_what_follows_from_changed_data(
    checkout: Checkout, tmp_path: Path
) -> None:
    texts = f"{DATA}/simulate/texts.py"
    append(NEW_CODE, texts)(checkout)
    assert stages_that_ran(checkout.run("dvc", "repro").stdout) == {"sample"}, "the same bytes"
    source = tmp_path / "mine"
    (checkout.path / "data" / "bars").rename(source)
    checkout.run("python", "-m", "stages.commands.use_data", str(source))
    checkout.run("dvc", "repro", "split")
    append(NEW_CODE, texts)(checkout)
    assert stages_that_ran(checkout.run("dvc", "repro", "split").stdout) == set(), "nothing on own data"
    assert not (checkout.path / "simulated").exists()
