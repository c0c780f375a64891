"""The recipes of CONTRIBUTING.md, carried out on a copy of the tree: each has the effect that it promises."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import ROOT
from stages.params.reading import read_params
from stages.planning.stages import make_plan

DATA = "packages/data/src/factor_data"
METRICS = "packages/metrics/src/factor_metrics"
MODELS = "packages/models/src/factor_models"
EXAMPLE = str(next(ROOT.glob("tests/**/report_example.py")).relative_to(ROOT))


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A new file, or text put behind the first place where `after` stands."""

    path: str
    text: str
    after: str = ""

    def apply(self, root: Path) -> None:
        """Change the copy under `root`."""
        path = root / self.path
        if not self.after:
            assert not path.exists()
            path.write_text(self.text, encoding="utf-8")
            return
        before, found, rest = path.read_text(encoding="utf-8").partition(self.after)
        assert found, f"{self.path} has no {self.after!r}"
        path.write_text(before + found + self.text + rest, encoding="utf-8")


FEATURE = '''
def body_of_bar(panel: Panel) -> Floats:
    """C / o - 1 with the sign left out."""
    return np.abs(panel.adjusted("close") / panel.adjusted("open") - 1.0)


'''
MODEL = '''"""One linear map of the window, flattened."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from factor_models.checks import check_at_least, check_windows


@dataclass(frozen=True, kw_only=True)
class FlatConfig:
    """Size of the window."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    lookback: int = 4
    """Bars a window holds."""

    def __post_init__(self) -> None:
        check_at_least(self, {"lookback": 1})


class FlatForecaster(nn.Module):
    """A head per horizon."""

    input_kind = "features"

    def __init__(self, config: FlatConfig, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.lookback, self.num_features = config.lookback, num_features
        self.head = nn.Linear(config.lookback * num_features, num_horizons)

    def forward(self, x_BLF: Tensor) -> Tensor:
        """Predictions (B, H) from windows (B, L, F) without NaN."""
        check_windows(x_BLF, self.lookback, self.num_features)
        return self.head(x_BLF.flatten(1))
'''
LOSS = '''"""Fourth powers of errors."""

from torch import Tensor

from factor_models.losses.cross_section import CrossSections


def quartic(prediction: Tensor, dates: CrossSections) -> Tensor:
    """Mean of the fourth power of the error."""
    return dates.mean((prediction - dates.target_BH) ** 4)
'''
METRIC = '''"""The IC of a typical date."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def median_ic(ic: NDArray[np.float64]) -> float:
    """Return the median over the dates whose IC is defined; NaN where none is."""
    known = ic[~np.isnan(ic)]
    return float(np.median(known)) if len(known) else float("nan")
'''
STAGE = '''"""tally: how many labels there are, times a parameter."""

from stages.json_files import write_json
from stages.params.tally import TallyParams
from stages.running.files import stage_output
from stages.running.planned import check_loaded, read_plan
from stages.running.stage import run


def main() -> None:
    plan = read_plan("tally")
    times = plan.section("tally", TallyParams).times
    with stage_output("tally") as folder:
        write_json(folder / "tally.json", {"labels": times * len(plan.value("labels"))})
        check_loaded(plan)


if __name__ == "__main__":
    run("tally", main)
'''
SECTION = '''"""Section `tally`."""

from dataclasses import dataclass
from typing import ClassVar

from stages.params.rules import check_at_least


@dataclass(frozen=True, kw_only=True)
class TallyParams:
    """Section `tally`: what the labels are multiplied by."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    times: int

    def __post_init__(self) -> None:
        check_at_least(self, times=1)
'''
BLOCK = """
  tally:
    desc: count the labels
    cmd: python -m stages.tally
    deps:
      - results/plan/tally.json
    outs:
      - results/tally
"""

RECIPES: dict[str, tuple[Edit, ...]] = {
    "feature": (
        Edit(path=f"{DATA}/features/table.py", after="Feature = Callable[[Panel], Floats]\n", text=FEATURE),
        Edit(
            path=f"{DATA}/features/table.py",
            after="BAR_FEATURES: dict[str, Feature] = {\n",
            text='    "body_of_bar": body_of_bar,\n',
        ),
        Edit(
            path=f"{DATA}/features/dates.py",
            after="DATE_FEATURES: dict[str, DateFeature] = {",
            text='\n    "market_body": DateFeature(bases=("body_of_bar",), function=market_mean),',
        ),
    ),
    "model": (
        Edit(path=f"{MODELS}/networks/flat.py", text=MODEL),
        Edit(
            path=f"{MODELS}/zoo_table.py",
            after="MODELS: dict[str, ModelEntry] = {\n",
            text='    "flat": ModelEntry("factor_models.networks.flat", "FlatConfig", "FlatForecaster", "features"),\n',
        ),
        Edit(path="params.yaml", after="models: [linear,", text=" flat,"),
    ),
    "loss": (
        Edit(path=f"{MODELS}/losses/quartic.py", text=LOSS),
        Edit(
            path=f"{MODELS}/losses/table.py",
            after="LOSSES: dict[str, LossEntry] = {\n",
            text='    "quartic": LossEntry("factor_models.losses.quartic", term="quartic"),\n',
        ),
    ),
    "metric": (
        Edit(path=f"{METRICS}/information_coefficient/ic_median.py", text=METRIC),
        Edit(
            path=f"{METRICS}/__init__.pyi",
            after="from .information_coefficient.ic import rank_ic as rank_ic\n",
            text="from .information_coefficient.ic_median import median_ic as median_ic\n",
        ),
        Edit(
            path=f"{METRICS}/judging/scores.py",
            after='"""Mean over dates of the Spearman correlation."""\n',
            text='    rank_ic_median: float = math.nan\n    """Rank IC of a typical date."""\n',
        ),
        Edit(
            path=f"{METRICS}/judging/evaluation.py",
            after="from factor_metrics.information_coefficient.ic import ic, rank_ic\n",
            text="from factor_metrics.information_coefficient.ic_median import median_ic\n",
        ),
        Edit(
            path=f"{METRICS}/judging/evaluation.py",
            after="rank_ic=rank.mean,\n",
            text="            rank_ic_median=median_ic(self.rank_ic),\n",
        ),
        Edit(
            path=f"{METRICS}/report/results.py",
            after="COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {\n",
            text='    "rank_ic_median": ("Typical date", number),\n',
        ),
    ),
    "section to the report": (
        Edit(
            path=f"{METRICS}/report/data.py",
            after="    row_counts: Sequence[RowCounts] = ()\n",
            text='    remarks: Mapping[str, str] = field(default_factory=dict)\n    """Remarks by topic."""\n',
        ),
        Edit(
            path=f"{METRICS}/report/page.py",
            after="    sections = [\n",
            text='        Section(key="remarks", heading="Remarks", body=tables.facts_html(data.remarks)),\n',
        ),
        Edit(
            path="stages/drawing/model_page.py",
            after="        quality=quality_rules(split),\n",
            text='        remarks={"model": name},\n',
        ),
        Edit(
            path=EXAMPLE,
            after="    data = ReportData(\n",
            text='        remarks={"Topic": model},\n',
        ),
    ),
    "parameter": (
        Edit(
            path="stages/params/stack.py",
            after="from factor_models import StackConfig\n",
            text="from stages.params.rules import check_at_least\n",
        ),
        Edit(
            path="stages/params/stack.py",
            after='    """What a stack must reach to be promoted."""\n',
            text='    least_dates: int\n    """Dates a fold needs to count."""\n',
        ),
        Edit(
            path="stages/params/stack.py",
            after="    def __post_init__(self) -> None:\n",
            text="        check_at_least(self, least_dates=1)\n",
        ),
        Edit(path="params.yaml", after="\nstack:\n", text="  least_dates: 5\n"),
        Edit(path="presets/smoke.yaml", after="bootstrap: 200}\n", text="stack: {least_dates: 3}\n"),
    ),
    "stage": (
        Edit(path="stages/tally.py", text=STAGE),
        Edit(
            path="stages/planning/stages.py",
            after="STAGES: dict[str, PlannedStage] = {\n",
            text='    "tally": PlannedStage(settings=keys("tally", "labels"), roots=script("tally")),\n',
        ),
        Edit(path="dvc.yaml", after="\nstages:", text=BLOCK),
        Edit(path="stages/params/tally.py", text=SECTION),
        Edit(
            path="stages/params/reading.py",
            after="from stages.params.stack import StackParams\n",
            text="from stages.params.tally import TallyParams\n",
        ),
        Edit(path="stages/params/reading.py", after="    stack: StackParams\n", text="    tally: TallyParams\n"),
        Edit(path="params.yaml", after="the stage ends with what is short\n", text="\ntally: {times: 2}\n"),
    ),
}
"""By the heading of CONTRIBUTING.md ("Add a ..."): what its steps say, done."""

OBSERVE = """
import json
import numpy as np
import torch
from factor_data import MarketConfig, Panel, compute_features, plan_features, simulate_market
from factor_metrics import evaluate_predictions, median_ic
from factor_metrics.report import build_report
from factor_models import build_model, get_loss
from stages import plan
from stages.params.presets import with_preset
from stages.params.reading import parse_params, read_document
from report_example import example

plan.main()
market = simulate_market(MarketConfig(symbols=10, bars=100, frequency="day", signal=1.0, seed=1))
panel = Panel.from_frame(market.bars)
matrix = compute_features(panel, ["body_of_bar"])
with np.errstate(divide="ignore"):
    body = np.abs(panel.adjusted("close") / panel.adjusted("open") - 1.0)
body[~np.isfinite(body)] = np.nan  # what is not finite is missing
noise = np.random.default_rng(0)
label = noise.normal(size=(40, 12))
judged = evaluate_predictions(label + noise.normal(size=label.shape), label, horizon=1, num_bootstrap=100)
def refusal(change):
    document = read_document(plan.Path("params.yaml"))
    try:
        parse_params(document | change(document), "params.yaml")
    except ValueError as error:
        return str(error)
values = matrix.values[:, 0]
loss = get_loss("quartic", ("h1",))
batch = (torch.full((3, 1), 2.0), torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64), 1)
document = with_preset(read_document(plan.Path("params.yaml")), "smoke")
print(json.dumps({
    "feature": bool(np.array_equal(values, body.astype(np.float32), equal_nan=True)),
    "sets": plan_features(["bars", "market"], panel.symbols).names,
    "model": list(build_model("flat", num_features=3, num_horizons=2)(torch.zeros(5, 4, 3)).shape),
    "loss": {name: float(value) for name, value in loss(*batch).items()},
    "metric": judged.scores().to_dict()["rank_ic_median"] == median_ic(judged.rank_ic),
    "page": build_report(example()),
    "parameter": refusal(lambda document: {"stack": document["stack"] | {"least_dates": 0}}),
    "preset": parse_params(document, "smoke").stack.least_dates,
    "stage": refusal(lambda document: {"tally": {"times": 0}}),
}))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree in which all recipes are carried out."""
    root = tmp_path_factory.mktemp("recipes")
    for name in ("packages", "stages", "presets"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (root / EXAMPLE).parent.mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml", "data.dvc", EXAMPLE):
        shutil.copy2(ROOT / name, root / name)
    for edits in RECIPES.values():
        for edit in edits:
            edit.apply(root)
    return root


def run_in(root: Path, *arguments: str) -> str:
    """What Python prints, run in the copy and on nothing but the copy."""
    folders = [".", EXAMPLE.rpartition("/")[0], *(str(path) for path in sorted(root.glob("packages/*/src")))]
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(folders),
            "NUMBA_DISABLE_JIT": "1",
        },  # little data: plain loops
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def seen(copy: Path) -> dict[str, Any]:
    """What a process says that uses all that was added."""
    found: dict[str, Any] = json.loads(run_in(copy, "-c", OBSERVE).splitlines()[-1])
    return found


def recipe_text(name: str) -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return text.partition(f"\n## Add a {name}\n")[2].partition("\n## ")[0]


def test_every_recipe_with_code_is_carried_out() -> None:
    headings = re.findall(r"^## Add a (.+)$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(headings) == {*RECIPES, "dependency"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_names_the_files_that_it_changes(name: str) -> None:
    text = recipe_text(name)
    named = {one.replace("<name>", "tally") for one in re.findall(r"`([\w./<>-]+)`", text)}
    for edit in RECIPES[name]:
        folder = edit.path.rpartition("/")[0] + "/"
        above = folder.rstrip("/").rpartition("/")[0] + "/"
        assert named & {edit.path, folder, above}, f"the recipe does not say that {edit.path} is changed"


def test_a_feature_is_computed_by_its_name_and_in_its_set(seen: dict[str, Any]) -> None:
    assert seen["feature"]
    assert {"body_of_bar", "market_body"} <= set(seen["sets"])


def test_a_model_is_built_by_its_name(seen: dict[str, Any]) -> None:
    assert seen["model"] == [5, 2]


def test_a_loss_is_found_and_logged_by_its_name(seen: dict[str, Any]) -> None:
    assert seen["loss"] == {"quartic": 16.0}


def test_a_metric_is_in_the_scores_and_in_the_table_of_the_page(seen: dict[str, Any]) -> None:
    assert seen["metric"]
    assert "Typical date" in seen["page"]


def test_a_section_is_on_the_page(seen: dict[str, Any]) -> None:
    assert '<section id="remarks"><h2>Remarks</h2>' in seen["page"]


def test_a_parameter_is_checked_and_in_the_plans_of_its_stage_and_page(seen: dict[str, Any], copy: Path) -> None:
    assert seen["parameter"].endswith("stack.least_dates: 0 must be >= 1")
    assert seen["preset"] == 3
    with_it = {path.stem for path in copy.glob("results/plan/*.json") if "least_dates" in path.read_text()}
    assert with_it == {"stack", "report_stack"}


def test_a_stage_is_planned_and_runs_on_its_plan(seen: dict[str, Any], copy: Path) -> None:
    assert seen["stage"].endswith("tally.times: 0 must be >= 1")
    block = yaml.safe_load((copy / "dvc.yaml").read_text())["stages"]["tally"]
    assert [(copy / dep).is_file() for dep in block["deps"]] == [True]
    run_in(copy, *block["cmd"].split()[1:])
    assert json.loads((copy / "results/tally/tally.json").read_text()) == {"labels": 6}


@pytest.mark.usefixtures("seen")
def test_all_of_it_trains_no_model_that_was_there(copy: Path) -> None:
    """Not even with every recipe at once: a training depends on its own model, loss and settings."""
    params = read_params(ROOT / "params.yaml")
    for model in params.models:
        now = json.loads((copy / "results/plan" / f"train_{model}.json").read_text())
        assert now == make_plan("train", model, params)
    assert (copy / "results/plan/train_flat.json").is_file()
