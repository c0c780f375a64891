"""Which rows are fitted on, and which forecast, block of dates by block."""

from __future__ import annotations

import numpy as np
import pytest

from factor_models import cross_fit_rows


@pytest.mark.parametrize("gap", [0, 6])
def test_each_row_is_forecast_once_by_a_fit_that_is_a_gap_away(gap: int) -> None:
    date_code = np.random.default_rng(0).permutation(np.repeat(np.r_[10:40, 55:95], 3))
    times = np.zeros(len(date_code), dtype=int)
    for fitted, taught in cross_fit_rows(date_code, blocks=5, gap=gap):
        times += taught
        apart = np.abs(date_code[fitted][:, None] - date_code[taught][None])
        assert apart.min() > gap
        nearest = np.abs(date_code[~fitted & ~taught][:, None] - date_code[taught][None]).min(axis=1)
        assert (nearest <= gap).all()
    assert (times == 1).all()


def test_blocks_that_leave_nothing_to_fit_on_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^blocks = 2: 20 dates leave none to fit on, 15 dates away"):
        list(cross_fit_rows(np.arange(20), blocks=2, gap=15))
