"""The bundle that is served: loaded, swapped in one step, asked for forecasts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd

from factor_data import Panel
from factor_serve.arrivals import check_news, panel_of
from factor_serve.bundle import Bundle, BundleError, load_bundle
from factor_serve.canary import compare_canary
from factor_serve.forecaster import sorted_documents
from factor_serve.forecasts import forecast
from factor_serve.http.bodies import Request
from factor_serve.http.problems import Problem
from factor_serve.stamps import check_one_clock, wall_clock, with_zones, without_zone

SHOWN = ("promoted", "labels", "heads", "members", "columns", "inputs", "fold", "calendar", "weights", "versions")
"""Keys of the manifest that /info shows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """A bundle that has passed its canary, and when it was loaded."""

    bundle: Bundle
    loaded: float


class Service:
    """The bundle of a folder, or why there is none."""

    def __init__(self, folder: str | Path, unpromoted: bool = False) -> None:
        self.folder, self.unpromoted = Path(folder).absolute(), unpromoted
        self.served: Served | None = None
        self.why = "no bundle was loaded yet"
        self._loading = Lock()

    def load(self) -> Served:
        """Load the bundle of the folder and put it in the place of the one before, which stays where this fails.

        BundleError for one that cannot be read, is not promoted, or forecasts its canary otherwise than it did.
        """
        with self._loading:
            try:
                bundle = load_bundle(self.folder)
                self._check(bundle)
            except (ValueError, OSError) as error:
                self.why = self.shown(error)
                raise BundleError(str(error)) from None
            self.served = Served(bundle=bundle, loaded=time.time())
            return self.served

    def shown(self, error: Exception) -> str:
        """Return what a client may read of an error: not where on this machine the bundle lies, which the log has."""
        return str(error).replace(str(self.folder), "bundle")

    def _check(self, bundle: Bundle) -> None:
        if not bundle.promoted and not self.unpromoted:
            raise BundleError(f"{self.folder}: is not promoted: its stack has not passed its gates (--unpromoted)")
        for one in compare_canary(bundle):
            if not one.passed:
                raise BundleError(
                    f"{self.folder}: {one.model} forecasts the canary otherwise than it did: {one.num_missing} on one "
                    f"side only, largest difference {one.largest:.2g} deviations"
                )

    def current(self) -> Served:
        """Return the bundle that is served; Problem 503 where there is none."""
        if self.served is None:
            raise Problem(503, None, "no bundle is loaded", retry_after=10)
        return self.served

    def forecast(self, request: Request) -> tuple[pd.DataFrame, str]:
        """Return forecasts and the identity of the bundle that made them."""
        bundle = self.current().bundle
        panel = _panel(request.bars)
        news = _news(request.news, bundle)
        if news is not None and request.news is not None and bundle.one_clock:
            _one_clock(request.bars, request.news)
        dates = None if request.at is None else np.array([_date(request.at)])
        if dates is not None and dates[0] not in panel.dates:
            raise Problem(422, "at", f"the bars have no date {request.at}; the last one is {panel.dates[-1]!s:.19}")
        if request.model not in ("stack", "all", *bundle.members):
            raise Problem(422, "model", f"must be stack, all or one of {', '.join(bundle.members)}")
        try:
            return forecast(bundle, panel, news, dates, request.model), bundle.identity
        except ValueError as error:
            raise Problem(422, "bars", str(error)) from None

    def info(self) -> dict[str, Any]:
        """Return what a client may want to know of the bundle."""
        served = self.current()
        manifest = served.bundle.manifest
        return {
            "bundle": served.bundle.identity,
            "loaded": served.loaded,
            "reads_news": served.bundle.reads_news,
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
