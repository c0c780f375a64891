"""Forecasts in the shadow: what changed is noticed in time, what did not is left alone, the log is whole or refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from checkout import Checkout
from factor_data import Panel
from factor_metrics import rank_ic
from factor_serve import Bundle, forecast
from factor_serve.cli import main
from factor_serve.shadow.judge import Rules, judge, paired, reference_of
from factor_serve.shadow.log import Log, append, held, read_log
from factor_serve.shadow.observe import tenths
from factor_serve.shadow.page import shadow_page
from factor_serve.shadow.watch import Expected, watch
from serve.shadow_samples import DECILES, SYMBOLS, expected_of, forecast_record, label_record, log_of, market, reference

NUM_DATES, NUM_BEFORE = 250, 250


@pytest.mark.parametrize(("horizon", "correlation", "noticed"), [(1, 0.1, 30), (5, 0.2, 25)])
def test_a_market_that_changes_its_sign_is_noticed_in_time_and_one_that_does_not_is_left_alone(
    horizon: int, correlation: float, noticed: int
) -> None:
    generator = np.random.default_rng(horizon)
    false_alarms, unknown = 0, 0
    delays: list[float] = []
    for _ in range(100):
        said, came = market(generator, NUM_BEFORE + NUM_DATES + 20, correlation, horizon)
        expected = expected_of(said[:NUM_BEFORE], came[:NUM_BEFORE], horizon)
        if not expected.is_known:
            unknown += 1
            continue
        ics = rank_ic(said, came)[NUM_BEFORE + 20 :]
        half = NUM_DATES // 2
        false_alarms += watch(ics, expected).alarm is not None
        alarm = watch(np.r_[ics[:half], -ics[half:]], expected).alarm
        delays.append(np.inf if alarm is None else alarm - half)
    assert unknown <= 5
    assert false_alarms <= 5
    assert np.quantile(delays, 0.95) <= noticed


def test_the_sum_is_pages_and_its_threshold_siegmunds() -> None:
    expected = Expected(mean=0.12, standard_error=0.01, num_dates=100, low=0.1, high=0.14)
    found = watch([0.1, -0.1, np.nan, 0.3, -0.5], expected)
    np.testing.assert_allclose(found.step, 0.5)
    np.testing.assert_allclose(found.sums, [0.0, 1.5, np.nan, 0.0, 5.5], atol=1e-12)
    exponent = 2.0 * found.step * found.threshold
    np.testing.assert_allclose(np.expm1(exponent) - exponent, 2.0 * found.step**2 * 20_000)
    generator = np.random.default_rng(0)
    waits = [watch(0.1 + 0.1 * generator.standard_normal(2_000), expected, every=500).alarm for _ in range(60)]
    assert np.mean([2_000 if wait is None else wait for wait in waits]) > 500  # single steps make it rarer still
    assert not watch([0.1], Expected(mean=0.1, standard_error=0.1, num_dates=9, low=-0.1, high=0.3)).threshold > 0.0


def test_inputs_that_move_and_forecasts_that_fail_alarm_by_name() -> None:
    generator = np.random.default_rng(0)
    said, came = market(generator, 60, 0.3, 1)
    expected = expected_of(said, came, 1)
    fine = judge(log_of(said, came), reference(expected))
    assert {one.name: one.state for one in fine.findings} == dict.fromkeys(
        ("coverage", "activation", "normal output", "drift", "rank IC h"), "ok"
    )
    nothing, same = [None] * len(SYMBOLS), {name: {"h": [len(SYMBOLS), 0.0]} for name in ("linear", "stack")}
    wild = {name: {"h": [len(SYMBOLS), 100.0]} for name in ("linear", "stack")}
    moved = {"one": tenths(2.0 + said[0], DECILES).tolist()}
    for changes, alarms in (
        ({"forecasts": {"h": nothing}}, {"coverage"}),
        ({"models": same}, {"activation", "normal output"}),
        ({"models": {"linear": {}, "stack": {}}}, {"activation"}),
        ({"models": wild}, {"normal output"}),
        ({"inputs": moved}, {"drift"}),
    ):
        log = log_of(said[:40], came[:40])
        for number in range(40, 60):
            log.add(forecast_record(number, said[number], **changes))  # type: ignore[arg-type]
        judged = judge(log, reference(expected))
        assert {one.name for one in judged.findings if one.state == "ALARM"} == alarms
        assert judged.alarm
        page = shadow_page(judged, "Shadow <b>")
        assert f"Alarm: {', '.join(one.name for one in judged.findings if one.state == 'ALARM')}." in page
        assert "<b>" not in page.replace("Shadow &lt;b&gt;", "")
        assert "http" not in page.replace("http://www.w3.org", "")
    assert judge(log_of(-said, came), reference(expected), Rules(every=100)).document()["labels"]["h"]["alarm"]


def test_missing_values_and_ties_lie_in_the_tenths_that_they_filled_before() -> None:
    flag = np.array([0.0] * 7 + [1.0] * 2)  # seven tenths of a flag are 0
    counts = tenths(np.array([0.0] * 7 + [1.0] * 3 + [np.nan]), flag)
    assert counts[-1] == 1
    np.testing.assert_allclose(counts[:7], 0.875)  # the eighth has as much, and a third of the ones
    np.testing.assert_allclose(counts[7:10], [0.875 + 1.0, 1.0, 1.0])
    assert tenths(np.array([3.0, np.nan]), np.full(9, np.nan)).tolist() == [1.0] + [0.0] * 9 + [1.0]


def test_challenger_and_champion_are_paired_on_dates_and_symbols_that_both_have() -> None:
    generator = np.random.default_rng(3)
    said, came = market(generator, 200, 0.2, 1)
    worse = said + 2.0 * generator.standard_normal(said.shape)
    champion, challenger = log_of(worse, came), Log()
    for number in range(10, 200):
        challenger.add(forecast_record(number, said[number], symbols=SYMBOLS, bundle="c" * 64))
    difference, one, two = paired(champion, challenger, "h", 1)
    assert difference.num_dates == 190
    assert difference.ci_low > 0.0
    np.testing.assert_allclose(difference.mean, two.mean - one.mean)
    np.testing.assert_allclose(two.mean, rank_ic(said[10:], came[10:]).mean())
    empty = Log()
    empty.add(forecast_record(500, said[0]))
    assert paired(champion, empty, "h", 1)[0].num_dates == 0


def test_a_log_is_appended_to_whole_lines_and_a_changed_one_is_refused_by_its_number(tmp_path: Path) -> None:
    path, said = tmp_path / "log.jsonl", np.arange(60.0)
    append(path, [forecast_record(0, said), label_record(0, said)])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind": "forecasts", "date')  # a kill has cut it off
    assert read_log(path).dates == ["2020-01-01T00:00:00"]
    append(path, [forecast_record(1, said)])
    assert path.read_bytes().startswith(whole)
    assert read_log(path).dates == ["2020-01-01T00:00:00", "2020-01-02T00:00:00"]
    lines = path.read_bytes().splitlines(keepends=True)
    for changed, rule in (
        (whole.replace(b"59.0", b"58.0", 1), "line 1: was changed after it was written"),
        (whole + lines[0], "line 3: 2020-01-01T00:00:00 was forecast before"),
        (b"{}\n", "line 1: was changed"),
        (b"[1]\n", "line 1: "),
    ):
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=rule):
            read_log(path)
    path.unlink()
    append(path, [forecast_record(0, said), forecast_record(1, said, bundle="c" * 64)])
    with pytest.raises(ValueError, match="line 2: is of the bundle cccccccccccc, lines before are of bbbbbbbbbbbb"):
        read_log(path)


def test_two_processes_do_not_log_the_same_date(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with held(path):
        append(path, [forecast_record(0, np.arange(60.0))])
        with pytest.raises(ValueError, match=r"log\.jsonl: another process writes it"), held(path):
            pass
    with held(path):
        assert read_log(path).dates == ["2020-01-01T00:00:00"]


def write_log(path: Path, said: np.ndarray, came: np.ndarray) -> list[str]:
    records = [forecast_record(number, row) for number, row in enumerate(said)]
    append(path, [*records, *(label_record(number, row) for number, row in enumerate(came))])
    return ["due", "bundle", str(path)]


def test_an_update_is_due_once_the_ic_has_fallen_and_the_command_says_why_and_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bundle's rank IC out of fold was 0.3; after 30 good dates the labels are noise."""
    generator = np.random.default_rng(5)
    said, came = market(generator, 70, 0.3, 1)
    before = {"mean": 0.3, "standard_error": 0.01, "num_dates": 250, "ci_low": 0.28, "ci_high": 0.32}
    reference = {"forecasts": {}, "rank_ic": {"h": {"stack": before}}}
    bundle = SimpleNamespace(identity="b" * 64, reference=reference, train_dates=np.arange(500))
    monkeypatch.setattr("factor_serve.bundle.load_bundle", lambda folder, sha256: bundle)
    path = tmp_path / "log.jsonl"
    fine = write_log(path, said[:30], came[:30])
    assert main(fine) == 0
    assert "not due" in (told := capsys.readouterr().out)
    assert told.endswith("No update is due.\n")

    noise = generator.standard_normal(came.shape)
    path.unlink()
    command = write_log(path, said, np.r_[came[:30], noise[30:]])
    assert main([*command, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    ics = rank_ic(said, np.r_[came[:30], noise[30:]])
    means = np.array([ics[end - 20 : end].mean() for end in range(20, 71)])
    fell = 19 + int(np.flatnonzero(means < 0.15)[0])
    (one,) = document["labels"]
    assert (one["state"], one["since"][:10]) == ("due", str(np.datetime64("2020-01-01") + fell))
    assert 30 < fell < 50
    np.testing.assert_allclose(one["mean"], means[-1])
    np.testing.assert_allclose(one["chance"], norm.cdf(-0.15 / (0.01 * np.sqrt(250 / 20))))
    assert main(command) == 1
    assert "make refit" in capsys.readouterr().out
    assert main([*command, "--fall-to", "-1.0", "--recover-to", "-0.5"]) == 0, "a rule of one's own"
    capsys.readouterr()
    assert main([*command, "--window", "71"]) == 0
    assert "unknown 70 of 71 dates have a label that is known" in capsys.readouterr().out
    before["ci_low"] = -0.01
    assert main(command) == 0
    assert "nothing to lose" in capsys.readouterr().out
    assert main([*command, "--recover-to", "0.1"]) == 2
    assert "recover_to = 0.1: must be >= fall_to = 0.5" in capsys.readouterr().err
    bundle.identity = "c" * 64
    assert main(command) == 2
    assert "is of the bundle bbbb" in capsys.readouterr().err


@pytest.mark.end_to_end
def test_the_command_logs_what_came_joins_labels_and_tells_by_its_status(
    finished_run: Checkout,
    bundle: Bundle,
    panel: Panel,
    news: pd.DataFrame,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    frame, dates = panel.to_pandas(), panel.dates[-12:]
    bars, log, documents = tmp_path / "bars.parquet", tmp_path / "log.jsonl", finished_run.path / "data" / "news"
    command = ["shadow", str(bundle.folder), str(bars), "--news", str(documents), "--log", str(log), "--unpromoted"]

    def run(last: int, *options: str) -> int:
        frame[frame["timestamp"] <= dates[last]].to_parquet(bars)
        return main([*command, *options])

    run(5, "--since", str(dates[0])[:10])
    assert f"6 dates and 4 labels added to {log}" in capsys.readouterr().out  # h1 is known two dates later
    run(-1, "--page", str(tmp_path / "page.html"), "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["num_dates"] == 12
    assert document["labels"]["h1"]["num_dates"] == 10
    assert document["labels"]["h5"]["num_dates"] == 6
    found = {one["name"]: one for one in document["findings"]}
    assert (found["coverage"]["state"], found["activation"]["state"]) == ("ok", "ok")
    known = reference_of(bundle).expected["h1"].is_known
    assert found["rank IC h1"]["state"] == ("ok" if known else "unknown"), "as its interval out of fold is above 0"
    assert "<!DOCTYPE html>" in (tmp_path / "page.html").read_text()
    said = read_log(log)
    batch = forecast(bundle, panel, news, dates[:1])
    batch = batch[batch["label"] == "h1"].set_index("symbol")["prediction"]
    record = said.forecasts[said.dates[0]]
    logged = dict(zip(record["symbols"], record["forecasts"]["h1"], strict=True))
    assert {key: np.float32(value) for key, value in logged.items() if value is not None} == batch.to_dict()
    before = log.read_bytes()
    with held(log):
        assert main(command) == 2
    assert "another process writes it" in capsys.readouterr().err
    short = tmp_path / "short.jsonl"
    short.touch()
    assert main(["compare", str(log), str(short)]) == 2, "it has no forecast"
    assert main(["compare", str(log), str(log), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["h1"]["difference"]["mean"] == 0.0
    run(-1)
    assert log.read_bytes() == before, "nothing has come since"
    assert main([*command[:-1], "--log", str(tmp_path / "log.txt"), "--unpromoted"]) == 2
