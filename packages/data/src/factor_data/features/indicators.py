"""The classic indicators, as expressions and scale free: prices over prices, volumes over volumes.

`INDICATORS` is the set: a name, and the expression that is its formula. An exponential average (EMA, Wilder's) weighs
the bars of the symbol as `exponential_mean` does: from the symbol's first bar, or the one after a missing value, on. So
it agrees with the usual recursive forms once their first value, which each library chooses otherwise, is forgotten.

Sources: Wilder (1978), New Concepts in Technical Trading Systems (RSI, ATR); Appel (2005), Technical Analysis (MACD);
Bollinger (2001), Bollinger on Bollinger Bands; Granville (1963) (OBV); KDJ as Chinese terminals draw it, (9, 3, 3).
"""

from __future__ import annotations

from factor_data.features.expressions import Expression

UP, DOWN = "Greater(Delta($close, 1), 0)", "Greater(-Delta($close, 1), 0)"
TRUE_RANGE = "(Greater($high, Ref($close, 1)) - Less($low, Ref($close, 1)))"
MACD = "(EMA($close, 12) - EMA($close, 26))"
BAND = "(2 * 0.95 ** 0.5 * Std($close, 20))"  # two population deviations of 20 bars
PLACE = "(100 * ($close - Min($low, 9)) / (Max($high, 9) - Min($low, 9)))"
K = f"Wilder({PLACE}, 3)"
D = f"Wilder({K}, 3)"

INDICATORS: dict[str, str] = {
    "rsi_6": f"100 * Wilder({UP}, 6) / (Wilder({UP}, 6) + Wilder({DOWN}, 6))",
    "rsi_14": f"100 * Wilder({UP}, 14) / (Wilder({UP}, 14) + Wilder({DOWN}, 14))",
    "macd": f"{MACD} / $close",
    "macd_signal": f"EMA({MACD}, 9) / $close",
    "macd_histogram": f"({MACD} - EMA({MACD}, 9)) / $close",
    "bollinger_place_20": f"0.5 + ($close - Mean($close, 20)) / (2 * {BAND})",
    "bollinger_width_20": f"2 * {BAND} / Mean($close, 20)",
    "atr_14": f"Wilder({TRUE_RANGE}, 14) / $close",
    "kdj_k": K,
    "kdj_d": D,
    "kdj_j": f"3 * {K} - 2 * {D}",
    "obv_20": "Sum(Sign(Delta($close, 1)) * $volume, 20) / Sum($volume, 20)",
    "volume_ratio_5": "$volume / Ref(Mean($volume, 5), 1)",
}

INDICATOR_FEATURES: dict[str, Expression] = {name: Expression(text) for name, text in INDICATORS.items()}
