"""Plans: of each stage the settings and the code that decide its result, all of them and no others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from factor_models import KLINE_MODELS, LOSSES, MODELS
from stages.fitting.families import FAMILIES, family_of
from stages.params.reading import Params, parse_params
from stages.params.train import LiveICParams, TrainParams
from stages.planning.closure import closure
from stages.planning.explain import differences
from stages.planning.plots import JUDGED, plots_document
from stages.planning.stages import STAGES, ZOO_TABLE, make_plan, stage_names
from stages.running import planned
from stages.running.planned import Plan, check_loaded, read_plan
from stages.running.stage import StageError
from workplace import Workplace, make_workplace, smoke_document

TABULAR = [name for name in MODELS if family_of(name) == "tabular"]
NETWORKS = [name for name in MODELS if family_of(name) == "network"]
MODULES = {name: entry.module for name, entry in (MODELS | KLINE_MODELS).items()}
BUILT_OF = {
    "cross_asset_lightgbm": {"lightgbm"},
    "adv_alstm": {"alstm"},
    "gan_lstm": {"alstm"},
    "token_transformer": {"transformer"},
    "gated_news": {"lstm"},
}
"""Models that are made of another one."""


@pytest.fixture(scope="module")
def every_model(smoke: Params) -> Params:
    """The smoke preset with every model of the zoo listed."""
    return replace(smoke, models=(*MODELS, *KLINE_MODELS))


def plans(params: Params) -> dict[str, dict[str, Any]]:
    made = [make_plan(name, model, params) for name, model in stage_names(params)]
    return {plan["stage"]: plan for plan in made}


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """Stages whose plan is another one, or new."""
    return {stage for stage, plan in after.items() if before.get(stage) != plan}


def with_train(params: Params, **settings: Any) -> Params:
    return replace(params, train=replace(params.train, **settings))


def test_weight_decay_changes_the_plans_of_networks_and_of_no_tabular_model(every_model: Params) -> None:
    other = plans(with_train(every_model, weight_decay=0.123))
    own = {name for name, model in every_model.zoo.items() if "weight_decay" in model.own}
    expected = {f"{stage}@{name}" for stage in ("train", "report") for name in {*NETWORKS, *KLINE_MODELS} - own}
    assert changed(plans(every_model), other) == expected | {"refit"}
    assert own == {"lru"}


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 99},
        {"target": "zscore"},
        {"threads": 7},
        {"determinism": "fast"},
        {"start": "previous"},
    ],
)
def test_what_a_tabular_model_is_fitted_with_is_in_its_plan(settings: dict[str, Any], smoke: Params) -> None:
    for name in TABULAR:
        before, after = (make_plan("train", name, one) for one in (smoke, with_train(smoke, **settings)))
        (key,) = settings
        assert before["settings"]["train"][key] != settings[key]
        assert after["settings"]["train"][key] == settings[key]


def test_a_plan_holds_every_key_of_a_network_but_those_that_decide_nothing(smoke: Params) -> None:
    plan = make_plan("train", "lstm", smoke)
    known = {field.name for field in fields(TrainParams)}
    assert set(plan["settings"]["train"]) == known - {"checkpoint", "live_ic"}
    assert set(plan["settings"]["zoo"]) == {"lstm"}


def test_checkpoints_and_the_live_ic_are_in_no_plan(smoke: Params) -> None:
    before = plans(smoke)
    assert "checkpoint" not in json.dumps([plan["settings"] for plan in before.values()])
    assert "live_ic" not in json.dumps([plan["settings"] for plan in before.values()])
    checkpoint = replace(smoke.train.checkpoint, keep=smoke.train.checkpoint.keep + 1)
    live_ic = LiveICParams(every_steps=77, every_minutes=7.0)
    assert changed(before, plans(with_train(smoke, checkpoint=checkpoint, live_ic=live_ic))) == set()


@pytest.mark.parametrize("name", MODULES)
def test_the_plan_of_a_model_names_its_own_module_and_that_of_no_other(name: str, smoke: Params) -> None:
    modules = make_plan("train", name, smoke)["modules"]
    models = {model for model, module in MODULES.items() if module in modules}
    assert models == {name} | BUILT_OF.get(name, set())
    rooms = {kind for kind, room in FAMILIES.items() if room in modules}
    assert rooms == {family_of(name)}


@pytest.mark.parametrize(("loss", "target"), [("huber", "rank"), ("quantile", "rank"), ("bce", "direction")])
def test_the_plan_of_a_network_names_the_module_of_its_loss(loss: str, target: str, smoke: Params) -> None:
    plan = make_plan("train", "lstm", with_train(smoke, loss=loss, loss_settings={}, target=target))
    assert LOSSES[loss].module in plan["modules"]
    assert LOSSES["quantitative"].module not in plan["modules"]


def test_a_network_that_is_taught_depends_on_its_teacher(smoke: Params) -> None:
    document = smoke_document()
    document["train"]["distillation"] = {"teacher": "xgboost", "settings": {"rounds": 5}, "share": 0.5}
    taught = parse_params(document, "taught")
    assert MODULES["xgboost"] not in make_plan("train", "lstm", smoke)["modules"]
    assert MODULES["xgboost"] in make_plan("train", "lstm", taught)["modules"]
    assert make_plan("train", "linear", taught) == make_plan("train", "linear", smoke)


def test_a_section_of_the_zoo_changes_the_model_and_its_page_alone(smoke: Params) -> None:
    zoo = smoke.zoo | {"lstm": replace(smoke.zoo["lstm"], settings=replace(smoke.zoo["lstm"].settings, hidden=99))}
    assert changed(plans(smoke), plans(replace(smoke, zoo=zoo))) == {"train@lstm", "report@lstm", "refit"}


def test_another_model_in_the_list_changes_what_is_its_own_and_what_reads_the_list(smoke: Params) -> None:
    more = replace(smoke, models=(*smoke.models, "mlp"))
    own = {"train@mlp", "evaluate@mlp", "report@mlp"}
    assert changed(plans(smoke), plans(more)) == own | {"inputs", "stack", "refit", "report_stack"}


def test_tables_of_each_model_are_plotted_and_curves_of_more_than_one_epoch(every_model: Params) -> None:
    def plotted(params: Params) -> list[str]:
        return [next(iter(plot)) for plot in yaml.safe_load(plots_document(params))["plots"]]

    def trained(epochs: int) -> Params:
        own = {name: replace(one, read={**one.read, "epochs": epochs}) for name, one in every_model.zoo.items()}
        return replace(with_train(every_model, epochs=epochs), zoo=own)

    tables = {f"evaluate/{name}/{table}" for name in every_model.models for table in JUDGED}
    curves = {f"train/{name}/live/plots/metrics" for name in (*NETWORKS, *KLINE_MODELS)}
    assert set(plotted(trained(epochs=1))) == tables
    assert set(plotted(trained(epochs=2))) == tables | curves


def test_a_plan_counts_of_the_table_of_models_what_its_stage_uses(
    smoke: Params,
) -> None:
    """So a network that nobody lists makes nothing run."""
    tables = {stage: plan["modules"].get(ZOO_TABLE) for stage, plan in plans(smoke).items()}
    whole = closure([ZOO_TABLE]).digests()[ZOO_TABLE]
    assert [stage for stage, digest in tables.items() if digest == whole] == []


def test_settings_of_a_judgement_train_nothing(smoke: Params) -> None:
    other = replace(smoke, evaluate=replace(smoke.evaluate, bootstrap=333))
    kinds = {stage.partition("@")[0] for stage in changed(plans(smoke), plans(other))}
    assert kinds == {"evaluate", "stack", "report", "report_stack"}


def test_the_simulated_market_changes_the_sample_alone(smoke: Params) -> None:
    other = replace(smoke, sample=replace(smoke.sample, seed=123))
    assert changed(plans(smoke), plans(other)) == {"sample"}


def test_without_a_kline_model_nothing_of_them_decides(smoke: Params) -> None:
    without = replace(smoke, models=("linear", "lstm"))
    plan = make_plan("tokenize_kline", "", without)
    assert plan["settings"] == {"kline_models": []}
    assert not [name for name in plan["modules"] if "kline." in name or name == "torch"]
    section = replace(smoke.tokenize_kline, epochs=9)
    assert make_plan("tokenize_kline", "", replace(without, tokenize_kline=section)) == plan
    assert make_plan("tokenize_kline", "", replace(smoke, tokenize_kline=section)) != make_plan(
        "tokenize_kline", "", smoke
    )


def test_files_of_pages_are_in_the_plans_of_pages_only(smoke: Params) -> None:
    with_styles = {
        stage for stage, plan in plans(smoke).items() if any(name.endswith(".css") for name in plan["modules"])
    }
    assert with_styles == {f"report@{name}" for name in smoke.models} | {"report_stack"}


def test_judging_knows_nothing_of_fitting_and_nothing_of_drawing(smoke: Params) -> None:
    for stage in ("evaluate", "stack"):
        plan = make_plan(stage, "lstm" if STAGES[stage].per_model else "", smoke)
        rooms = {".".join(name.split(".")[:2]) for name in plan["modules"]}
        assert not rooms & {"stages.fitting", "stages.kline", "stages.drawing", "factor_models.networks"}


def test_no_plan_holds_a_room_that_is_in_no_plan(smoke: Params) -> None:
    for plan in plans(smoke).values():
        assert not [name for name in plan["modules"] if planned.is_in_no_plan(name)]


def loads(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As if this process had loaded just these modules of the project."""
    monkeypatch.setattr(planned, "sys", SimpleNamespace(modules=dict.fromkeys(("json", "numpy", *names))))


def test_a_planted_omission_is_caught(smoke: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_plan("train", "lstm", smoke)
    whole = Plan(stage=made["stage"], settings={}, modules=made["modules"])
    loads(monkeypatch, *(name for name in whole.modules if not name.startswith("packages/")))
    check_loaded(whole)
    for omitted in ("factor_models.networks.lstm", "stages.predictions", "factor_data.store"):
        modules = {name: code for name, code in whole.modules.items() if name != omitted}
        with pytest.raises(RuntimeError, match=rf"train@lstm has loaded {omitted}, which its plan does not"):
            check_loaded(replace(whole, modules=modules))


def test_what_is_in_no_plan_may_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    loads(
        monkeypatch,
        "stages.processes.watch",
        "stages.running.files",
        "stages.params.train",
        "factor_metrics.live",
    )
    check_loaded(Plan(stage="train@lstm", settings={}, modules={}))
    loads(monkeypatch, "stages.processes_of_another_kind")
    with pytest.raises(RuntimeError, match=r"stages\.processes_of_another_kind"):
        check_loaded(Plan(stage="train@lstm", settings={}, modules={}))


def test_differences_are_told_by_setting_and_module(smoke: Params) -> None:
    before = make_plan("train", "lstm", smoke)
    after = make_plan("train", "lstm", with_train(smoke, lr=0.5))
    after["modules"] = {**after["modules"], "stages.train": "another", "factor_data.new": "code"}
    del after["modules"]["stages.predictions"]
    after["distributions"] = {**after["distributions"], "numpy": "9.9"}
    lines = differences(before, after)
    assert f"train.lr: {smoke.train.lr!r} -> 0.5" in lines
    assert "code of stages.train: changed" in lines
    assert "code of factor_data.new: new" in lines
    assert "code of stages.predictions: no longer counts" in lines
    assert any(line.startswith("version of numpy: ") and line.endswith("-> '9.9'") for line in lines)
    assert len(lines) == 5
    assert differences(before, before) == []


@pytest.fixture(scope="module")
def planned_place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Two models, planned."""
    document = smoke_document()
    document["models"] = ["linear", "lstm"]
    workplace = make_workplace(tmp_path_factory.mktemp("planned") / "factorcast", document)
    workplace.run("plan")
    return workplace


@pytest.fixture
def place(planned_place: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.delenv("DVC_STAGE", raising=False)
    return planned_place.copy(tmp_path / "copy")


def files(place: Workplace) -> dict[str, tuple[bytes, int]]:
    folder = place.results / "plan"
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_a_plan_file_is_written_per_stage_and_model(place: Workplace, smoke: Params) -> None:
    expected = {f"{kind}_{name}.json" for kind in ("train", "evaluate", "report") for name in ("linear", "lstm")}
    one_each = {name for name, stage in STAGES.items() if not stage.per_model}
    assert set(files(place)) == expected | {f"{name}.json" for name in one_each}
    with chdir(place.path):
        plan = read_plan("train", "lstm")
    assert plan.value("train.seed") == smoke.train.seed
    assert plan.modules == make_plan("train", "lstm", smoke)["modules"]


def test_planning_again_touches_no_plan_that_stays(place: Workplace, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(place)
    place.run("plan")
    assert "0 changed" in capsys.readouterr().out
    place.change_params(lambda params: params["train"].update(lr=0.456))
    place.run("plan")
    assert "3 changed: refit, report@lstm, train@lstm" in capsys.readouterr().out
    after = files(place)
    redone = {name for name in before if before[name] != after[name]}
    assert redone == {"refit.json", "report_lstm.json", "train_lstm.json"}


def test_a_model_that_is_listed_no_more_takes_its_plans_and_results_with_it(place: Workplace) -> None:
    for name in ("linear", "lstm"):
        (place.results / "train" / name).mkdir(parents=True)
    place.change_params(lambda params: params.update(models=["linear"]))
    place.run("plan")
    assert not [name for name in files(place) if "lstm" in name]
    assert [path.name for path in (place.results / "train").iterdir()] == ["linear"]


def test_what_the_plan_refuses_changes_nothing(place: Workplace) -> None:
    (place.results / "train" / "lstm").mkdir(parents=True)
    before = files(place)
    place.change_params(lambda params: params.update(models=["linear", "lihgtgbm"]))
    said = place.refused("plan")
    assert "models: 'lihgtgbm' is unknown" in said
    assert "Nothing was changed." in said
    assert files(place) == before
    assert (place.results / "train" / "lstm").is_dir()


def test_without_data_nothing_is_planned(place: Workplace) -> None:
    (place.path / "data").unlink()
    assert "there is neither data/ nor data.dvc" in place.refused("plan")


def test_a_stage_that_is_started_by_hand_wants_a_plan_of_the_params_that_are_there(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.path)
    path = place.path / "params.yaml"
    path.write_text("# a comment\n" + path.read_text())
    assert read_plan("train", "lstm").stage == "train@lstm"
    place.change_params(lambda params: params["train"].update(seed=5))
    with pytest.raises(StageError, match=r"or the code has changed .*: run 'python -m stages\.plan' first"):
        read_plan("train", "lstm")
    monkeypatch.setenv("DVC_STAGE", "train@lstm")  # DVC has planned before
    assert read_plan("train", "lstm").value("train.seed") != 5
    monkeypatch.delenv("DVC_STAGE")
    place.run("plan")
    assert read_plan("train", "lstm").value("train.seed") == 5


def test_a_model_without_a_plan_is_refused(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.path)
    with pytest.raises(StageError, match=r"train_gru\.json does not exist: is train@gru in params\.yaml\?"):
        read_plan("train", "gru")


def test_settings_that_are_in_no_plan_come_from_the_params(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.path)
    plan = read_plan("train", "lstm")
    train = plan.with_untracked("train")
    assert train["live_ic"] == smoke_document()["train"]["live_ic"]
    assert train["lr"] == plan.value("train.lr")
    assert "live_ic" not in plan.value("train")


def test_the_digest_of_all_code_is_that_of_each_module() -> None:
    one = Plan(stage="a", settings={"x": 1}, modules={"m": "1", "n": "2"})
    assert replace(one, settings={}, modules={"n": "2", "m": "1"}).code == one.code
    assert replace(one, modules={"m": "1", "n": "3"}).code != one.code
    assert replace(one, modules={"m": "1"}).code != one.code


PAGES = {"report", "report_stack"}


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("packages/metrics/src/factor_metrics/report/page.css", PAGES),
        ("stages.drawing.shared", PAGES),
        ("factor_data.reading.qlib", {"split"}),
        ("factor_models.stacking.oof", {"stack", "refit"}),
        ("factor_data.simulate.texts", {"sample"}),
        ("factor_metrics.judging.scores", {"evaluate", "stack", "refit", *PAGES}),
        ("factor_data.importing", set()),
        ("factor_data.cli", set()),
        ("factor_models.estimators.regressor", set()),
        ("factor_metrics.portfolio.backtest", {"evaluate", "stack"}),
        ("stages.processes.launch", set()),
        ("stages.processes.progress", set()),
        ("stages.commands.show", set()),
    ],
)
def test_a_file_is_in_the_plans_of_the_stages_that_it_can_change(
    module: str, stages: set[str], every_model: Params
) -> None:
    named = {stage.partition("@")[0] for stage, plan in plans(every_model).items() if module in plan["modules"]}
    assert named == stages
