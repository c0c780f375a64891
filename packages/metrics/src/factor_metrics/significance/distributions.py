"""The few distribution functions that significance needs: normal and Student's t, to about 1e-13 relative.

Beside them skewness and kurtosis: how far a series is from normal.
The package stands on numpy and numba alone; the tests hold these functions against scipy.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import as_series
from factor_metrics.dispersion import no_dispersion, rounding_of

_STANDARD_NORMAL = NormalDist()
_EXPANSION_FROM = 1e4  # degrees of freedom from which the expansion is used where its terms fall fast enough
_LARGEST_EXPONENT = 709.0
_MAX_STEPS = 200


def normal_cdf(x: float) -> float:
    """Return the standard normal distribution function; relative accuracy holds in the lower tail as well."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def normal_quantile(probability: float) -> float:
    """Return the standard normal quantile; -inf at 0, inf at 1, ValueError outside of [0, 1].

    Wichura (1988), algorithm AS 241, as in the standard library.
    """
    _check_probability(probability)
    if probability in (0.0, 1.0):
        return math.inf if probability else -math.inf
    return _STANDARD_NORMAL.inv_cdf(probability)


@lru_cache(maxsize=1024)
def student_t_quantile(probability: float, degrees: float) -> float:
    """Return the quantile of Student's t with `degrees` > 0 degrees of freedom, not necessarily whole.

    -inf at 0, inf at 1; exactly odd about 1/2. Solved by Newton steps on the logarithm of the incomplete beta
    function (continued fraction); with many degrees by the expansion about the normal quantile, Abramowitz and
    Stegun (1964), 26.7.5, whose fifth term is then below 1e-13. -inf where the quantile exceeds a float.
    """
    _check_probability(probability)
    if not degrees > 0.0:
        raise ValueError(f"degrees must be above 0, got {degrees!r}")
    if probability == 0.5:
        return 0.0
    if probability > 0.5:
        return -student_t_quantile(1.0 - probability, degrees)
    if probability == 0.0:
        return -math.inf
    normal = normal_quantile(probability)
    if degrees >= _EXPANSION_FROM and (normal**2 + 10.0) / degrees < 0.01:
        return _expansion(normal, degrees)
    log_t = _solve_log_t(probability, degrees)
    return -math.exp(log_t) if log_t < _LARGEST_EXPONENT else -math.inf


def student_t_two_sided(t: float, degrees: float) -> float:
    """Return P(|T| > |t|) under Student's t with `degrees` > 0 degrees of freedom; 0 below the smallest float."""
    return math.exp(_log_tails(t, degrees))


def normal_equivalent(t: float, degrees: float) -> float:
    """Return the normal number that is as unlikely as `t` is under Student's t, with its sign.

    It says to somebody who knows 1.96 and 3 what `t` says; with many degrees of freedom it is `t`.
    """
    log_tails = _log_tails(t, degrees)
    if log_tails > -600.0:
        return math.copysign(-normal_quantile(math.exp(log_tails) / 2.0), t)
    # Far out the normal tail is exp(-z^2 / 2) / (z sqrt(2 pi)) to a share of 1 / z^2.
    log_tail, z = log_tails - math.log(2.0), math.sqrt(-2.0 * log_tails)
    for _ in range(5):
        z = math.sqrt(-2.0 * (log_tail + math.log(z) + 0.5 * math.log(2.0 * math.pi)))
    return math.copysign(z, t)


def _log_tails(t: float, degrees: float) -> float:
    if not degrees > 0.0:
        raise ValueError(f"degrees must be above 0, got {degrees!r}")
    if math.isnan(t):
        return math.nan
    return 0.0 if t == 0.0 else _log_two_sided(math.log(abs(t)), degrees, central=False)[0]


def moments(returns: ArrayLike) -> tuple[float, float]:
    """Return (skewness, kurtosis), population moments, normal = (0, 3); NaN without dispersion (`dispersion`).

    `returns` is (num_dates,); NaN dates are dropped.
    """
    values = as_series("returns", returns)
    values = values[~np.isnan(values)]
    if no_dispersion(values, rounding=rounding_of(returns)):
        return math.nan, math.nan
    deviation = values - values.mean()
    deviation /= np.abs(deviation).max()
    variance = float(np.square(deviation).mean())
    skewness = float((deviation**3).mean()) / variance**1.5
    return skewness, float((deviation**4).mean()) / variance**2


def _solve_log_t(tail: float, degrees: float) -> float:
    """Return u with P(T > exp(u)) = tail, 0 < tail < 1/2.

    Near the median the central probability is matched, else the tail: both keep all digits there. Their
    logarithms are concave in u, so Newton's steps approach from one side and cannot oscillate.
    """
    central = tail > 0.25
    wanted = math.log(1.0 - 2.0 * tail if central else 2.0 * tail)
    u = math.log(max(-normal_quantile(tail), 1e-300))
    if not central:
        u = max(u, -math.log(tail) / degrees if degrees < 2.0 else u)
    for _ in range(_MAX_STEPS):
        log_value, slope = _log_two_sided(u, degrees, central)
        step = (log_value - wanted) / slope
        u -= min(max(step, -30.0), 30.0)
        if abs(step) < 1e-15 * max(1.0, abs(u)):
            break
    return u


def _log_two_sided(u: float, degrees: float, central: bool) -> tuple[float, float]:
    """Return log P(|T| < e^u) (central) or log P(|T| > e^u), and its derivative by u."""
    half = degrees / 2.0
    log_odds = 2.0 * u - math.log(degrees)  # t^2 / degrees
    log_outer = -_log1p_exp(log_odds)  # degrees / (degrees + t^2)
    log_inner = log_odds + log_outer  # t^2 / (degrees + t^2)
    log_power = half * log_outer + 0.5 * log_inner - _log_beta_half(half)
    outer = math.exp(log_outer)
    if outer < (half + 1.0) / (half + 2.5):
        log_tail = log_power + math.log(_continued_fraction(half, 0.5, outer) / half)
        log_central = math.log(-math.expm1(log_tail)) if central else 0.0
    else:
        log_central = log_power + math.log(2.0 * _continued_fraction(0.5, half, math.exp(log_inner)))
        log_tail = 0.0 if central else math.log(-math.expm1(log_central))
    # d P(|T| < e^u) / du = 2 t density(t) = 2 exp(log_power)
    density = math.log(2.0) + log_power
    if central:
        return log_central, math.exp(density - log_central)
    return log_tail, -math.exp(density - log_tail)


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta (Lentz), convergent for x < (a + 1) / (a + b + 2).

    I_x(a, b) = x^a (1 - x)^b / (a B(a, b)) times the value: Abramowitz and Stegun (1964), 26.5.8.
    """
    tiny = 1e-300
    c, d = 1.0, 1.0 / _nonzero(1.0 - (a + b) * x / (a + 1.0), tiny)
    value = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        d, c = 1.0 / _nonzero(1.0 + even * d, tiny), _nonzero(1.0 + even / c, tiny)
        value *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        d, c = 1.0 / _nonzero(1.0 + odd * d, tiny), _nonzero(1.0 + odd / c, tiny)
        value *= d * c
        if abs(d * c - 1.0) < 3e-16:
            break
    return value


def _log_beta_half(a: float) -> float:
    """Return log B(a, 1/2) without the cancellation of two large log-gammas.

    Gamma(a + 1/2) / Gamma(a) = sqrt(a) (1 - 1/(8a) + 1/(128 a^2) + ...), Tricomi and Erdelyi (1951).
    """
    if a < 40.0:
        return math.lgamma(a) + math.lgamma(0.5) - math.lgamma(a + 0.5)
    terms = (-1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144, 869 / 4194304)
    series = sum(term / a ** (power + 1) for power, term in enumerate(terms))
    return 0.5 * math.log(math.pi) - 0.5 * math.log(a) - math.log1p(series)


def _expansion(z: float, degrees: float) -> float:
    g1 = (z**3 + z) / 4.0
    g2 = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    g3 = (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0
    g4 = (79.0 * z**9 + 776.0 * z**7 + 1482.0 * z**5 - 1920.0 * z**3 - 945.0 * z) / 92160.0
    return z + g1 / degrees + g2 / degrees**2 + g3 / degrees**3 + g4 / degrees**4


def _log1p_exp(x: float) -> float:
    return x + math.log1p(math.exp(-x)) if x > 0.0 else math.log1p(math.exp(x))


def _nonzero(x: float, tiny: float) -> float:
    return x if abs(x) > tiny else tiny


def _check_probability(probability: float) -> None:
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"probability must be from 0 to 1, got {probability!r}")
