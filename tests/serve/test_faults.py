"""What a disk, a feed or a hand does wrong: nothing is corrupt afterwards, and nothing of it is silent."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import Panel
from factor_serve import Bundle, BundleError, Forecaster, forecast, load_bundle
from factor_serve.bundle import read_manifest, verify_files
from factor_serve.writing import read_forecasts, write_forecasts
from serve.bundle_samples import assert_equal_bits, change_manifest, news_between

pytestmark = pytest.mark.end_to_end
KILLS = 12
NOBODY = 65534


@pytest.fixture(scope="module")
def followed(bundle: Bundle, panel: Panel, news: pd.DataFrame) -> Forecaster:
    """A forecaster that knows all dates but the last."""
    frame, before = panel.to_pandas(), panel.dates[-2]
    forecaster = Forecaster(bundle)
    forecaster.update(frame[frame["timestamp"] <= before], news_between(news, None, before))
    return forecaster


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.folder, tmp_path / "bundle"))


def in_a_child(work: Callable[[], None], after: float | None = None) -> int:
    """Run something in a process of its own, killed `after` seconds; its exit status, 3 for an OSError."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except OSError:
            os._exit(3)
        finally:
            os._exit(1)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def for_ever(work: Callable[[], None]) -> Callable[[], None]:
    def again() -> None:
        while True:
            work()

    return again


@pytest.fixture(params=["state", "forecasts.parquet", "forecasts.csv"])
def target(request: pytest.FixtureRequest, followed: Forecaster, tmp_path: Path) -> tuple[Path, Callable[[], None]]:
    """A file that is written again and again, and how."""
    path = tmp_path / "there" / request.param
    path.parent.mkdir()
    frame = pd.DataFrame(
        {
            "timestamp": np.repeat(np.array(["2024-01-31"], dtype="datetime64[ns]"), 5000),
            "symbol": [f"S{number:04d}" for number in range(5000)],
            "label": "h1",
            "model": "stack",
            "prediction": np.arange(5000, dtype=np.float32),
        }
    )
    write = (lambda: followed.save(path)) if request.param == "state" else (lambda: write_forecasts(frame, path))
    return path, write


def whole(path: Path, bundle: Bundle, followed: Forecaster) -> None:
    """The file reads as what was written."""
    if path.name == "state":
        restored = Forecaster.restore(bundle, path)
        assert restored.state is not None
        assert followed.state is not None
        np.testing.assert_array_equal(restored.state.rows.inputs, followed.state.rows.inputs)  # type: ignore[arg-type]
        return
    assert len(read_forecasts(path)) == 5000


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_kill_while_it_is_written_leaves_the_old_file_or_the_new_one(
    target: tuple[Path, Callable[[], None]], bundle: Bundle, followed: Forecaster
) -> None:
    path, write = target
    write()
    for number in range(KILLS):
        status = in_a_child(for_ever(write), after=0.003 * (number + 1))
        assert os.WTERMSIG(status) == signal.SIGKILL
        whole(path, bundle, followed)
    write()
    whole(path, bundle, followed)
    assert [one.name for one in path.parent.iterdir()] == [path.name], "what the dead have left goes"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_full_disk_or_a_target_that_cannot_be_written_changes_nothing(
    fault: str, target: tuple[Path, Callable[[], None]], bundle: Bundle, followed: Forecaster
) -> None:
    path, write = target
    write()
    before = path.read_bytes()

    def limited() -> None:
        if fault == "full":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))
        elif os.getuid() == 0:
            os.setresuid(NOBODY, NOBODY, NOBODY)  # root may write anywhere
        write()

    path.parent.chmod(0o555)
    assert os.waitstatus_to_exitcode(in_a_child(limited)) == 3
    path.parent.chmod(0o755)
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    whole(path, bundle, followed)


def test_every_file_that_is_cut_edited_or_swapped_with_another_is_named(copy: Path) -> None:
    manifest = read_manifest(copy)
    names = sorted(manifest["files"])
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        path, content = copy / name, (copy / name).read_bytes()
        for changed in (content[: len(content) // 2], content[:-1] + bytes([content[-1] ^ 1]),
                        (copy / other).read_bytes()):  # fmt: skip
            if changed == content:
                continue
            path.write_bytes(changed)
            with pytest.raises(BundleError, match=f"{name} has other bytes"):
                verify_files(copy, manifest)
        path.write_bytes(content)
    verify_files(copy, manifest)


def test_features_or_inputs_in_another_order_are_refused(copy: Path, panel: Panel, news: pd.DataFrame) -> None:
    def swap(names: list[str]) -> None:
        names[0], names[1] = names[1], names[0]

    change_manifest(copy, lambda manifest: swap(manifest["features"]["computed"]))
    with pytest.raises(
        ValueError, match="the bars give other features than the bundle was made with, in another order"
    ):
        forecast(load_bundle(copy), panel, news)
    change_manifest(copy, lambda manifest: swap(manifest["features"]["computed"]))
    change_manifest(copy, lambda manifest: swap(manifest["heads"]))
    with pytest.raises(BundleError, match=r"models/\w+: heads is .*the member was fitted on other inputs"):
        load_bundle(copy)


def test_a_bundle_that_is_replaced_under_a_running_forecaster_does_not_reach_it(
    copy: Path, bundle: Bundle, panel: Panel, news: pd.DataFrame
) -> None:
    expected = forecast(bundle, panel, news, model="all")
    running = load_bundle(copy)
    for path in sorted(copy.rglob("*")):  # in place, as a careless copy does, then gone
        if path.is_file():
            path.write_bytes(b"other")
    shutil.rmtree(copy)
    pd.testing.assert_frame_equal(forecast(running, panel, news, model="all"), expected, check_exact=True)


def strangers(frame: pd.DataFrame, last: np.datetime64) -> pd.DataFrame:
    """Symbols that no training date had, with a history, and one that is listed on the last date."""
    twin = frame[frame["symbol"].isin(["S0003", "S0006"])].assign(symbol=lambda rows: "X" + rows["symbol"])
    listed = frame[(frame["symbol"] == "S0005") & (frame["timestamp"] == last)].assign(symbol="NEW")
    return pd.concat([frame, twin, listed], ignore_index=True)


def gone(frame: pd.DataFrame, last: np.datetime64) -> pd.DataFrame:
    """Two symbols without a bar on the last date."""
    return frame[~((frame["timestamp"] == last) & frame["symbol"].isin(["S0003", "S0004"]))]


def empty_bars(frame: pd.DataFrame, last: np.datetime64) -> pd.DataFrame:
    """Bars of the last date without prices, one without any number."""
    frame = frame.copy()
    at = frame["timestamp"] == last
    frame.loc[at & frame["symbol"].isin(["S0003", "S0004"]), ["open", "high", "low", "close", "adj_close"]] = np.nan
    frame.loc[at & (frame["symbol"] == "S0004"), "volume"] = np.nan
    return frame


@pytest.mark.parametrize("change", [strangers, gone, empty_bars])
def test_symbols_that_come_go_or_have_no_number_are_forecast_or_left_out_alike_in_batch_and_update(
    change: Callable[[pd.DataFrame, np.datetime64], pd.DataFrame], bundle: Bundle, panel: Panel, news: pd.DataFrame
) -> None:
    before, last = panel.dates[-2:]
    frame = change(panel.to_pandas(), last)
    batch = forecast(bundle, Panel.from_frame(frame), news, model="all")
    forecaster = Forecaster(bundle)
    forecaster.update(frame[frame["timestamp"] < last], news_between(news, None, before))
    said = forecaster.update(frame[frame["timestamp"] == last], news_between(news, before, last), "all")
    assert_equal_bits(said, batch)
    assert np.isfinite(said["prediction"]).all()
    known = set(said["symbol"])
    if change is strangers:
        assert {"XS0003", "XS0006"} <= known, "a stranger is forecast, as one"
        assert "NEW" not in known, "one bar is no history"
    else:
        assert not {"S0003", "S0004"} & known
        assert len(known) > 20, "the others are"


def test_clocks_that_jump_and_bars_that_come_twice_or_out_of_order(
    followed: Forecaster, bundle: Bundle, panel: Panel, news: pd.DataFrame
) -> None:
    frame, (before, last) = panel.to_pandas(), panel.dates[-2:]
    new = frame[frame["timestamp"] == last]
    day = np.timedelta64(1, "D")
    assert followed.state is not None
    state = followed.state
    for bars, rule in (
        (new.assign(timestamp=before), "are not after the last date"),
        (new.assign(timestamp=before - 400 * day), "are not after the last date"),
        (new.assign(timestamp=last + 400 * day), "gap: more than 5 expected dates"),
        (new.assign(timestamp=last + 36500 * day), "gap: more than 5 expected dates"),
        (new.assign(timestamp=pd.NaT), "timestamp"),
        (pd.concat([new, new]), "comes twice"),
        (new.assign(close=-np.inf), "close of S\\d+ at .* is infinite"),
        (new.iloc[:0], "there is no row"),
    ):
        with pytest.raises(ValueError, match=rule):
            followed.update(bars)
        assert followed.state is state, "nothing is changed"
    documents = news_between(news, before, last)
    shuffled = Forecaster(bundle)
    shuffled.state = state
    mixed = shuffled.update(new.sample(frac=1.0, random_state=3), documents, "all")
    straight = Forecaster(bundle)
    straight.state = state
    pd.testing.assert_frame_equal(mixed, straight.update(new, documents, "all"), check_exact=True)
    batch = forecast(bundle, Panel.from_frame(frame.sample(frac=1.0, random_state=4)), news, model="all")
    assert_equal_bits(mixed, batch)
