"""params.yaml, read once and checked whole: every stage refuses any wrong key or value before any work.

`python -m stages.params` checks the file alone. The configuration classes of the packages are the schema;
they only refuse, so a stage does not depend (in dvc.yaml) on the packages of sections that it does not use.
"""

import difflib
import json
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from factor_data import (
    RANK_KINDS,
    Augmentation,
    CleanRules,
    FoldConfig,
    MarketConfig,
    NewsConfig,
    NewsVectorConfig,
    NormaliserKind,
    Price,
    check_purge,
    same_for_all_symbols,
)
from factor_metrics import GateConfig
from factor_models import KLINE_MODELS, MODELS, CheckpointConfig, EngineConfig, GuardConfig, loss_config
from factor_models.kline import KlineTokenizerConfig, check_context
from stages.run import StageError, run
from stages.sample_weights import WeightParams
from stages.targets import DirectionParams, Target
from stages.teacher import DistillationParams
from stages.training_loss import check_loss

PARAMS_FILE = Path("params.yaml")


def check_at_least(section: object, **minimums: int) -> None:
    """Each named field of a section is at least its minimum; ValueError names key, value and rule."""
    for name, minimum in minimums.items():
        if getattr(section, name) < minimum:
            raise ValueError(f"{name}: {getattr(section, name)} must be >= {minimum}")


@dataclass(frozen=True, kw_only=True)
class SplitParams:
    """Section `split`: cleaning and folds."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    clean: CleanRules
    folds: FoldConfig

    def __post_init__(self) -> None:
        test, step = self.folds.test, self.folds.step
        if test is not None and step is not None and step < test:
            raise ValueError(f"folds.step: {step} must be >= test = {test}, or a date is tested in two folds")


@dataclass(frozen=True, kw_only=True)
class TokenizeParams:
    """Section `tokenize`: what the models see and what they are asked."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    # Features and sets of features (docs/features.md); an empty list means the set "bars".
    features: tuple[str, ...]
    # Bars from entry to exit, one label and one model head each.
    horizons: tuple[int, ...]
    # Bars from the close of t to entry.
    delay: int
    # Entry and exit at this price of their bars.
    price: Price
    normaliser: NormaliserKind
    # Normalised values are clipped to [-clip, clip] (robust_zscore).
    clip: float
    # Quantile tokens per feature, besides 0 = missing.
    num_tokens: int
    # False: no news are read, even if the data have some.
    use_news: bool
    news: NewsConfig
    # Mean text vectors as further inputs, fitted per fold on training documents, and the documents one by one for
    # models that read texts; null: none.
    news_vectors: NewsVectorConfig | None

    def __post_init__(self) -> None:
        self._check_features()
        if not self.horizons or min(self.horizons) < 1:
            raise ValueError(f"horizons: {list(self.horizons)} must be one or more whole numbers >= 1")
        if sorted(set(self.horizons)) != list(self.horizons):
            raise ValueError(f"horizons: {list(self.horizons)} must increase, each once")
        check_at_least(self, delay=0)
        if not 2 <= self.num_tokens <= 255:
            raise ValueError(f"num_tokens: {self.num_tokens} must be in 2..255")
        if not self.clip > 0:
            raise ValueError(f"clip: {self.clip} must be > 0")

    def _check_features(self) -> None:
        try:
            same = same_for_all_symbols(self.features or None)
        except ValueError as error:
            raise ValueError(f"features: {error}") from None
        if same and self.normaliser in RANK_KINDS:
            raise ValueError(
                f"normaliser: {self.normaliser} within a date would make {', '.join(same[:3])} 0, since they are the "
                "same for all symbols of a date; use robust_zscore, zscore or quantile_gauss with such features"
            )


@dataclass(frozen=True, kw_only=True)
class TokenizeKlineParams(EngineConfig):
    """Section `tokenize_kline`: windows of bars and the tokenizer that is fitted on them; the engine's fields too."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    # Bars a window starts from; it goes on for tokenize.delay + the longest horizon.
    lookback: int
    # Normalised bars are clipped to [-clip, clip].
    clip: float
    # Of the training dates every n-th is the last one of a lookback.
    every: int
    # folder@hash of a config.json and model.safetensors to start from (see stages.kline.read_pretrained); null: random
    # weights of the sizes of `model`.
    pretrained: str | None
    model: KlineTokenizerConfig
    seed: int
    # Dates in one optimiser step.
    batch_dates: int
    epochs: int
    # Epochs without a smaller valid reconstruction error before training stops.
    patience: int
    threads: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, lookback=2, every=1, seed=0, batch_dates=1, epochs=1, patience=1, threads=1)
        if not self.clip > 0:
            raise ValueError(f"clip: {self.clip} must be > 0")
        if max(self.model.s1_bits, self.model.s2_bits) > 16:
            raise ValueError("model.s1_bits and model.s2_bits: must be <= 16")


@dataclass(frozen=True, kw_only=True)
class LiveICParams:
    """Section `train.live_ic`: when the IC is reported while a network trains, besides at the end of each epoch."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    # Optimiser steps, and minutes, after which another report is due; null: not for this reason.
    every_steps: int | None
    every_minutes: float | None

    def __post_init__(self) -> None:
        for name in ("every_steps", "every_minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: {value} must be > 0")


@dataclass(frozen=True, kw_only=True)
class TrainParams(EngineConfig):
    """Section `train`: how every model is trained; the engine's fields and the loop's."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    seed: int
    # Dates in one optimiser step, over all processes; every batch holds whole cross-sections.
    batch_dates: int
    epochs: int
    # Epochs without a better validation rank IC before training stops.
    patience: int
    # A name of docs/losses.md, and its settings: those that are not given have their defaults.
    loss: str
    loss_settings: Any = field(default_factory=dict)
    # Per-date transform of the label that models are fitted to, or its direction by the rule below.
    target: Target
    direction: DirectionParams = field(default_factory=DirectionParams)
    # Dates are shuffled in runs of so many consecutive ones; above 1, the turnover term sees changes from bar to bar.
    consecutive_dates: int = 1
    # How much windows and dates of training count; null: all the same.
    weights: WeightParams | None = None
    # A tabular model whose forecasts networks learn from besides the labels; null: none.
    distillation: DistillationParams | None = None
    # Changes made to training windows of networks (tokens are masked only); null: none.
    augmentation: Augmentation | None
    # IC in and out of sample while a network trains, as files in .live/.
    live_ic: LiveICParams
    # CPU threads of one process: part of the experiment, because it decides rounding.
    threads: int
    # What early stopping, the plateau and the choice of the epoch look at on the valid dates.
    stop_on: Literal["rank_ic", "loss"] = "rank_ic"
    # Weights a fold begins with: new ones, those of the fold before, or of the best fold before (by `stop_on`).
    start: Literal["cold", "previous", "best_previous"] = "cold"
    # bitwise: two runs give the same bytes; fast: kernels may be chosen by speed (a difference on a GPU only).
    determinism: Literal["bitwise", "fast"] = "bitwise"
    # What happens when a loss or gradient is not finite.
    guard: GuardConfig = field(default_factory=GuardConfig)
    # How often a run is saved; it decides nothing about the result.
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, batch_dates=1, epochs=1, patience=1, threads=1, seed=0, consecutive_dates=1)
        if self.batch_dates % self.consecutive_dates:
            raise ValueError(
                f"consecutive_dates: {self.consecutive_dates} must divide batch_dates = {self.batch_dates}"
            )
        try:
            loss_config(self.loss)
        except ValueError as error:
            raise ValueError(f"loss: {error}") from None


@dataclass(frozen=True, kw_only=True)
class EvaluateParams:
    """Section `evaluate`: how predictions are judged."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    # Groups of symbols by prediction, lowest to highest.
    quantiles: int
    # Dates with fewer symbols have no IC.
    min_symbols: int
    # Level of every interval.
    confidence: float
    # Block-bootstrap resamples.
    bootstrap: int
    seed: int

    def __post_init__(self) -> None:
        check_at_least(self, quantiles=2, min_symbols=3, bootstrap=100)
        if not 0.5 <= self.confidence < 1:
            raise ValueError(f"confidence: {self.confidence} must be in [0.5, 1)")


@dataclass(frozen=True, kw_only=True)
class StackParams:
    """Section `stack`: the ensemble and the conditions for promotion."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    # Ridge penalty of the weights, on squared error averaged per date (factor_models.stack_oof).
    alpha: float
    # No negative weights.
    positive: bool
    gates: GateConfig

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise ValueError(f"alpha: {self.alpha} must be > 0")


@dataclass(frozen=True, kw_only=True)
class Params:
    """The whole of params.yaml."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    models: tuple[str, ...]
    sample: MarketConfig
    split: SplitParams
    tokenize: TokenizeParams
    tokenize_kline: TokenizeKlineParams
    train: TrainParams
    zoo: dict[str, Any]
    evaluate: EvaluateParams
    stack: StackParams

    def __post_init__(self) -> None:
        if not self.models or len(set(self.models)) < len(self.models):
            raise ValueError(f"models: {list(self.models)} must name at least one model, each once")
        if missing := [name for name in self.models if name not in self.zoo]:
            raise ValueError(f"models: {missing} have no section in zoo (zoo has {', '.join(self.zoo)})")
        if self.split.folds.purge is not None:
            try:
                check_purge(self.split.folds.purge, self.tokenize.horizons, self.tokenize.delay)
            except ValueError as error:
                raise ValueError(f"split.folds.{error}") from None

    def check_contexts(self) -> None:
        """Refuse K-line models whose windows do not fit their context."""
        num_ahead = self.tokenize.delay + max(self.tokenize.horizons)
        for name in (name for name in self.models if name in KLINE_MODELS):
            try:
                check_context(self.tokenize_kline.lookback, num_ahead, self.zoo[name].max_context)
            except ValueError as error:
                raise StageError(f"zoo.{name}: tokenize_kline.{error}") from None

    def check_universe(self, num_symbols: int) -> None:
        """Refuse, before any training, an evaluation that the data cannot carry."""
        if self.evaluate.quantiles > num_symbols:
            raise StageError(
                f"{PARAMS_FILE}: evaluate.quantiles: {self.evaluate.quantiles} must be at most the number of symbols, "
                f"{num_symbols}"
            )
        if self.evaluate.min_symbols > num_symbols:
            raise StageError(
                f"{PARAMS_FILE}: evaluate.min_symbols: {self.evaluate.min_symbols} must be at most the number of "
                f"symbols, {num_symbols}: no date would have an IC"
            )


def read_params(path: Path = PARAMS_FILE) -> Params:
    """params.yaml as typed sections. Raises StageError naming file, key, value and rule for the first wrong things."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=Yaml12Loader)
    except FileNotFoundError:
        raise StageError(f"{path} does not exist: run from the root of the repository") from None
    except yaml.YAMLError as error:
        raise StageError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(document, dict):
        raise StageError(
            f"{path}: expected sections {', '.join(section_names())}, found {type(document).__name__}"
        )
    params: Params = validate(Params, document, where=f"{path}: ")
    train = validate_loss(params.train, params.tokenize.horizons, where=f"{path}: train.")
    params = replace(params, train=train, zoo=validate_zoo(params.zoo, where=f"{path}: zoo."))
    try:
        params.check_contexts()
    except StageError as error:
        raise StageError(f"{path}: {error}") from None
    return params


def section_names() -> list[str]:
    return [field.name for field in fields(Params)]


def validate_zoo(zoo: dict[str, Any], where: str) -> dict[str, Any]:
    """One configuration object per section of `zoo`."""
    schemas = {name: entry.config for name, entry in MODELS.items()} | KLINE_MODELS
    if unknown := sorted(set(zoo) - set(schemas)):
        raise StageError(f"{where}{unknown[0]}: unknown model; known are {', '.join(schemas)}")
    return {name: validate(schemas[name], section, where=f"{where}{name}.") for name, section in zoo.items()}


def validate_loss(train: TrainParams, horizons: tuple[int, ...], where: str) -> TrainParams:
    """The section with the settings of its loss as one configuration object, all of it held together."""
    schema = loss_config(train.loss)
    checked = replace(
        train, loss_settings=validate(schema, train.loss_settings, where=f"{where}loss_settings.")
    )
    try:
        check_loss(checked, horizons)
    except ValueError as error:
        raise StageError(f"{where}{error}") from None
    return checked


def validate(schema: type, document: Any, where: str) -> Any:
    """`document` as `schema`: no unknown key, no coerced type. JSON in between, since YAML lists stand for tuples."""
    try:
        return TypeAdapter(schema).validate_json(json.dumps(document, default=str), strict=True)
    except ValidationError as failure:
        lines = [explain(error, schema, document, where) for error in failure.errors()[:5]]
        raise StageError("\n  ".join(lines)) from None


def explain(error: Any, schema: type, document: Any, where: str) -> str:
    """One validation error as `file: key: value breaks rule`."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "unexpected_keyword_argument":
        known = known_keys(schema, error["loc"][:-1])
        close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}"
        return f"{where}{key}: unknown key; {hint}"
    if error["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{where}{key}: missing"
    if error["type"] == "value_error":
        prefix = f"{key}." if key else ""
        return f"{where}{prefix}{error['ctx']['error']}"
    return f"{where}{key}: {walk(document, error['loc'])!r} is refused: {error['msg'].lower()}"


def known_keys(schema: type, location: tuple[int | str, ...]) -> list[str]:
    """The keys that are allowed at `location` of `schema`."""
    for part in location:
        schema = get_type_hints(schema)[str(part)]
    return [field.name for field in fields(schema)]


def walk(document: Any, location: tuple[int | str, ...]) -> Any:
    """The value of `document` at `location`."""
    for part in location:
        document = document[part]
    return document


class Yaml12Loader(yaml.SafeLoader):
    """Safe YAML in which `1e-3` is a number, as it is for DVC (YAML 1.2), not a string (YAML 1.1)."""


Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)$"),
    list("-+0123456789."),
)


def main() -> None:
    params = read_params()
    print(f"{PARAMS_FILE} is valid: {len(params.models)} models, horizons {list(params.tokenize.horizons)}")


if __name__ == "__main__":
    run("params", main)
