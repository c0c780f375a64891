"""The panel: order, codes, adjustment, round trip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import Panel


def test_rows_are_sorted_by_symbol_then_time_whatever_the_order_of_the_frame(bars: pd.DataFrame) -> None:
    shuffled = Panel.from_frame(bars.sample(frac=1, random_state=1))
    expected = bars.sort_values(["symbol", "timestamp"], ignore_index=True)
    assert shuffled.symbol.tolist() == expected["symbol"].tolist()
    assert (shuffled.timestamp == expected["timestamp"].to_numpy().astype("datetime64[ns]")).all()
    np.testing.assert_array_equal(shuffled.columns["close"], expected["close"])


def test_starts_delimit_the_bars_of_each_symbol(panel: Panel) -> None:
    for code in range(panel.num_symbols):
        rows = slice(panel.starts[code], panel.starts[code + 1])
        assert (panel.symbol_code[rows] == code).all()
    assert panel.starts[-1] == panel.num_rows


def test_saved_and_loaded_panel_is_the_same_and_stays_on_disk(panel: Panel, tmp_path: Path) -> None:
    odd = panel.with_columns(**{"p/e ratio": np.arange(panel.num_rows, dtype=float)})
    odd.save(tmp_path / "panel")
    loaded = Panel.load(tmp_path / "panel")
    assert isinstance(loaded.columns["close"], np.memmap)
    pd.testing.assert_frame_equal(loaded.to_pandas(), odd.to_pandas())
    assert (loaded.dates == panel.dates).all()


def test_saving_twice_gives_the_same_bytes(panel: Panel, tmp_path: Path) -> None:
    for name in ("a", "b"):
        panel.save(tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_loading_a_folder_without_panel_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no saved panel"):
        Panel.load(tmp_path)


def test_adjusted_prices_and_volume_do_not_jump_at_a_split() -> None:
    frame = pd.DataFrame(
        {
            "timestamp": pd.to_datetime(["2020-01-01", "2020-01-02"]),
            "symbol": "A",
            "open": [20.0, 10.0],
            "high": [20.0, 10.0],
            "low": [20.0, 10.0],
            "close": [20.0, 10.0],
            "adj_close": [10.0, 10.0],
            "volume": [100.0, 200.0],
        }
    )
    split = Panel.from_frame(frame)
    assert split.adjusted("open").tolist() == [10.0, 10.0]
    assert split.adjusted("volume").tolist() == [200.0, 200.0]
    bare = Panel.from_frame(frame.drop(columns="adj_close"))
    assert bare.adjusted("close").tolist() == [20.0, 10.0]


def test_matrix_has_nan_exactly_where_there_is_no_bar(panel: Panel, bars: pd.DataFrame) -> None:
    expected = bars.pivot(index="timestamp", columns="symbol", values="close").to_numpy()
    np.testing.assert_array_equal(panel.to_matrix(panel.columns["close"]), expected)


def test_select_keeps_codes_and_compact_drops_what_is_empty(panel: Panel) -> None:
    kept = panel.select(panel.symbol_code == 2)
    assert kept.num_symbols == panel.num_symbols
    assert (kept.dates == panel.dates).all()
    small = kept.compact()
    assert small.symbols.tolist() == ["S2"]
    assert (small.timestamp == kept.timestamp).all()


@pytest.mark.parametrize("shift", [-3, -1, 0, 1, 2, 50])
def test_rows_at_finds_the_bar_that_many_calendar_positions_away(panel: Panel, shift: int) -> None:
    place = {(s, d): row for row, (s, d) in enumerate(zip(panel.symbol_code, panel.date_code, strict=True))}
    expected = [place.get((s, d + shift), -1) for s, d in zip(panel.symbol_code, panel.date_code, strict=True)]
    assert panel.rows_at(shift).tolist() == expected


def test_a_column_of_the_wrong_length_or_type_is_refused(panel: Panel) -> None:
    with pytest.raises(ValueError, match="must be float64"):
        panel.with_columns(extra=np.zeros(3))
    with pytest.raises(ValueError, match="must be float64"):
        panel.with_columns(extra=np.zeros(panel.num_rows, dtype=np.float32))


def test_duplicate_bars_are_refused(bars: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="unique"):
        Panel.from_frame(pd.concat([bars, bars.iloc[:1]]))
