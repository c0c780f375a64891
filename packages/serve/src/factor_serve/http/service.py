"""The bundle that is served: loaded, swapped in one step, asked for forecasts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_data import Panel
from factor_serve.arrivals import check_news, panel_of
from factor_serve.bundle import Bundle, BundleError, load_bundle
from factor_serve.canary import compare_canary
from factor_serve.forecaster import sorted_documents
from factor_serve.forecasts import (
    ALL,
    STACK,
    Model,
    forecast_with_rows,
    known_models,
    members_for,
    strangers_of,
    switched,
)
from factor_serve.http.bodies import Answer, Request
from factor_serve.http.problems import Problem
from factor_serve.rows import Rows
from factor_serve.shadow.judge import InputDrift, Reference, Rules, drifted_inputs
from factor_serve.shadow.observe import deciles_of, input_tenths
from factor_serve.stamps import check_one_clock, wall_clock, with_zones, without_zone

SHOWN = ("promoted", "labels", "heads", "members", "columns", "inputs", "fold", "calendar", "weights", "versions")
"""Keys of the manifest that /info shows."""
MOST_DATES = 20
"""Dates whose inputs are kept for the drift on the page."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """A bundle that has passed its canary, and when it was loaded."""

    bundle: Bundle
    loaded: float
    edges: dict[str, NDArray[np.float64]]
    """Deciles of its inputs, read with it: its folder may hold another bundle by the time that it forecasts."""
    model: Model
    """What forecasts where a request names no model."""


@dataclass(eq=False)
class Recent:
    """What was answered last, for the page."""

    bundle: str = ""
    """Identity of the bundle that it is of; another one begins anew."""
    frame: pd.DataFrame | None = None
    """The latest forecasts."""
    inputs: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Tenths of the inputs by date, of the last `MOST_DATES` dates that were forecast."""

    @property
    def num_dates(self) -> int:
        """Return the number of dates that drift is judged by."""
        return len(self.inputs)

    def take(self, served: Served, frame: pd.DataFrame, rows: Rows, codes: NDArray[np.integer]) -> Recent:
        """Return what is recent after one more answer."""
        bundle, edges = served.bundle, served.edges
        same = self.bundle == bundle.identity
        found = {str(rows.dates[code]): input_tenths(bundle, rows, rows.on(np.array([code])), edges) for code in codes}
        inputs = {**(self.inputs if same else {}), **found}
        kept = sorted(inputs)[-MOST_DATES:]
        return Recent(bundle=bundle.identity, frame=frame, inputs={date: inputs[date] for date in kept})


class Service:
    """The bundle of a folder, or why there is none; `ensemble` is what `switched` takes, None for the stack alone."""

    def __init__(self, folder: str | Path, unpromoted: bool = False, ensemble: str | None = None) -> None:
        self.folder, self.unpromoted, self.ensemble = Path(folder).absolute(), unpromoted, ensemble
        self._served: Served | None = None
        self.why = "no bundle was loaded yet"
        self.recent = Recent()
        self._loading = Lock()

    @property
    def served(self) -> Served | None:
        """The bundle that requests are answered from; None where none was loaded yet."""
        return self._served

    def start(self) -> None:
        """Load the bundle as the server starts; BundleError as for `load`."""
        self.load()

    def load(self) -> Served:
        """Load the bundle of the folder and put it in the place of the one before, which stays where this fails.

        BundleError for one that cannot be read, is not promoted, or forecasts its canary otherwise than it did.
        """
        with self._loading:
            try:
                self._served = self.read(self.folder)
            except BundleError as error:
                self.why = self.shown(error)
                raise
            return self._served

    def read(self, folder: Path) -> Served:
        """Return the bundle of a folder, its canary forecast as it was; BundleError where it may not be served."""
        try:
            bundle = self.opened(folder)
            self._check(bundle)
            edges = deciles_of(bundle)
            model = STACK if self.ensemble is None else switched(bundle, self.ensemble)
            members_for(bundle, model)
        except (ValueError, OSError) as error:
            raise BundleError(str(error)) from None
        return Served(bundle=bundle, loaded=time.time(), edges=edges, model=model)

    def opened(self, folder: Path) -> Bundle:
        """Return the bundle of a folder, verified and loaded."""
        return load_bundle(folder)

    def shown(self, error: Exception) -> str:
        """Return what a client may read of an error: not where on this machine the bundle lies, which the log has."""
        return str(error).replace(str(self.folder), "bundle")

    def _check(self, bundle: Bundle) -> None:
        if not bundle.promoted and not self.unpromoted:
            raise BundleError(f"{bundle.folder}: is not promoted: its stack has not passed its gates (--unpromoted)")
        for one in compare_canary(bundle):
            if not one.passed:
                raise BundleError(
                    f"{bundle.folder}: {one.model} forecasts the canary otherwise than it did: {one.num_missing} on "
                    f"one side only, largest difference {one.largest:.2g} deviations"
                )

    def current(self) -> Served:
        """Return the bundle that is served; Problem 503 where there is none."""
        served = self.served
        if served is None:
            raise Problem(503, None, "no bundle is loaded", retry_after=10)
        return served

    def forecast(self, request: Request) -> Answer:
        """Return forecasts, the identity of the bundle that made them, and the symbols that are new to it."""
        served = self.current()
        bundle = served.bundle
        panel = _panel(request.bars)
        news = _news(request.news, bundle)
        if news is not None and request.news is not None and bundle.one_clock:
            _one_clock(request.bars, request.news)
        dates = None if request.at is None else np.array([_date(request.at)])
        if dates is not None and dates[0] not in panel.dates:
            raise Problem(422, "at", f"the bars have no date {request.at}; the last one is {panel.dates[-1]!s:.19}")
        if request.model not in (None, ALL, *(models := known_models(bundle))):
            stack = f"{STACK}, " if STACK in models else ""
            raise Problem(422, "model", f"must be {stack}{ALL} or one of {', '.join(bundle.members)}")
        try:
            frame, rows, codes = forecast_with_rows(bundle, panel, news, dates, request.model or served.model)
        except ValueError as error:
            raise Problem(422, "bars", str(error)) from None
        self.recent = self.recent.take(served, frame, rows, codes)
        return Answer(frame=frame, bundle=bundle.identity, strangers=strangers_of(bundle, frame))

    def drift(self) -> tuple[InputDrift, ...]:
        """Return how far the inputs of recent dates have moved from training rows; nothing where there are none."""
        served, recent = self.served, self.recent
        if served is None or served.bundle.identity != recent.bundle:
            return ()
        records = [{"inputs": one} for one in recent.inputs.values()]
        return drifted_inputs(records, Reference(train_dates=len(served.bundle.train_dates)), Rules())

    def info(self) -> dict[str, Any]:
        """Return what a client may want to know of the bundle."""
        served = self.current()
        manifest = served.bundle.manifest
        return {
            "bundle": served.bundle.identity,
            "loaded": served.loaded,
            "reads_news": served.bundle.reads_news,
            "model": served.model,
            "gates": [{"name": gate["name"], "passed": gate["passed"]} for gate in manifest["gates"]],
            **{key: manifest[key] for key in SHOWN},
        }


def _panel(bars: pd.DataFrame) -> Panel:
    try:
        return panel_of(bars)
    except ValueError as error:
        raise Problem(422, "bars", str(error).removeprefix("bars: ")) from None


def _news(news: pd.DataFrame | None, bundle: Bundle) -> pd.DataFrame | None:
    if not bundle.reads_news:
        if news is not None:
            raise Problem(422, "news", "the bundle reads no news: leave it out")
        return None
    if news is None:
        raise Problem(422, "news", "is missing: the bundle reads news; empty columns say that there were none")
    try:
        return sorted_documents(check_news(news))
    except ValueError as error:
        raise Problem(422, "news", str(error).removeprefix("news: ")) from None


def _one_clock(bars: pd.DataFrame, news: pd.DataFrame) -> None:
    zones = [with_zones({}, *wall_clock(one["timestamp"], "bars"), "bars") for one in (bars, news)]
    try:
        check_one_clock(*zones)
    except ValueError as error:
        raise Problem(422, "news", str(error)) from None


def _date(text: str) -> np.datetime64:
    try:
        return without_zone(text, "at")
    except ValueError as error:
        raise Problem(422, "at", str(error).removeprefix("at ")) from None
