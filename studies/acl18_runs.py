"""ACL18: one training run through the engine, kept on disk, so that a study that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from factor_data import Batch, WindowDataset
from factor_metrics import classification_scores
from factor_models import (
    MODELS,
    Engine,
    EngineConfig,
    Rules,
    ZeroConfig,
    build_model,
    fit,
    get_loss,
    model_sizes,
    predict,
    run_key,
    set_seed,
    tensor_batch,
)
from studies.acl18_data import INPUTS, LOOKBACK, Protocol, Tweets

DATES_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A model with its hyper-parameters."""

    model: str
    config: dict[str, Any]
    """Hyper-parameters of the model."""
    lr: float = 3e-3
    weight_decay: float = 0.01
    batch_dates: int = 32
    """Days of a step, about 1,600 samples."""
    epochs: int = 20
    patience: int = 10
    """Epochs without a better MCC on valid before training stops."""

    def describe(self) -> str:
        """What differs from the defaults."""
        chosen = {name: value for name, value in asdict(self).items() if name not in ("model", "config")}
        return ", ".join(f"{key} {value}" for key, value in {**self.config, **chosen}.items())


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """Logits on valid and test of the epoch that was best on valid."""

    valid: NDArray[np.float64]
    test: NDArray[np.float64]
    facts: dict[str, float]
    """best_epoch, epochs, parameters, the terms of the loss at the best epoch, and what a model reports of itself."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Runner:
    """Runs settings on the samples of the protocol, each (setting, tweets, seed) once."""

    protocol: Protocol
    tweets: dict[str, Tweets]
    """By clock."""
    cache: Path

    def run(self, setting: Setting, seed: int, clock: str | None = None) -> Outcome:
        """The outcome from the cache, or trained now; `clock` None: no tweets are read."""
        path = self._path(setting, seed, clock)
        if not path.exists():
            outcome = self._train(setting, seed, clock)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial.npz")
            np.savez(partial, valid=outcome.valid, test=outcome.test, facts=json.dumps(outcome.facts))
            partial.rename(path)
        with np.load(path) as stored:
            return Outcome(valid=stored["valid"], test=stored["test"], facts=json.loads(str(stored["facts"])))

    def has(self, setting: Setting, seed: int, clock: str | None = None) -> bool:
        """Whether the run is in the cache."""
        return self._path(setting, seed, clock).exists()

    def outcome_of(self, segment: str) -> NDArray[np.float64]:
        """Labels of a segment's samples, in the order of the logits."""
        data = self.protocol.dataset(segment)
        return self.protocol.label[data.rows]

    def _path(self, setting: Setting, seed: int, clock: str | None) -> Path:
        return self.cache / f"{setting.model}_{self._key(setting, seed, clock)}.npz"

    def _key(self, setting: Setting, seed: int, clock: str | None) -> str:
        inputs = hashlib.sha256(np.ascontiguousarray(self.protocol.inputs).data).hexdigest()
        texts = None if clock is None else digest_of_texts(self.tweets[clock])
        return run_key(setting=asdict(setting), seed=seed, inputs=inputs, texts=texts, code=source_of(setting.model))

    def _train(self, setting: Setting, seed: int, clock: str | None) -> Outcome:
        texts = None if clock is None else self.tweets[clock].documents
        set_seed(seed)
        text_dim = {"text_dim": texts.dimensions if texts else 0} if reads_texts(setting.model) else {}
        model = build_model(
            setting.model, num_features=len(INPUTS), num_horizons=1, lookback=LOOKBACK, **text_dim, **setting.config
        )  # fmt: skip
        assert isinstance(model, nn.Module)
        together = "groups" in getattr(model, "extra_inputs", ())
        data = {name: self.protocol.dataset(name, texts, together) for name in ("train", "valid", "test")}
        steps = setting.epochs * data["train"].num_batches(setting.batch_dates)
        config = EngineConfig(
            lr=setting.lr, weight_decay=setting.weight_decay, warmup_share=0.02, zero=ZeroConfig(stage=0)
        )
        engine = Engine(model, get_loss("bce"), config, total_steps=steps)
        label = self.outcome_of("valid")[None]

        def batches(epoch: int, first_step: int) -> Iterator[Batch]:
            return data["train"].batches(setting.batch_dates, seed=seed, epoch=epoch, start_step=first_step)

        def score(network: nn.Module) -> float:
            probability = 1.0 / (1.0 + np.exp(-self._logits(network, data["valid"])))
            return classification_scores(probability[None], label).mcc

        result = fit(engine, batches, score, Rules(epochs=setting.epochs, patience=setting.patience))
        engine.close()
        model.load_state_dict(result.state_dict)
        facts: dict[str, float] = {
            "best_epoch": result.best_epoch,
            "epochs": len(result.history),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            **{f"term_{name}": value for name, value in result.history[result.best_epoch].terms.items()},
        }
        if hasattr(model, "top_text_ratio") and texts is not None:
            facts["top_text_ratio"] = top_text_ratio(model, data["test"])
        valid, test = (self._logits(model, data[name]) for name in ("valid", "test"))
        return Outcome(valid=valid, test=test, facts=facts)

    def _logits(self, model: nn.Module, data: WindowDataset) -> NDArray[np.float64]:
        """One logit per sample with a label, in the order of the panel's rows."""
        rows, values = predict(model, data.batches(DATES_AT_ONCE))
        order = np.argsort(rows)
        labelled = np.isfinite(self.protocol.label[rows[order]])
        return values[order[labelled], 0].astype(np.float64)


def top_text_ratio(model: Any, data: WindowDataset) -> float:
    """RTT over all samples: days are counted once per window they are in."""
    whole = tensor_batch(next(data.batches(data.num_dates)))
    return model.top_text_ratio(whole.windows, whole.texts)


def reads_texts(model: str) -> bool:
    return "text_dim" in model_sizes(model)


def digest_of_texts(tweets: Tweets) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(tweets.documents.vectors).data)
    digest.update(np.ascontiguousarray(tweets.documents.bounds).data)
    return digest.hexdigest()


def source_of(model: str) -> str:
    """Hash of the sources of the network; a change of anything else needs .studies/acl18 to be deleted."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources(model))).hexdigest()


def sources(model: str) -> list[Path]:
    """The module of the network, and those of factor_models.networks that it is built of."""
    names, found = [MODELS[model].config.__module__], set()
    while names:
        name = names.pop()
        if name not in found:
            found.add(name)
            origins = {str(getattr(part, "__module__", "")) for part in vars(sys.modules[name]).values()}
            names += [origin for origin in origins if origin.startswith("factor_models.networks.")]
    return [Path(str(sys.modules[name].__file__)) for name in sorted(found)]
