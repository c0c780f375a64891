"""The plan of every stage: which keys of params.yaml decide its result, and which modules it starts from.

A stage's script and all that it imports are in its plan by themselves; named here is what is imported by a string: the
room that fits a kind of model, the model, its loss. A stage whose plan misses a module it loads fails at its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from factor_models import KLINE_MODELS, LOSSES, MODELS
from stages import ROOT
from stages.fitting.families import FAMILIES, family_of
from stages.params.reading import Params, plain
from stages.params.tabular import TABULAR_KEYS
from stages.params.train import KEYS_IN_NO_PLAN
from stages.planning.closure import closure
from stages.planning.read_code import DIGITS
from stages.running import planned

ZOO_TABLE = "factor_models.zoo_table"
LOSS_TABLE = "factor_models.losses.table"
PAGE_FILES = "packages/metrics/src/factor_metrics/report/**/*.*"
SHARED = ("stages.judging.floors", "stages.judging.books", "stages.judging.judge")
"""Modules of which evaluations and the stack share numbers."""
SCORING = ("evaluate.min_symbols", "evaluate.scoring")
"""What decides how a training is scored on its valid dates."""


@dataclass(frozen=True, kw_only=True)
class Roots:
    """Modules that a stage's code starts from."""

    modules: tuple[str, ...]
    tables: Mapping[str, Collection[str]]
    """Keys of the tables that are used, by the table's module."""
    files: str | None = None
    """Pattern of further files that count, by their bytes."""
    python: tuple[str, ...] = ()
    """Python files of the user's."""


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """One stage of dvc.yaml."""

    settings: Callable[[Params, str], dict[str, Any]]
    """(params, model) -> its settings, nested as in params.yaml."""
    roots: Callable[[Params, str], Roots]
    per_model: bool = False
    shared: tuple[str, ...] = ()
    """Modules whose numbers it has in common with other stages (`Plan.shared`)."""


def keys(*wanted: str) -> Callable[[Params, str], dict[str, Any]]:
    """Settings by dotted keys; `{model}` stands for the model, whose own keys of `train` are in that section."""

    def pick(params: Params, model: str) -> dict[str, Any]:
        document = document_of(params, model)
        chosen: dict[str, Any] = {}
        for key in (one.format(model=model) for one in wanted):
            *sections, last = key.split(".")
            source, target = document, chosen
            for part in sections:
                source, target = source[part], target.setdefault(part, {})
            target[last] = source[last]
        return chosen

    return pick


def document_of(params: Params, model: str) -> dict[str, Any]:
    """params.yaml as it decides results: for a model with its own keys of `train`, for the labels what stages need."""
    document = plain(params)
    document["zoo"] = {name: one["settings"] for name, one in document["zoo"].items()}
    document["own_train"] = {
        name: plain(one.own) for name, one in params.zoo.items() if one.own and name in params.models
    }
    if model:
        document["train"] = plain(params.train_of(model))
    document["labels"] = list(params.tokenize.labels)
    document["tokenize"] |= {"labels": plain(params.tokenize.heads), "reach": params.tokenize.reach}
    return document


def tokenize_settings(params: Params, model: str) -> dict[str, Any]:
    """The section, its labels in the order of heads: how params.yaml lists them decides no number."""
    chosen = keys("tokenize")(params, model)
    del chosen["tokenize"]["reach"]
    return chosen


def stack_settings(params: Params, model: str) -> dict[str, Any]:
    """The sections that decide the ensemble, and what its bundle says of the way from bars to inputs."""
    chosen = keys("models", "labels", "stack", "evaluate", "split.clean", "split.calendars")(params, model)
    del chosen["evaluate"]["importance"]
    return chosen | tokenize_settings(params, model)


def train_settings(params: Params, model: str) -> dict[str, Any]:
    """Keys of section `train` that decide the fit of this model; few of them for a tabular model."""
    chosen = keys("train", "zoo.{model}", *SCORING)(params, model)
    tabular = family_of(model) == "tabular"
    kept = TABULAR_KEYS if tabular else set(chosen["train"]) - set(KEYS_IN_NO_PLAN)
    chosen["train"] = {key: value for key, value in chosen["train"].items() if key in kept}
    return chosen


def report_settings(params: Params, model: str) -> dict[str, Any]:
    """All that decided the model's result, which its page lists."""
    wanted = ("labels", "split", "tokenize", "zoo.{model}", "train.target", "train.seed", "train.loss", "evaluate")
    chosen = keys(*wanted)(params, model)
    chosen["train"] |= train_settings(params, model)["train"]
    return chosen


def kline_settings(params: Params, model: str) -> dict[str, Any]:
    """The section, what it takes from `tokenize`, and the K-line models; without any nothing decides."""
    if not params.kline_models:
        return {"kline_models": []}
    wanted = keys("tokenize_kline", "tokenize.reach")
    return {"kline_models": params.kline_models, **wanted(params, model)}


def script(name: str, files: str | None = None) -> Callable[[Params, str], Roots]:
    """A stage that imports all it loads."""
    return lambda params, model: Roots(modules=(f"stages.{name}",), tables={}, files=files)


def tokenize_roots(params: Params, model: str) -> Roots:
    """The script, the files of the user's own features, and what opens a pretrained encoder of texts."""
    texts = ("stages.texts",) if params.tokenize.reads_with_transformer else ()
    return Roots(
        modules=("stages.tokenize_features", *texts), tables={}, python=tuple(sorted(params.tokenize.functions))
    )


def stack_roots(params: Params, model: str) -> Roots:
    """The script, the kinds of the models, and the files of the user's own features, which go into the bundle."""
    return Roots(
        modules=("stages.stack",),
        tables={ZOO_TABLE: sorted(params.models)},
        python=tuple(sorted(params.tokenize.functions)),
    )


def train_roots(params: Params, model: str) -> Roots:
    """The script, the room of this kind of model, the model, and of a network its loss and its teacher."""
    family, train = family_of(model), params.train_of(model)
    models = {model}
    losses: set[str] = set()
    if family == "network":
        losses.add(train.loss)
        if train.distillation is not None:
            models.add(train.distillation.teacher)
        base = getattr(params.zoo[model].settings, "base", None)
        models |= {base} if base in MODELS else set()
    if family == "kline":
        # It is trained with the first; section `train` is checked as a whole, and so with the second.
        losses |= {"mse", train.loss}
    entries = [*((MODELS | KLINE_MODELS)[one] for one in models), *(LOSSES[one] for one in losses)]
    return Roots(
        modules=("stages.train", FAMILIES[family], *sorted({entry.module for entry in entries})),
        tables={ZOO_TABLE: sorted(models), LOSS_TABLE: sorted(losses)},
    )


def evaluate_roots(params: Params, model: str) -> Roots:
    """The script; where inputs are shuffled, what the model needs to forecast again."""
    if params.evaluate.importance is None or family_of(model) == "kline":
        return Roots(modules=("stages.evaluate",), tables={ZOO_TABLE: [model]})  # whose kind it asks for
    trained = train_roots(params, model)
    modules = [one for one in trained.modules if not one.startswith("stages.")]
    return Roots(modules=("stages.evaluate", "stages.judging.importance", *modules), tables=trained.tables)


def kline_roots(params: Params, model: str) -> Roots:
    """Return what `tokenize_kline` runs: with K-line models the room that writes tokens, and its loss."""
    room = ("stages.kline.tokenizer", LOSSES["mse"].module) if params.kline_models else ()
    return Roots(
        modules=("stages.tokenize_kline", *room),
        tables={ZOO_TABLE: params.kline_models, LOSS_TABLE: ["mse"]},
    )


def refit_settings(params: Params, model: str) -> dict[str, Any]:
    """The sections that decide what is trained once more, of each model as its own training has them."""
    chosen = keys("models", "split", "refit", "tokenize.reach", *SCORING)(params, model)
    chosen["tokenize"] |= tokenize_settings(params, model)["tokenize"]
    trained = {name: train_settings(params, name) for name in params.models}
    chosen["train"] = {name: one["train"] for name, one in trained.items()}
    chosen["zoo"] = {name: one["zoo"][name] for name, one in trained.items()}
    kline = kline_settings(params, model)
    return chosen | {key: value for key, value in kline.items() if key != "tokenize"}


def refit_roots(params: Params, model: str) -> Roots:
    """Return what tokenize, tokenize_kline, inputs and the training of every model run."""
    parts = [
        tokenize_roots(params, model),
        kline_roots(params, model),
        script("inputs")(params, model),
        *(train_roots(params, name) for name in params.models),
    ]
    losses = {loss for one in parts for loss in one.tables.get(LOSS_TABLE, ())}
    models = {name for one in parts for name in one.tables.get(ZOO_TABLE, ())}
    return Roots(
        modules=("stages.refit", *sorted({module for one in parts for module in one.modules})),
        tables={ZOO_TABLE: sorted(models), LOSS_TABLE: sorted(losses)},
        python=tuple(sorted(params.tokenize.functions)),
    )


STAGES: dict[str, PlannedStage] = {
    "sample": PlannedStage(settings=keys("sample"), roots=script("sample")),
    "split": PlannedStage(settings=keys("split", "tokenize.reach", "tokenize.use_news"), roots=script("split")),
    "tokenize": PlannedStage(settings=tokenize_settings, roots=tokenize_roots),
    "tokenize_kline": PlannedStage(settings=kline_settings, roots=kline_roots),
    "inputs": PlannedStage(settings=keys("models"), roots=script("inputs")),
    "train": PlannedStage(settings=train_settings, roots=train_roots, per_model=True),
    "evaluate": PlannedStage(
        settings=keys("labels", "evaluate", "train.target"),
        roots=evaluate_roots,
        per_model=True,
        shared=SHARED,
    ),
    "stack": PlannedStage(settings=stack_settings, roots=stack_roots, shared=SHARED),
    "refit": PlannedStage(settings=refit_settings, roots=refit_roots),
    "report": PlannedStage(
        settings=report_settings,
        roots=script("report", files=PAGE_FILES),
        per_model=True,
    ),
    "report_stack": PlannedStage(
        settings=keys(
            "models",
            "labels",
            "split",
            "tokenize",
            "train.seed",
            "train.loss",
            "train.zero.stage",
            "own_train",
            "evaluate",
            "stack",
        ),
        roots=script("report_stack", files=PAGE_FILES),
    ),
}


def stage_names(params: Params) -> list[tuple[str, str]]:
    """(stage, model or "") of every plan."""
    return [(name, model) for name, stage in STAGES.items() for model in (params.models if stage.per_model else [""])]


def plan_of(name: str, model: str, params: Params) -> planned.Plan:
    """The plan of a stage as params.yaml stands, for what runs beside the DAG."""
    document = make_plan(name, model, params)
    return planned.Plan(
        stage=document["stage"],
        settings=document["settings"],
        modules=document["modules"],
        shared=document.get("shared", {}),
    )


def make_plan(name: str, model: str, params: Params) -> dict[str, Any]:
    """Return the plan of a stage from its file."""
    stage = STAGES[name]
    roots = stage.roots(params, model)
    found = closure(roots.modules, roots.tables, roots.python)
    digests = found.digests(without=planned.ROOMS_IN_NO_PLAN)
    if roots.files is not None:
        digests |= file_digests(roots.files)
    document = {
        "stage": f"{name}@{model}" if model else name,
        "settings": stage.settings(params, model),
        "modules": digests,
        "distributions": found.distributions(without=planned.ROOMS_IN_NO_PLAN),
    }
    if stage.shared:
        document["shared"] = {name: shared_digest(name) for name in stage.shared}
    return {**document, planned.DIGEST: planned.digest_of(document)}


@cache
def shared_digest(module: str) -> str:
    """Return one digest of the code that a module can load, and of the versions of the libraries."""
    found, without = closure((module,)), planned.ROOMS_IN_NO_PLAN
    return planned.digest_of({"modules": found.digests(without), "distributions": found.distributions(without)})


def file_digests(pattern: str) -> dict[str, str]:
    """Digest of the bytes of every style sheet and script that a pattern finds."""
    files = sorted(path for path in ROOT.glob(pattern) if path.suffix in (".css", ".js"))
    return {str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest()[:DIGITS] for path in files}
