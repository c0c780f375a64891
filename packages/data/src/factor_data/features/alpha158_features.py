"""Alpha158: the 158 price and volume features that Microsoft's qlib made a common benchmark, under its names.

Source of the formulas: qlib's Alpha158 configuration (Yang et al. 2020, arXiv:2009.11189): kbar, prices of the bar,
rolling windows. o, h, l, c, v, vwap are adjusted open, high, low, close, volume and volume-weighted price of bar t;
windows of 5, 10, 20, 30 and 60 bars end at t; e = 1e-12.

KMID (c-o)/o, KLEN (h-l)/o, KUP (h-max(o,c))/o, KLOW (min(o,c)-l)/o, KSFT (2c-h-l)/o; with a 2 over (h-l+e) instead
OPEN0 o/c, HIGH0 h/c, LOW0 l/c, VWAP0 vwap/c
ROC close w bars before / c · MA mean / c · STD sample standard deviation / c
BETA slope per bar / c, RSQR R^2, RESI last residual / c: least squares line through the closes of the window
MAX highest high / c · MIN lowest low / c · QTLU, QTLD 80 % and 20 % quantile of the close / c (linear)
RANK average rank of c in the window / w · RSV (c - lowest low) / (highest high - lowest low + e)
IMAX, IMIN place (1 = oldest) of the first highest high, lowest low / w · IMXD their difference
CORR correlation of close and log(v+1) · CORD of close ratio and log(volume ratio + 1)
CNTP, CNTN share of bars with a rising, falling close · CNTD their difference
SUMP, SUMN sum of rises, falls of the close / (sum of both + e) · SUMD their difference
VMA mean of v / (v+e) · VSTD sample standard deviation of v / (v+e)
WVMA standard deviation / (mean + e) of abs(return) * v · VSUMP, VSUMN, VSUMD as SUMP, SUMN, SUMD of the volume

Rules that are this project's own:

- Head: NaN until the window, with the bar before it where changes are taken, lies wholly in the symbol's history
  (qlib gives values of shorter windows).
- Gaps: windows count the symbol's own bars; a day without a bar does not count (qlib counts calendar days).
- Missing: a window with a missing or infinite value is NaN (qlib skips it).
- Constant windows: STD 0, RSQR, CORR and CORD NaN, exactly. (qlib: NaN below a deviation of 2e-5.)
- Zero volume at t: VMA and VSTD are NaN, not mean / 1e-12. A window that holds the bar after one has no CORD.
- vwap: see `volume_weighted_price`.

A value depends, bit for bit, on the bars of its window alone (`factor_data.features.nested`).
"""

from __future__ import annotations

from factor_data.features.alpha158_kernels import alpha158_rows
from factor_data.features.alpha158_names import ALPHA158_NAMES
from factor_data.features.alpha_inputs import fill_by_symbol
from factor_data.features.matrix import FeatureMatrix
from factor_data.panel.panel import Panel


def alpha158(panel: Panel, threads: int | None = None) -> FeatureMatrix:
    """Return the 158 features of every row, (num_rows, 158) float32, NaN = missing.

    Parameters
    ----------
    panel : bars; read are open, high, low, close, volume and, where they exist, vwap, amount and adj_close
    threads : how many symbols are computed at a time, None: one per CPU; the bits are the same for any number
    """
    values = fill_by_symbol(panel, alpha158_rows, len(ALPHA158_NAMES), threads)
    return FeatureMatrix(values=values, names=ALPHA158_NAMES, panel=panel)
