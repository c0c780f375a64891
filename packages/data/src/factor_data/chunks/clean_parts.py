"""Sorted bars in, a clean saved panel out: cleaning as a map over ranges of symbols."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from factor_data.chunks.sorting import SortedBars
from factor_data.chunks.workers import Workers
from factor_data.cleaning.apply import clean_symbols
from factor_data.cleaning.config import CleanRules
from factor_data.panel.markets import Markets, find_markets
from factor_data.panel.panel import Panel
from factor_data.panel.panel_writer import PanelWriter
from factor_data.quality.report import QualityReport


def clean_to_folder(
    bars: SortedBars, directory: str | Path, rules: CleanRules, workers: Workers, markets: Markets | None = None
) -> QualityReport:
    """Clean bars part by part and save the panel, the same bytes as `clean_bars(panel)[0].save(directory)`.

    Parameters
    ----------
    markets : on whose dates the gaps of a symbol are counted; None: found

    Returns
    -------
    the report on all bars. On an error nothing is left in `directory`.
    """
    parts = bars.parts(workers.rows(bars.row_bytes))
    markets = find_markets(bars.rows) if markets is None else markets
    report: QualityReport | None = None
    with PanelWriter(directory, compact=True) as writer:
        for panel, found in workers.map(partial(_read_and_clean, bars, rules, markets), parts):
            writer.append(panel)
            report = found if report is None else QualityReport.merge([report, found])
        assert report is not None
        report.check_not_empty()
    return report


def _read_and_clean(
    bars: SortedBars, rules: CleanRules, markets: Markets, symbols: tuple[int, int]
) -> tuple[Panel, QualityReport]:
    return clean_symbols(replace(bars.read(symbols), known_markets=markets), rules, bars.facts)
