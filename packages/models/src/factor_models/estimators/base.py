"""What the estimators share: their settings, from arrays to samples, the fit of any model of the zoo, its outputs."""

from __future__ import annotations

import copy
from dataclasses import fields
from itertools import count, islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import nn

from factor_models.checkpoints import load_model
from factor_models.checks import nearest
from factor_models.estimators.per_date import keys_of_rows
from factor_models.estimators.samples import Samples, quantile_edges, quantile_tokens
from factor_models.estimators.saving import set_state, state_of
from factor_models.hub import FILES, local_folder, save_pretrained
from factor_models.losses.base import Loss
from factor_models.losses.named import get_loss, is_classification
from factor_models.tabular.base import Table, TabularModel
from factor_models.training.engine_config import EngineConfig
from factor_models.training.inputs import tensor_batch
from factor_models.training.loop import Rules, fit
from factor_models.training.plain import PlainTrainer
from factor_models.training.predict import predict
from factor_models.zoo import build_model, input_kind, model_config, model_sizes
from factor_models.zoo_table import MODELS

SETTINGS = "settings__"
"""Prefix by which a field of the model's configuration is a parameter of its own, as in a grid."""


def _is_network(estimator: FactorEstimator) -> bool:
    """Whether training can go on: networks do, closed forms and trees are fitted in one go."""
    if input_kind(estimator.model) == "last_bar":
        raise AttributeError(f"partial_fit: {estimator.model} is fitted in one go; networks go on from their weights")
    return True


class FactorEstimator(BaseEstimator):
    """Base of `FactorRegressor` and `FactorClassifier`; they say what the parameters mean."""

    default_loss: str
    target_names_: np.ndarray

    def __init__(  # noqa: PLR0913 -- scikit-learn: every setting is an argument of its own
        self,
        model: str = "lstm",
        *,
        settings: dict[str, Any] | None = None,
        lookback: int | None = None,
        loss: str | None = None,
        epochs: int = 100,
        batch_dates: int = 8,
        batch_rows: int = 64,
        lr: float = 3e-3,
        weight_decay: float = 0.01,
        valid_share: float = 0.0,
        patience: int = 10,
        num_tokens: int = 16,
        random_state: Any = 0,
    ) -> None:
        self.model = model
        self.settings = settings
        self.lookback = lookback
        self.loss = loss
        self.epochs = epochs
        self.batch_dates = batch_dates
        self.batch_rows = batch_rows
        self.lr = lr
        self.weight_decay = weight_decay
        self.valid_share = valid_share
        self.patience = patience
        self.num_tokens = num_tokens
        self.random_state = random_state

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; with `deep` the fields of the model's configuration too, as settings__NAME.

        A field that `settings` does not hold has the default of the configuration.
        """
        parameters = super().get_params(deep)
        if deep:
            parameters |= {f"{SETTINGS}{name}": value for name, value in self._all_settings().items()}
        return parameters

    def set_params(self, **params: Any) -> Self:
        """Set parameters; settings__NAME sets one field of the model's configuration and leaves the others.

        ValueError for a name that there is not.
        """
        nested = {name.removeprefix(SETTINGS): value for name, value in params.items() if name.startswith(SETTINGS)}
        super().set_params(**{name: value for name, value in params.items() if not name.startswith(SETTINGS)})
        if nested:
            known = self._all_settings()
            for name in nested:
                if name not in known:
                    raise ValueError(f"{SETTINGS}{name}: {self.model!r} has no such setting: {nearest(name, known)}")
            self.settings = (self.settings or {}) | nested
        return self

    def _all_settings(self) -> dict[str, Any]:
        """Fields of the model's configuration, but for those that data or parameters decide; {} of an unknown model."""
        if not isinstance(self.model, str) or self.model not in MODELS:
            return {}
        given = self.settings if isinstance(self.settings, dict) else {}
        default = model_config(self.model)()
        return {
            field.name: given.get(field.name, getattr(default, field.name))
            for field in fields(default)
            if field.name != "lookback"
        }

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return (H,) names of what is forecast: the columns of a frame of targets, else forecast0, forecast1 ..."""
        check_is_fitted(self, "model_")
        return np.asarray(self.target_names_, dtype=object)

    def save(self, directory: str | Path) -> None:
        """Write the fitted estimator into a folder, without pickle: config.json, weights, metadata.json, README.md.

        The folder is that of `factor_models.save_model`; the metadata hold parameters and what else was learnt.
        ValueError where a parameter is no plain data, as a random state that is an object.
        """
        check_is_fitted(self, "model_")
        save_pretrained(self.model_, directory, metadata={"estimator": state_of(self)}, tags=["scikit-learn"])

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Return the estimator that `save` wrote, fitted; ValueError if the folder is damaged or of another class."""
        model, metadata = load_model(Path(directory))
        state = metadata.get("estimator")
        if state is None or state["class"] != cls.__name__:
            holds = "a model without an estimator" if state is None else f"a {state['class']}"
            raise ValueError(f"{directory}: holds {holds}, not a {cls.__name__}")
        estimator = cls(**state["parameters"])
        set_state(estimator, state)
        estimator.model_ = model
        if isinstance(model, nn.Module):
            estimator.loss_ = estimator._named_loss()
        return estimator

    def save_pretrained(self, directory: str | Path) -> None:
        """Write the fitted estimator into a folder as `save` does, by the name that Hugging Face's libraries have."""
        self.save(directory)

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, revision: str | None = None) -> Self:
        """Return the fitted estimator of a folder, or of a Hugging Face repository such as owner/model; see `load`."""
        return cls.load(local_folder(name_or_path, revision, FILES))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        return tags

    def _fit(self, samples: Samples, go_on: bool = False) -> Self:
        """Build and fit the model on samples with targets; with `go_on` train the network that there is."""
        self._check_settings()
        self.model_: nn.Module | TabularModel
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        train, valid = samples.split_last(self.valid_share) if self.valid_share else (samples, None)
        with torch.random.fork_rng(devices=[]):  # the caller's generator stays where it was
            torch.manual_seed(seed)
            if input_kind(self.model) == "last_bar":
                model = build_model(self.model, **self._sizes(samples))
                assert isinstance(model, TabularModel)
                self.model_ = model.fit(_table(train), None if valid is None else _table(valid))
            else:
                self.loss_ = self._named_loss()
                sizes = self._sizes(samples, self.loss_.outputs_per_target)
                network = self.model_ if go_on else build_model(self.model, **sizes)
                assert isinstance(network, nn.Module)
                self.model_ = self._fit_network(network, train, valid, seed)
        return self

    def _named_loss(self) -> Loss:
        name = self.loss or self.default_loss
        loss = get_loss(name)
        if is_classification(name) != is_classification(self.default_loss):
            kind = "classification" if is_classification(name) else "regression"
            raise ValueError(f"loss = {name!r}: it is one of {kind}, which {type(self).__name__} does not do")
        return loss

    def _fit_network(self, model: nn.Module, train: Samples, valid: Samples | None, seed: int) -> nn.Module:
        config = EngineConfig(lr=self.lr, weight_decay=self.weight_decay)
        steps = self.epochs * train.num_train_batches(self.batch_dates, self.batch_rows)
        trainer = PlainTrainer(model, self.loss_, config, steps)
        epoch = count()
        result = fit(
            trainer,
            lambda number, first: islice(
                train.train_batches(self.batch_dates, self.batch_rows, seed, number), first, None
            ),
            # Without valid rows the last epoch is the best.
            lambda network: float(next(epoch)) if valid is None else -_loss_on(valid, network, self.loss_),
            Rules(epochs=self.epochs, patience=self.patience if valid is not None else self.epochs),
        )
        model.load_state_dict(result.state_dict)
        self.best_epoch_ = result.best_epoch
        return model.eval()

    def _outputs(self, X: Any, dates: Any, symbols: Any, texts: Any) -> np.ndarray:
        """(N, H) what the fitted model says.

        A network is evaluated in float64: its forecast of a sample then does not depend on which others it is predicted
        with, but for 1e-12 of rounding. In float32 that would be some 1e-7, more on one CPU than on another, and more
        than callers who are given float64 expect.
        """
        check_is_fitted(self, "model_")
        samples = self._samples(X, dates, symbols, texts, reset=False)
        if isinstance(self.model_, TabularModel):
            return self.model_.predict(_table(samples))
        reads_dates = "groups" in getattr(self.model_, "extra_inputs", ())
        network = copy.deepcopy(self.model_).double()
        rows, outputs = predict(network, samples.predict_batches(whole_dates=reads_dates), torch.float64)
        outputs = outputs[np.argsort(rows)]
        return self.loss_.point(torch.from_numpy(outputs)).numpy()

    def _samples(self, X: Any, dates: Any, symbols: Any, texts: Any, reset: bool) -> Samples:
        """Arrays of the caller, checked, as samples; `reset` learns shape, symbols and token edges."""
        own_dates, own_symbols = keys_of_rows(X)
        dates = own_dates if dates is None else dates
        symbols = own_symbols if symbols is None else symbols
        windows = self._windows(X, reset)
        if reset:
            self.symbols_ = None if symbols is None else np.unique(_column(symbols, len(windows), "symbols"))
            self.edges_: np.ndarray | None = None
        if input_kind(self.model) == "tokens":
            self.edges_ = quantile_edges(windows, self.num_tokens) if reset else self.edges_
            assert self.edges_ is not None
            windows = quantile_tokens(windows, self.edges_)
        ids = None
        if symbols is not None and self.symbols_ is not None:
            ids = _ids(_column(symbols, len(windows), "symbols"), self.symbols_)
        if dates is not None:
            dates = np.unique(_column(dates, len(windows), "dates"), return_inverse=True)[1]
        if texts is not None:
            texts = np.asarray(texts, np.float32)
            if texts.ndim != 4 or texts.shape[:2] != windows.shape[:2]:
                raise ValueError(
                    f"texts have shape {texts.shape}: must be (num_samples={len(windows)}, "
                    f"lookback={windows.shape[1]}, documents, dimensions)"
                )
        return Samples(windows=windows, rows=np.arange(len(windows)), dates=dates, symbols=ids, texts=texts)

    def _windows(self, X: Any, reset: bool) -> np.ndarray:
        """(N, L, F) float32 of (N, L, F) windows or of (N, L * F) rows that hold the bars one after another."""
        lookback = self.lookback
        if getattr(X, "ndim", 2) == 3:
            if lookback not in (None, X.shape[1]):
                raise ValueError(f"lookback = {lookback}: X holds windows of {X.shape[1]} bars")
            lookback = X.shape[1]
            X = np.asarray(X).reshape(len(X), -1)
        values = validate_data(
            self,
            X,
            reset=reset,
            dtype=np.float32,
            ensure_all_finite="allow-nan",
            ensure_min_samples=2 if reset else 1,
        )
        if reset:
            self.lookback_: int = lookback or 1
        elif lookback not in (None, self.lookback_):
            raise ValueError(f"X holds windows of {lookback} bars: the model was fitted on {self.lookback_}")
        if self.lookback_ < 1 or values.shape[1] % self.lookback_:
            raise ValueError(
                f"lookback = {self.lookback_}: X has {values.shape[1]} columns, which is not a multiple of it"
            )
        return values.reshape(len(values), self.lookback_, -1)

    def _sizes(self, samples: Samples, outputs_per_target: int = 1) -> dict[str, Any]:
        """Return the arguments of the model: its settings, and the sizes that the data decide."""
        assert samples.targets is not None
        num_outputs = samples.targets.shape[1] * outputs_per_target
        sizes = {"num_features": samples.windows.shape[2], "num_horizons": num_outputs}
        known = {
            "num_tokens": self.num_tokens,
            "num_symbols": 0 if self.symbols_ is None else len(self.symbols_) + 1,
            "text_dim": 0 if samples.texts is None else samples.texts.shape[3],
        }
        sizes |= {size: known[size] for size in model_sizes(self.model)}
        if "lookback" in {field.name for field in fields(model_config(self.model))}:
            sizes["lookback"] = samples.windows.shape[1]
        settings = self.settings or {}
        if clash := sorted(set(settings) & set(sizes)):
            raise ValueError(f"settings hold {clash[0]!r}: the estimator takes it from the data and its parameters")
        if "seeds" in settings:
            raise ValueError("settings hold 'seeds': an estimator trains one network; average several of random_state")
        return sizes | settings

    def _check_settings(self) -> None:
        for name in ("epochs", "batch_dates", "batch_rows", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be >= 1")
        if not 0 <= self.valid_share < 1:
            raise ValueError(f"valid_share = {self.valid_share}: must be in [0, 1)")

    def _weights(self, sample_weight: Any, X: np.ndarray) -> np.ndarray | None:
        if sample_weight is None:
            return None
        return _check_sample_weight(sample_weight, X, dtype=np.float32, ensure_non_negative=True)


def _table(samples: Samples) -> Table:
    """The last bar of each window."""
    return Table(
        features=samples.windows[:, -1],
        targets=samples.targets,
        groups=samples.groups,
        symbols=samples.symbols,
        weights=samples.weights,
    )


@torch.no_grad()
def _loss_on(samples: Samples, model: nn.Module, loss: Loss) -> float:
    batch = tensor_batch(samples)
    assert batch.targets is not None
    prediction = model(batch.windows, **batch.extras(model)).float()
    terms = loss(prediction, batch.targets, batch.groups, batch.num_dates, batch.weights)
    return float(sum(terms.values()))


def _column(values: Any, num_rows: int, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (num_rows,):
        raise ValueError(f"{name} have shape {values.shape}: must be (num_samples={num_rows},)")
    return values


def _ids(symbols: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Positions in `known` counted from 1; 0 for a symbol that is not there."""
    place = np.minimum(np.searchsorted(known, symbols), len(known) - 1)
    return np.where(known[place] == symbols, place + 1, 0)
