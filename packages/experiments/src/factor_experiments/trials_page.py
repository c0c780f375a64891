"""The verdict over all trials as one HTML page that opens offline."""

from __future__ import annotations

import numpy as np

from factor_experiments.compare_text import chance
from factor_experiments.gathering import Gathered
from factor_experiments.trials import Verdict
from factor_experiments.trials_text import HEAD, count_lines, rows
from factor_metrics.report.charts import Line, time_chart
from factor_metrics.report.page import page_of
from factor_metrics.report.tables import facts_html, num, table, tr
from factor_metrics.report.text import esc, number, percent
from factor_metrics.report.views import Section
from factor_metrics.report.words import Tone

TONES: dict[str, Tone] = {"survives": "pass", "luck": "fail", "undefined": "warn"}


def trials_page(gathered: Gathered, verdict: Verdict) -> str:
    """Return the page; the same ledger always gives the same bytes."""
    return page_of(
        [_corrections(verdict), _luck(verdict), _counts(gathered, verdict), _table(verdict)],
        title=f"All trials at {verdict.label}",
        subtitle=f"{verdict.num_trials} looks, {verdict.num_dates} dates",
        tone=TONES[verdict.finding],
        text=verdict.sentence,
        summary="A trial is an evaluation that somebody may have looked at and chosen by. The best of many looks good "
        "by chance alone; here it is judged as the best of all that were made.",
    )


def _corrections(verdict: Verdict) -> Section:
    facts = {
        "Best trial": verdict.best,
        "Its mean rank IC": number(verdict.rank_ic),
        "Expected of luck alone": number(verdict.luck),
        "Two-sided p as if it were the only one": chance(verdict.naive_p_value),
        "One-sided p corrected for all looks": chance(verdict.corrected_p_value),
        "Deflated Sharpe ratio": number(verdict.deflated_sharpe, 3, sign=False),
        "Probability of overfitting": percent(verdict.overfitting),
        "p against the best floor (Hansen)": chance(verdict.floor_p_value),
        "p against the best floor (White)": chance(verdict.reality_check_p_value),
        "Looks": f"{verdict.num_trials}, worth {verdict.effective_trials:.0f}",
    }
    note = (
        "Corrected p, one-sided, so with few looks it may lie below the two-sided p of the best alone: Hansen's test "
        "that no judged trial is better than nothing, by a block bootstrap of all of them "
        "together, and Sidak's correction for looks that cannot be judged. Deflated Sharpe ratio: after Bailey and "
        "Lopez de Prado, with the number of looks that the trials are worth, which is the number of groups whose daily "
        "rank ICs correlate by .5 or more. A trial survives with a corrected p of at most .05 and a deflated Sharpe "
        "ratio of at least .95."
    )
    return Section(
        key="corrections", heading="What survives", body=f'<p class="note">{esc(note)}</p>{facts_html(facts)}'
    )


def _luck(verdict: Verdict) -> Section:
    path = verdict.path
    chart = time_chart(
        "chart-luck",
        "Best mean rank IC so far against what the best of as many trials without skill would show",
        [str(time)[:19] for time in path["time"]],
        [
            Line(name="best so far", values=np.asarray(path["best"], dtype=float), tone="s0"),
            Line(name="luck alone", values=np.asarray(path["luck"], dtype=float), tone="muted dash"),
            Line(name="each trial", values=np.asarray(path["rank_ic"], dtype=float), tone="s1"),
        ],
    )
    note = (
        "Trials from left to right in the order of time. Luck: the mean that the best of so many looks without skill, "
        "those that cannot be judged among them, is expected to show, from the standard error of the means."
    )
    return Section(
        key="luck",
        heading="Best so far against luck",
        body=f'<p class="note">{esc(note)}</p>{chart.html}',
        charts=[chart],
    )


def _counts(gathered: Gathered, verdict: Verdict) -> Section:
    lines = [*count_lines(gathered, verdict), *(f"May be missing: {why}." for why in gathered.missing)]
    body = "".join(f"<li>{esc(line)}</li>" for line in lines)
    return Section(key="counts", heading="What was counted", body=f"<ul>{body}</ul>")


def _table(verdict: Verdict) -> Section:
    body = [tr(esc(name), [num(esc(cell)) for cell in cells]) for name, *cells in rows(verdict)]
    return Section(key="trials", heading="Trials", body=table(HEAD, body))
