"""Members of a bundle as they were fitted: a model of any family, and its forecasts, a date at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from factor_data import Label
from factor_models import (
    Loss,
    SelectedRows,
    Table,
    TabularModel,
    gather_predictions,
    get_loss,
    load_model,
    model_sizes,
    predict,
)
from factor_models.checkpoints import read_config
from factor_models.kline import PathForecaster, kline_bars, point_forecasts
from factor_models.networks.blocks import symbol_tables
from factor_serve.member import AnyMember, Forecast
from factor_serve.rows import Rows

if TYPE_CHECKING:
    from factor_serve.bundle import Bundle

_THREADS = Lock()


@dataclass(frozen=True, kw_only=True, eq=False)
class Member(AnyMember):
    """A model with what its forecasts depend on besides the rows."""

    model: nn.Module | TabularModel | PathForecaster
    config: Mapping[str, Any]
    """Arguments it was built with; of a K-line model its sizes."""

    @property
    def lookback(self) -> int:
        """Bars of a window; of a K-line model complete ones."""
        if isinstance(self.model, PathForecaster):
            return self.model.lookback
        return int(self.config.get("lookback", 1)) if self.kind != "last_bar" else 1

    @property
    def reads_symbols(self) -> bool:
        """Whether the id of a row's symbol is among its inputs."""
        return self.kind != "kline" and "num_symbols" in model_sizes(self.config["name"])

    @property
    def reads_texts(self) -> bool:
        """Whether the documents of a window are."""
        return self.kind != "kline" and "text_dim" in model_sizes(self.config["name"])

    @property
    def threads(self) -> int:
        """CPU threads that it was fitted with: they decide rounding."""
        return 1 if self.kind == "kline" else int(self.metadata.get("threads", 1))

    @property
    def knows_symbols(self) -> bool:
        """Whether it has learned a vector for each symbol that it was trained on."""
        return isinstance(self.model, nn.Module) and bool(symbol_tables(self.model))

    def forecast(self, rows: Rows, codes: NDArray[np.integer], bundle: Bundle) -> Forecast:
        """Return forecasts of the universe's rows on the dates of `codes` that have the history; none may be left."""
        with computing_threads(self.threads):
            if isinstance(self.model, PathForecaster):
                return _of_paths(self.model, rows, codes, bundle.train_dates, bundle.labels)
            if isinstance(self.model, nn.Module):
                return self._of_network(self.model, rows, codes, bundle)
            return self._of_table(self.model, rows, codes, bundle)

    def _of_network(self, model: nn.Module, rows: Rows, codes: NDArray[np.integer], bundle: Bundle) -> Forecast:
        windows = self.windows(rows, codes, bundle.vocabulary)
        if len(windows) == 0:
            return np.empty(0, np.int64), np.empty((0, len(bundle.labels)), np.float32)
        found, outputs = gather_predictions(*predict(model, windows.batches(1)))
        return found, self.loss(list(bundle.labels)).point(torch.from_numpy(outputs)).numpy()

    def _of_table(self, model: TabularModel, rows: Rows, codes: NDArray[np.integer], bundle: Bundle) -> Forecast:
        assert rows.inputs is not None, "a tabular member reads inputs"
        found = self.windows(rows, codes, bundle.vocabulary).rows
        ids = self.symbol_ids(rows, bundle.vocabulary)
        dates = rows.date_code[found]
        values = np.empty((len(found), len(bundle.labels)), dtype=np.float32)
        for date in np.unique(dates):
            chosen = found[dates == date]
            table = Table(
                features=SelectedRows(rows.inputs, chosen),
                groups=rows.date_code[chosen],
                symbols=None if ids is None else ids[chosen],
            )
            values[dates == date] = model.predict(table)
        return found, values

    def loss(self, heads: list[str]) -> Loss:
        """Return the loss it was fitted with, which says what of its outputs is the forecast."""
        said: Mapping[str, Any] = self.metadata["loss_settings"]
        settings = {key: tuple(value) if isinstance(value, list) else value for key, value in said.items()}
        return get_loss(self.metadata["loss"], heads, **settings)


def load_member(folder: Path, name: str, kind: str) -> Member:
    """Return the model of a folder; ValueError where it is damaged or of another kind."""
    model, metadata = load_model(folder)
    config = {"name": name} if isinstance(model, PathForecaster) else read_config(folder)
    if isinstance(model, PathForecaster) != (kind == "kline"):
        raise ValueError(f"{folder}: holds no model of the kind {kind}, which the manifest says")
    return Member(name=name, kind=kind, model=model, config=config, metadata=metadata)


@contextmanager
def computing_threads(count: int) -> Iterator[None]:
    """Within, torch computes on so many threads; one caller at a time, since the number is the whole process's."""
    with _THREADS:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _of_paths(
    model: PathForecaster,
    rows: Rows,
    codes: NDArray[np.integer],
    train_dates: NDArray[np.datetime64],
    labels: Mapping[str, Label],
) -> Forecast:
    bars = kline_bars(rows.kline, rows.symbol_code, rows.date_code)
    found = bars.ends(rows.on(codes), model.lookback)
    of_row, heads = rows.date_code[found], list(labels.values())
    values = np.empty((len(found), len(heads)), dtype=np.float32)
    for code in np.unique(of_row):
        chosen = of_row == code
        said = model.of_date(bars, rows.dates, found[chosen], rows.dates[code], train_dates, heads)
        values[chosen] = point_forecasts(said, heads)
    return found, values
