"""Forecasts in memory, date by date: the bits of a batch; what would change the past is refused and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import FEATURES, MarketConfig, Panel, plan_features, simulate_market
from factor_serve import ArrivalRules, Bundle, Forecaster, forecast, load_bundle
from factor_serve.averages import averages_of, kept_of
from factor_serve.memory import feature_bars, source_bars
from serve.bundle_samples import assert_equal_bits, change_manifest, news_between, update_date_by_date

pytestmark = [pytest.mark.end_to_end, pytest.mark.numeric]


def odd_market(panel: Panel) -> pd.DataFrame:
    """Bars that come and go: listings, delistings, halts, missing and impossible values, jumps, prices that stand."""
    frame = panel.to_pandas()
    dates, symbol = panel.dates, frame["symbol"]
    when = np.searchsorted(dates, frame["timestamp"].to_numpy())
    last = len(dates) - 1
    gone = (symbol == "S0000") & (when > last - 6)
    gone |= (symbol == "S0001") & (when < last - 70)  # gets its history while it is followed
    gone |= (symbol == "S0002") & (when < last - 4)  # listed while it is followed
    gone |= (symbol == "S0003") & (when > last - 9) & (when < last - 3)  # halted, and back
    frame.loc[(symbol == "S0004") & (when >= last - 5), "close"] = np.nan  # no bar is left of them
    frame.loc[(symbol == "S0005") & (when % 3 == 0), ["high", "open"]] = np.nan
    frame.loc[(symbol == "S0006") & (when > last - 30), "volume"] = 0.0
    frame.loc[(symbol == "S0007") & (when == last - 3), ["open", "high", "low", "close"]] *= 2.0
    frame.loc[(symbol == "S0008") & (when > last - 15), ["open", "high", "low", "close", "adj_close"]] = 10.0
    return frame[~gone].reset_index(drop=True)


@pytest.mark.parametrize(("make", "num_dates"), [(Panel.to_pandas, 6), (odd_market, 11)])  # all of what is odd
def test_updates_have_the_bits_of_a_batch_also_after_a_restart(
    make: Callable[[Panel], pd.DataFrame],
    num_dates: int,
    bundle: Bundle,
    panel: Panel,
    news: pd.DataFrame,
    tmp_path: Path,
) -> None:
    bars = Panel.from_frame(make(panel))
    dates = bars.dates[-num_dates:]
    batch = forecast(bundle, bars, news, dates, "all")
    assert_equal_bits(update_date_by_date(bundle, bars, news, dates), batch)
    frame, before = bars.to_pandas(), None
    said = []
    for number, date in enumerate(dates):  # ended and started again between any two dates
        chosen = frame["timestamp"] == date if number else frame["timestamp"] <= date
        forecaster = Forecaster.restore(bundle, tmp_path / "state") if number else Forecaster(bundle)
        said.append(forecaster.update(frame[chosen], news_between(news, before, date), "all"))
        forecaster.save(tmp_path / "state")
        before = date
    assert_equal_bits(pd.concat(said), batch)


def test_several_dates_at_once_are_the_same_as_one_after_the_other_and_little_is_kept(
    bundle: Bundle, panel: Panel, news: pd.DataFrame
) -> None:
    frame, dates = panel.to_pandas(), panel.dates[-5:]
    forecaster = Forecaster(bundle)
    forecaster.update(frame[frame["timestamp"] < dates[0]], news)  # news of dates to come wait
    said = forecaster.update(frame[frame["timestamp"] >= dates[0]], None, "all")
    assert_equal_bits(said, forecast(bundle, panel, news, dates, "all"))
    assert forecaster.memory is not None
    assert forecaster.state is not None
    assert np.bincount(forecaster.state.bars.symbol_code).max() <= forecaster.memory < 100
    assert forecaster.last == panel.dates[-1]


def test_what_would_change_the_past_is_refused_by_name_and_changes_nothing(
    bundle: Bundle, panel: Panel, news: pd.DataFrame
) -> None:
    frame, dates = panel.to_pandas(), panel.dates[-2:]
    forecaster = Forecaster(bundle)
    forecaster.update(frame[frame["timestamp"] < dates[0]], news_between(news, None, panel.dates[-3]))
    new = frame[frame["timestamp"] == dates[0]]
    documents = news_between(news, panel.dates[-3], dates[0])
    late = pd.DataFrame({"timestamp": [panel.dates[-10]], "symbol": ["S0003"], "text": ["late"]})
    infinite = new.assign(close=np.where(new["symbol"] == "S0005", np.inf, new["close"]))
    for bars, more, rule in (
        (frame[frame["timestamp"] == panel.dates[-3]], None, "are not after the last date"),
        (frame[frame["timestamp"] >= panel.dates[-4]], None, "are not after the last date"),
        (new.assign(timestamp=new["timestamp"] + np.timedelta64(30, "D")), None, "gap: more than 5 expected dates"),
        (pd.concat([new, new.head(1)]), None, "S0000 at .* comes twice"),
        (infinite, None, "close of S0005 at .* is infinite"),
        (new.drop(columns="adj_close"), None, "no column 'adj_close'"),
        (new.drop(columns="symbol"), None, "column 'symbol' is missing"),
        (new.head(5), None, "have 5 symbols, the date before had .*not delivered whole"),
        (new, late, "late news: 1 documents .* first of S0003"),
        (new, late.assign(text=[None]), "news: text must be text, row 0 has None"),
        (new, late.assign(symbol=[None]), "news: symbol must be text, row 0 has None"),
        (new.assign(in_universe=0.0), None, "column 'in_universe' must be in all bars, the history too, or in none"),
    ):
        with pytest.raises(ValueError, match=rule):
            forecaster.update(bars, more)
    said = forecaster.update(new, documents, "all")
    assert_equal_bits(said, forecast(bundle, panel, news, dates[:1], "all"))
    lenient = Forecaster(bundle, ArrivalRules(max_gap=60, least_share=0.0))
    lenient.update(frame[frame["timestamp"] < dates[0]], news)
    moved = new.head(5).assign(timestamp=new["timestamp"] + np.timedelta64(30, "D"))
    assert set(lenient.update(moved)["symbol"]) <= set(moved["symbol"])


def test_a_first_value_of_a_column_is_refused_since_earlier_bars_would_be_cleaned_otherwise(
    bundle: Bundle, panel: Panel, news: pd.DataFrame
) -> None:
    frame, last = panel.to_pandas(), panel.dates[-1]
    frame.loc[frame["timestamp"] < last, "volume"] = 0.0
    forecaster = Forecaster(bundle)
    forecaster.update(frame[frame["timestamp"] < last], news)
    with pytest.raises(ValueError, match=r"volume has a value on .* and had none before"):
        forecaster.update(frame[frame["timestamp"] == last])


def test_a_state_that_is_damaged_or_of_another_bundle_is_refused_and_a_failed_save_leaves_the_old_one(
    bundle: Bundle, panel: Panel, news: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    forecaster = Forecaster(bundle)
    with pytest.raises(ValueError, match="there is no state to save"):
        forecaster.save(path)
    forecaster.update(panel, news)
    forecaster.save(path)
    whole = path.read_bytes()

    def fail(file: object, **arrays: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", fail)
        with pytest.raises(OSError, match="No space left"):
            forecaster.save(path)
    assert path.read_bytes() == whole
    assert [one.name for one in tmp_path.iterdir()] == ["state"]
    generator = np.random.default_rng(0)
    places = [(place, 0xFF) for place in [*generator.integers(0, len(whole), 40).tolist(), len(whole) - 1]]
    directory = whole.index(b"PK\x01\x02")  # 8 bytes behind it the flags, 10 the way of compression
    places += [(directory + 8, 0x01), (directory + 8, 0x20), (directory + 10, 0x08), (directory + 10, 0x40)]
    header = whole.index(b"\x93NUMPY")  # and what numpy reads as a literal of Python
    places += [(header + place, bit) for place in range(64) for bit in (0x01, 0x08)]
    for place, bits in places:
        changed = bytearray(whole)
        changed[place] ^= bits
        path.write_bytes(bytes(changed))
        try:
            restored = Forecaster.restore(bundle, path)
        except ValueError:
            continue
        assert restored.state is not None  # a byte between the members of the archive, which nothing reads
        np.testing.assert_array_equal(restored.state.rows.inputs, forecaster.state.rows.inputs)  # type: ignore[union-attr]
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="holds no whole state"):
        Forecaster.restore(bundle, path)
    path.write_bytes(whole)
    import shutil

    other = shutil.copytree(bundle.folder, tmp_path / "other")
    change_manifest(other, lambda manifest: manifest.update(why="another"))
    with pytest.raises(ValueError, match="is the state of the bundle"):
        Forecaster.restore(load_bundle(other), path)


def test_so_many_bars_are_kept_that_every_feature_of_the_table_has_its_bits(panel: Panel) -> None:
    """On bars with gaps and missing values, which are not those that the count was found on."""
    damaged = panel.with_columns(
        **{name: np.where(np.arange(panel.num_rows) % 97 == place, np.nan, panel.columns[name])
           for place, name in enumerate(("open", "high", "low", "close", "volume"))}
    )  # fmt: skip
    plan = plan_features(tuple(FEATURES), panel.symbols)
    bars = feature_bars(plan)
    assert bars is not None
    last = panel.starts[1:] - 1
    from_end = np.repeat(last, np.diff(panel.starts)) - np.arange(panel.num_rows)
    tail = damaged.select(from_end < bars)
    whole, short = plan.symbol_values(damaged)[last], plan.symbol_values(tail)[tail.starts[1:] - 1]
    np.testing.assert_array_equal(whole.view(np.uint32), short.view(np.uint32))
    for name in FEATURES:
        one = plan_features((name,), panel.symbols)
        needed = feature_bars(one)
        assert needed is not None
        short = one.symbol_values(damaged.select(from_end < needed))
        cut = damaged.select(from_end < needed)
        np.testing.assert_array_equal(short[cut.starts[1:] - 1], one.symbol_values(damaged)[last], err_msg=name)


def test_of_a_long_memory_its_window_is_kept_and_no_more() -> None:
    panel = Panel.from_frame(simulate_market(MarketConfig(symbols=10, bars=900)).bars)
    last = panel.starts[1:] - 1
    from_end = np.repeat(last, np.diff(panel.starts)) - np.arange(panel.num_rows)
    assert np.diff(panel.starts).max() > 800
    for name, window in (("close_location_memory_80", 640), ("return_1_memory_80", 641), ("return_1_memory_5", 41)):
        plan = plan_features((name,), panel.symbols)
        assert feature_bars(plan) == window
        for bars, same in ((window, True), (window - 1, False)):
            cut = panel.select(from_end < bars)
            short, whole = plan.symbol_values(cut)[cut.starts[1:] - 1], plan.symbol_values(panel)[last]
            assert np.array_equal(short, whole, equal_nan=True) == same, (name, bars)


def test_averages_over_a_long_memory_have_their_bits_when_what_they_average_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over more dates than there is room for, with bars and values that lack, a late listing and restarts."""
    monkeypatch.setattr("factor_serve.averages.ROOM", 16)
    bars = simulate_market(MarketConfig(symbols=10, bars=720)).bars
    when = np.searchsorted(np.unique(bars["timestamp"]), bars["timestamp"])
    bars.loc[when % 41 == 7, "high"] = np.nan  # no close location
    halted = (bars["symbol"] == "S0001") & (when % 5 == 0)
    panel = Panel.from_frame(bars[~halted & ~((bars["symbol"] == "S0002") & (when < 690))])
    plan = plan_features(("memory", "return_5", "overnight_gap"), panel.symbols)
    averages = averages_of(plan)
    assert averages is not None
    assert set(range(len(plan.symbol_names))) - set(averages.places) == {plan.symbol_names.index("return_5")}
    assert averages.half_lives.count(None) == 1, "overnight_gap is itself what is averaged"
    expected = plan.symbol_values(panel)[:, averages.places]
    assert np.isnan(expected).any()
    kept = averages.of_history(panel.select(panel.date_code < 660))
    for date in range(660, 720):
        known = panel.select(panel.date_code <= date)
        new = panel.symbol_code[panel.date_code == date]
        kept = averages.with_newest(kept, known, new, source_bars(averages))
        if date % 7 == 0:
            kept = kept_of(*kept.whole(), kept.window)
        said = averages.newest(kept, plan, known, new)
        np.testing.assert_array_equal(said.view(np.uint32), expected[panel.date_code == date].view(np.uint32))


@pytest.mark.parametrize(("name", "window"), [("rsi_14", 219), ("macd_signal", 282), ("macd_histogram", 282)])
def test_an_average_that_fades_is_counted_to_its_last_weight(name: str, window: int) -> None:
    """ceil(log 1e-7 / log(1 - share)) bars: 218 of 1/14 and the bar before; 210 of 2/27 and 73 of 2/10, less one."""
    assert feature_bars(plan_features((name,), np.array(["A"]))) == window


def test_a_long_text_that_waits_takes_its_own_room_in_a_state_and_no_more(
    bundle: Bundle, panel: Panel, news: pd.DataFrame, tmp_path: Path
) -> None:
    later = panel.dates[-1] + np.timedelta64(9, "D")
    texts = ["x" * 200_000 + "\0", *("short \N{GREEK SMALL LETTER MU}" for _ in range(99))]
    waiting = pd.DataFrame({"timestamp": later, "symbol": "S0003", "text": texts})
    forecaster = Forecaster(bundle)
    forecaster.update(panel, pd.concat([news, waiting]))
    forecaster.save(tmp_path / "state")
    assert (tmp_path / "state").stat().st_size < 2_000_000
    restored = Forecaster.restore(bundle, tmp_path / "state")
    assert restored.state is not None
    assert forecaster.state is not None
    pd.testing.assert_frame_equal(restored.state.news, forecaster.state.news)
    assert restored.state.news["text"].tolist()[-100:] == texts


def test_news_that_wait_for_their_date_are_not_taken_twice(bundle: Bundle, panel: Panel, news: pd.DataFrame) -> None:
    frame, (before, last) = panel.to_pandas(), panel.dates[-2:]
    forecaster = Forecaster(bundle)
    forecaster.update(frame[frame["timestamp"] < last], news)
    waiting = news_between(news, before, last)
    assert waiting is not None
    assert len(waiting)
    with pytest.raises(ValueError, match=rf"news: {len(waiting)} documents were given before, first of S"):
        forecaster.update(frame[frame["timestamp"] == last], waiting)
    said = forecaster.update(frame[frame["timestamp"] == last], None, "all")
    assert_equal_bits(said, forecast(bundle, panel, news, None, "all"))
