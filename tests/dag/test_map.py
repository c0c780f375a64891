"""dvc.yaml tells the truth: a stage depends on its plan and on the results that it reads; the plan names its code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA, COMPILED_MULTI_STAGE_SCHEMA

from stages import ROOT
from stages.params.presets import preset_names, with_preset
from stages.params.reading import Params, parse_params, read_document, read_params
from stages.planning.closure import closure, file_of
from stages.planning.stages import STAGES, make_plan, stage_names
from stages.running.planned import ROOMS_IN_NO_PLAN, is_in_no_plan

MAP: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
DAG: dict[str, Any] = MAP["stages"]
MARKET: dict[str, Any] = yaml.safe_load((ROOT / "simulated" / "dvc.yaml").read_text())["stages"]
REFIT: dict[str, Any] = yaml.safe_load((ROOT / "refit" / "map.yaml").read_text())["stages"]
ALL: dict[str, Any] = {**DAG, **MARKET, **REFIT}
PLANNED = sorted(set(ALL) - {"plan"})


@pytest.fixture(scope="module")
def params() -> Params:
    """The default run's, with a K-line model, which has a stage of its own."""
    params = read_params(ROOT / "params.yaml")
    return replace(params, models=(*params.models, "kronos"))


@pytest.fixture(scope="module")
def plans(params: Params) -> Mapping[str, Mapping[str, Any]]:
    """The plan of every stage and model of the default run."""
    made = [make_plan(name, model, params) for name, model in stage_names(params)]
    return {plan["stage"]: plan for plan in made}


def module_of(stage: str) -> str:
    match = re.search(r"python -m stages\.(\w+)", ALL[stage]["cmd"])
    assert match is not None
    return match.group(1)


def source_of(stage: str, params: Params) -> str:
    """The stage's script and all that it loads from stages, but how any stage runs."""
    modules = closure(STAGES[stage].roots(params, params.models[0]).modules).modules
    own = [name for name in modules if name.startswith("stages.") and not is_in_no_plan(name)]
    return "\n".join(path.read_text() for path in map(file_of, own) if path is not None)


@pytest.mark.parametrize("stage", PLANNED)
def test_a_stage_depends_on_its_plan_and_on_nothing_else_that_is_code(stage: str) -> None:
    item = "_${item.model}" if STAGES[stage].per_model else ""
    assert ALL[stage]["deps"][0] == f"results/plan/{stage}{item}.json"
    assert not [dep for dep in ALL[stage]["deps"] if dep.startswith(("stages", "packages"))]
    assert "params" not in ALL[stage], "settings are in the plan"


def test_the_plan_depends_on_all_code_and_all_params_and_takes_part_in_no_run_cache() -> None:
    assert {"stages", "packages/data/src", "packages/metrics/src", "packages/models/src"} <= set(DAG["plan"]["deps"])
    assert "params.yaml" in DAG["plan"]["deps"], "as a file: dvc.lock would repeat the whole of it"
    assert DAG["plan"]["outs"] == [{"results/plan": {"cache": False, "persist": True}}]


APART = ("train", "report", "report_stack", "refit")
"""They read what their names do not say, or run other stages on results of their own."""


@pytest.mark.parametrize("stage", [name for name in PLANNED if name not in APART])
def test_a_stage_depends_on_the_results_that_it_reads(stage: str, params: Params) -> None:
    read = set(re.findall(r'(?:RESULTS / |stored\(f?)"(\w+)["/]', source_of(stage, params))) - {stage}
    listed = {dep.split("/")[1] for dep in ALL[stage]["deps"] if dep.startswith("results/")} - {"plan"}
    assert listed == read


def test_a_stage_depends_on_every_folder_whose_digest_its_page_tells() -> None:
    """Else a page would go on telling a digest that is gone, where nothing changed but curves beside the results."""
    for stage, model in (("evaluate", "/${item.model}"), ("stack", "")):
        deps = set(ALL[stage]["deps"])
        for folder in ("results/split/panel", "results/tokenize", f"results/train{model}"):
            assert {folder, f"{folder}/sums.json"} & deps, (stage, folder)


def test_a_refit_is_run_only_when_it_is_asked_for_and_its_plan_names_all_that_it_trains(
    plans: Mapping[str, Any],
) -> None:
    assert "refit" not in DAG, "dvc repro would train everything twice"
    assert REFIT["refit"]["deps"][1:] == [
        "results/split/panel", "results/split/folds.json", "results/split/news.parquet",
        "results/tokenize", "results/stack",
    ]  # fmt: skip
    refit = plans["refit"]["modules"]
    for name in ("tokenize", "tokenize_kline", "inputs", "train@lstm", "train@linear", "train@kronos"):
        missing = plans[name]["modules"].keys() - refit.keys()
        assert not missing, name
        assert all(refit[one] == digest for one, digest in plans[name]["modules"].items() if "table" not in one), name


def test_the_output_of_a_stage_is_its_folder() -> None:
    """A line in dvc.lock instead of one per file. Without options: some would switch DVC's run cache off."""
    for stage, block in ALL.items():
        folder = {"report_stack": "report/stack"}.get(stage, stage)
        if stage not in ("plan", "refit"):
            assert block["outs"] == [f"results/{folder}" + ("/${item.model}" if STAGES[stage].per_model else "")]
        metrics = [{"results/summary.json": {"cache": False}}] if stage == "stack" else None
        assert block.get("metrics") == metrics
        assert "plots" not in block, "at the top, since an output cannot lie in another one"
    assert ALL["refit"]["outs"] == [{"results/refit": {"cache": False}}], "checkout would miss what nobody asked for"


def test_the_plots_of_the_stack_are_its_tables() -> None:
    source = (ROOT / "stages" / "stack.py").read_text()
    for plot in MAP["plots"]:
        (path,) = plot
        assert path.startswith("results/stack/")
        assert f'folder / "{path.removeprefix("results/stack/")}"' in source


@pytest.mark.parametrize("file", ["dvc.yaml", "results/dvc.yaml", "simulated/dvc.yaml", "refit/map.yaml"])
def test_maps_are_of_the_schema_of_dvc(file: str) -> None:
    """As Studio and the extension read them, which take what DVC takes."""
    COMPILED_MULTI_STAGE_SCHEMA(yaml.safe_load((ROOT / file).read_text()))


def test_the_locks_are_of_the_schema_of_dvc() -> None:
    for file in ("dvc.lock", "simulated/dvc.lock"):
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load((ROOT / file).read_text()))


def test_the_map_fits_on_two_screens() -> None:
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 150


def test_stages_of_the_map_are_scripts_plans_and_blocks() -> None:
    scripts = {path.stem for path in (ROOT / "stages").glob("*.py")}
    assert {module_of(stage) for stage in ALL} <= scripts
    assert set(STAGES) == set(PLANNED)
    for path in (ROOT / "stages").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 170, f"{path.name}: a script combines, rooms work"


def test_every_setting_of_a_plan_is_a_key_of_params(plans: Mapping[str, Any], params: Params) -> None:
    document = read_document(ROOT / "params.yaml")
    for plan in plans.values():
        for section in plan["settings"]:
            assert section in document or section in ("kline_models", "labels", "own_train")


def test_no_plan_names_a_room_that_is_in_no_plan_nor_a_network_of_another_model(
    plans: Mapping[str, Any],
) -> None:
    for name, plan in plans.items():
        assert not [module for module in plan["modules"] if is_in_no_plan(module)], name
    assert "factor_models.networks.lstm" in plans["train@lstm"]["modules"]
    assert "factor_models.networks.tcn_attention" not in plans["train@lstm"]["modules"]
    assert "factor_models.networks.lstm" not in plans["train@linear"]["modules"]


def test_what_is_in_no_plan_is_there() -> None:
    assert all(file_of(room) is not None for room in ROOMS_IN_NO_PLAN)


def test_no_training_depends_on_judging_reports_or_stacking(plans: Mapping[str, Any]) -> None:
    for name, plan in plans.items():
        if name.startswith("train@"):
            for room in (
                "stages.judging",
                "stages.drawing",
                "factor_metrics.judging",
                "factor_metrics.report",
            ):
                assert not [module for module in plan["modules"] if module.startswith(room)], name
            assert "factor_models.stacking" not in plan["modules"]


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_valid_and_short(preset: str) -> None:
    parse_params(with_preset(read_document(ROOT / "params.yaml"), preset), preset)
    assert len((ROOT / "presets" / f"{preset}.yaml").read_text().splitlines()) <= 45


def test_no_package_reads_params_or_paths_of_the_dag() -> None:
    readers = []
    for path in (ROOT / "packages").glob("*/src/**/*.py"):
        source = path.read_text()
        if re.search(r"^\s*(import yaml|from yaml|import dvclive|from dvclive)", source, re.M):
            readers.append(path.name)
        assert "results/" not in source, path
        assert "params.yaml" not in source or path.parent.name == "factor_experiments", path
    said = "of YAML packages read the description of data; factor_experiments reads what DVC keeps in git"
    assert sorted(readers) == ["description.py", "lock.py"], said


def test_deepspeed_is_imported_in_one_file() -> None:
    importers = [
        path.name
        for path in (ROOT / "packages").glob("*/src/**/*.py")
        if re.search(r"^\s*(import|from) deepspeed", path.read_text(), re.M)
    ]
    assert importers == ["engine.py"]
