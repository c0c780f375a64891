"""The names of the normalisers, for those who only check a name: nothing that is compiled is loaded with them."""

from __future__ import annotations

from typing import Literal

NormaliserKind = Literal["robust_zscore", "zscore", "rank", "rank_gauss", "quantile_gauss"]
SCALED_KINDS = ("robust_zscore", "zscore")
RANK_KINDS = ("rank", "rank_gauss")
