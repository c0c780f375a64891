"""Stacking: nested in time to the bit, meta learners against scikit-learn and loops, rows with members missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import ElasticNet, Ridge
from sklearn.metrics import roc_auc_score

from factor_metrics import rank_ic
from factor_models import Members, StackConfig, rank_standardise, stack_members, stack_oof
from factor_models.stacking.choice import choose_learner, nearest_to_equal
from factor_models.stacking.evidence import date_blocks, learned_weights
from factor_models.stacking.grid import Grid, column_products, column_ranks, column_sums, number_groups
from factor_models.stacking.learners import LEARNERS
from factor_models.stacking.moments import Moments

pytestmark = pytest.mark.numeric

NUM_DATES, NUM_SYMBOLS, NUM_FOLDS = 60, 25, 3
LEARNED = [name for name in LEARNERS if name != "equal"]
Example = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def example(seed: int = 0, skills: tuple[float, ...] = (0.5, 0.2, 0.0), num_dates: int = NUM_DATES) -> Example:
    """Models of decreasing skill; three folds, rows sorted by symbol as in a panel, some labels unknown."""
    generator = np.random.default_rng(seed)
    date_code = np.tile(np.arange(num_dates), NUM_SYMBOLS)
    label = generator.standard_normal(date_code.size)
    noise = generator.standard_normal((len(skills), date_code.size))
    predictions = np.array(skills)[:, None] * label + noise
    label[::17] = np.nan
    return predictions, label, date_code, date_code // (num_dates // NUM_FOLDS)


def teaching(seed: int = 0, fold: int = 2) -> Moments:
    return Members(*example(seed)).teaching(fold, 0)


def weighted_rows(num_known_folds: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, models) standardised ranks, labels and weights of a regression in which each date counts the same."""
    predictions, label, date_code, fold = example()
    z = rank_standardise(predictions, date_code)
    known = (fold < num_known_folds) & np.isfinite(label)
    target, weight = np.full(label.size, np.nan), np.zeros(label.size)
    for date in np.unique(date_code[known]):
        rows = known & (date_code == date)
        target[rows] = scipy.stats.zscore(label[rows])
        weight[rows] = 1 / rows.sum() / len(np.unique(date_code[known]))
    return z[:, known].T, target[known], weight[known]


def test_ridge_is_that_of_scikit_learn_with_dates_of_one_weight() -> None:
    z, target, weight = weighted_rows()
    expected = Ridge(alpha=0.3, fit_intercept=False).fit(z, target, sample_weight=weight).coef_
    np.testing.assert_allclose(LEARNERS["ridge"](teaching(), StackConfig(alpha=0.3)), expected, rtol=1e-9)


def test_elastic_net_is_that_of_scikit_learn() -> None:
    z, target, weight = weighted_rows()
    moment = (weight * target) @ z
    first = 0.4 * np.abs(moment).max()
    net = ElasticNet(alpha=first + 0.3, l1_ratio=first / (first + 0.3), fit_intercept=False, tol=1e-13, max_iter=10**5)
    expected = net.fit(z, target, sample_weight=weight).coef_
    found = LEARNERS["elastic_net"](teaching(), StackConfig(alpha=0.3, l1=0.4))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert (found == 0).any(), "the penalty takes out the model that knows nothing"


def test_shrunk_weights_minimise_error_and_distance_to_the_best_equal_weights() -> None:
    z, target, weight = weighted_rows()

    def loss(w: np.ndarray) -> float:
        return float(weight @ np.square(target - z @ w))

    best = scipy.optimize.minimize_scalar(lambda size: loss(np.full(3, size))).x
    expected = scipy.optimize.minimize(lambda w: loss(w) + 0.7 * np.square(w - best).sum(), np.zeros(3), tol=1e-12).x
    np.testing.assert_allclose(LEARNERS["shrunk"](teaching(), StackConfig(alpha=0.7)), expected, atol=1e-6)


def test_non_negative_weights_solve_the_constrained_problem() -> None:
    moments = teaching()
    turned = replace(moments, ics=moments.ics * [1, 1, -1] - [0, 0, 0.2])
    assert LEARNERS["ridge"](turned, StackConfig())[2] < 0
    found = LEARNERS["non_negative"](turned, StackConfig())
    assert found[2] == 0
    without = LEARNERS["ridge"](turned.of_models(np.array([0, 1])), StackConfig())
    np.testing.assert_allclose(found[:2], without, rtol=1e-9)


def test_icir_is_mean_over_deviation_of_each_date_s_correlation_with_the_label() -> None:
    predictions, label, date_code, _ = example()
    z = rank_standardise(predictions, date_code)
    ics = []
    for date in range(40):
        rows = (date_code == date) & np.isfinite(label)
        ics.append([(row[rows] * scipy.stats.zscore(label[rows])).mean() for row in z])
    expected = np.mean(ics, axis=0) / np.std(ics, axis=0, ddof=1)
    np.testing.assert_allclose(LEARNERS["icir"](teaching(), StackConfig()), expected, rtol=1e-9)


def test_exponential_weights_count_a_date_half_after_the_half_life() -> None:
    moments = teaching()
    weight = np.array([0.5 ** ((39 - date) / 10) for date in range(40)])
    ics = (weight[:, None] * moments.ics).sum(axis=0) / weight.sum()
    gram = (weight[:, None, None] * moments.grams).sum(axis=0) / weight.sum()
    expected = np.linalg.solve(gram + np.eye(3), ics)
    found = LEARNERS["exponential"](moments, StackConfig(half_life=10.0, alpha=1.0))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def jackknife_reference(name: str, moments: Moments) -> np.ndarray:
    """The rule of `factor_models.stacking.evidence`, written out a weight at a time."""

    def learn(keep: list[int]) -> np.ndarray:
        weights = LEARNERS[name](moments.take(np.array(keep)), StackConfig())
        return weights / np.abs(weights).sum()

    dates = list(range(len(moments.dates)))
    learned, count, size = learn(dates), 10, len(moments.ics[0])
    again = [learn([date for date in dates if date not in set(block)]) for block in np.array_split(dates, count)]
    result = []
    for model in range(size):
        values = [one[model] for one in again]
        variance = (count - 1) / count * sum((value - np.mean(values)) ** 2 for value in values)
        gap = learned[model] - 1 / size
        weight = 1 / size + max(0.0, 1 - variance / gap**2) * gap
        if abs(learned[model]) <= scipy.stats.t(count - 1).ppf(1 - 0.025 / size) * variance**0.5:
            weight = max(weight, 0.0)
        result.append(weight)
    return np.array(result) / np.abs(result).sum()


@pytest.mark.parametrize("name", LEARNED)
def test_weights_are_drawn_to_equal_ones_by_their_jackknife_error(name: str) -> None:
    found = learned_weights(name, teaching(), StackConfig(), overlap=1)
    np.testing.assert_allclose(found, jackknife_reference(name, teaching()), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", LEARNED)
def test_no_sign_turns_on_noise(name: str) -> None:
    """Twelve markets with five models that know nothing: learned weights alone turn signs in most of them."""
    raw, turned = 0, 0
    for seed in range(12):
        moments = Members(*example(seed, skills=(0.0,) * 5, num_dates=150)).teaching(2, 0)
        raw += (LEARNERS[name](moments, StackConfig()) < 0).sum()
        turned += (learned_weights(name, moments, StackConfig(), overlap=1) < 0).sum()
    assert turned <= 1, "60 weights, each with a chance of half a percent"
    assert raw > 10 or name == "non_negative"


@pytest.mark.parametrize("name", LEARNED)
def test_a_model_that_is_surely_inverted_has_its_sign_turned(name: str) -> None:
    weights = learned_weights(name, Members(*example(0, (0.5, -0.5, 0.2))).teaching(2, 0), StackConfig(), overlap=1)
    assert weights[0] > 0
    assert weights[1] == 0 if name == "non_negative" else weights[1] < 0


def test_too_few_dates_teach_nothing() -> None:
    moments = teaching(fold=1)
    assert [len(date_blocks(num, 5)) for num in (4, 5, 19, 20, 100)] == [0, 1, 3, 4, 10]
    assert (learned_weights("ridge", moments, StackConfig(), overlap=6) == 1 / 3).all()
    assert not (learned_weights("ridge", moments, StackConfig(), overlap=5) == 1 / 3).all()
    # The second fold is too short for ridge, the third is not: each is told by what was used.
    stacked = stack_oof(*example(), config=StackConfig(weights="ridge"), purge=5)
    assert stacked.num_dates[1] > 0
    assert stacked.learners == ("equal", "equal", "ridge")
    assert (stacked.weights[1] == 1 / 3).all()
    one = stack_oof(example()[0][:1], *example()[1:], config=StackConfig(weights="ridge"))
    assert one.learners == ("equal", "equal", "equal")


@pytest.mark.parametrize("name", ["auto", *LEARNERS])
def test_the_first_fold_is_stacked_with_equal_weights_and_sizes_add_up_to_one(name: Any) -> None:
    predictions, label, date_code, fold = example()
    result = stack_oof(predictions, label, date_code, fold, config=StackConfig(weights=name))
    assert (result.weights[0] == 1 / 3).all()
    assert result.learners[0] == "equal"
    assert result.num_dates.tolist() == [0, 20, 40]
    np.testing.assert_allclose(np.abs(result.weights).sum(axis=1), 1.0, rtol=1e-12)
    assert np.isfinite(result.prediction).all()
    assert name in ("equal", "auto") or result.weights[2, 0] > result.weights[2, 2]


@pytest.mark.parametrize("name", ["auto", *LEARNERS])
@pytest.mark.parametrize("cut", [1, 2])
def test_weights_of_a_fold_do_not_change_by_a_bit_when_that_fold_and_later_ones_do(cut: int, name: Any) -> None:
    predictions, label, date_code, fold = example()
    config = StackConfig(weights=name, prune=0.05)
    before = stack_oof(predictions, label, date_code, fold, config=config)
    late = fold >= cut
    predictions[:, late] = np.random.default_rng(9).standard_normal((3, late.sum()))
    label[late] = 100.0 * np.random.default_rng(8).standard_normal(late.sum())
    after = stack_oof(predictions, label, date_code, fold, config=config)
    assert before.weights[: cut + 1].tobytes() == after.weights[: cut + 1].tobytes()
    assert before.learners[: cut + 1] == after.learners[: cut + 1]
    assert before.prediction[~late].tobytes() == after.prediction[~late].tobytes()


def test_a_date_s_forecasts_do_not_change_by_a_bit_when_later_dates_of_its_fold_do() -> None:
    predictions, label, date_code, fold = example()
    predictions[1, ::3] = np.nan
    before = stack_oof(predictions, label, date_code, fold)
    late = date_code > 50
    predictions[:, late] = np.random.default_rng(9).standard_normal((3, late.sum()))
    after = stack_oof(predictions, label, date_code, fold)
    assert before.prediction[~late].tobytes() == after.prediction[~late].tobytes()


@pytest.mark.parametrize("name", ["auto", *LEARNERS])
def test_a_stack_of_one_model_has_its_rank_ic_to_the_bit(name: Any) -> None:
    """Also of one that is inverted: its weight stays 1, since there is nothing else to trust."""
    for skill in (0.3, -0.3):
        predictions, label, date_code, fold = example(skills=(skill,))
        predictions[0, 40] = np.nan
        found = stack_oof(predictions, label, date_code, fold, config=StackConfig(weights=name)).prediction
        ics = [
            rank_ic(values.reshape(NUM_SYMBOLS, -1).T, label.reshape(NUM_SYMBOLS, -1).T)
            for values in (found, predictions[0])
        ]
        assert ics[0].tobytes() == ics[1].tobytes()


def test_equal_weights_learn_nothing() -> None:
    predictions, label, date_code, fold = example()
    equal = StackConfig(weights="equal")
    result = stack_oof(predictions, label, date_code, fold, config=equal)
    assert (result.weights == 1 / 3).all()
    means = rank_standardise(predictions, date_code).mean(axis=0).round(9)
    for date in range(NUM_DATES):
        np.testing.assert_array_equal(
            scipy.stats.rankdata(result.prediction[date_code == date]), scipy.stats.rankdata(means[date_code == date])
        )
    changed = stack_oof(predictions, -label, date_code, fold, config=equal)
    assert (changed.weights == result.weights).all()


def combined_reference(z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(num_symbols,) one date, row by row: a row's members, standardised over the rows that have them all."""
    result = np.full(z.shape[1], np.nan)
    for row in range(z.shape[1]):
        members = np.flatnonzero(np.isfinite(z[:, row]))
        if len(members) == 0:
            continue
        used = weights[members] if np.abs(weights[members]).sum() > 0 else np.full(len(members), 1 / len(members))
        others = np.flatnonzero(np.isfinite(z[members]).all(axis=0))
        spread = used @ z[np.ix_(members, others)]
        mine = used @ z[members, row]
        few = len(others) < 3 or spread.std() <= 1e-9 * np.abs(used).sum()
        result[row] = mine / np.abs(used).sum() if few else (mine - spread.mean()) / spread.std()
    return result


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.3, 0.8]), st.sampled_from([(0.5, 0.3, 0.2), (0.0, 0.6, -0.4)]))
def test_a_row_is_combined_from_the_members_that_are_there(seed: int, missing: float, weights: Any) -> None:
    generator = np.random.default_rng(seed)
    predictions = generator.integers(0, 6, (3, 2 * 12)).astype(float)
    predictions[generator.random(predictions.shape) < missing] = np.nan
    date_code = np.repeat([0, 1], 12)
    members = Members(predictions, np.zeros(24), date_code, np.zeros(24, int))
    rows, found = members.combine(0, np.array(weights), np.ones(3, bool))
    assert rows.tolist() == list(range(24))
    z = rank_standardise(predictions, date_code)
    expected = np.concatenate(
        [combined_reference(z[:, :12], np.array(weights)), combined_reference(z[:, 12:], np.array(weights))]
    )
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert (np.isfinite(found) == np.isfinite(z).any(axis=0)).all()


@pytest.mark.parametrize("name", ["auto", *LEARNERS])
def test_missing_rows_folds_and_constant_dates_of_a_model_leave_the_universe_whole(name: Any) -> None:
    predictions, label, date_code, fold = example(skills=(0.5, 0.4, 0.3, 0.2))
    predictions[1, np.random.default_rng(1).random(label.size) < 0.3] = np.nan
    predictions[2, fold == 1] = np.nan
    predictions[3, date_code % 2 == 0] = 7.0
    result = stack_oof(predictions, label, date_code, fold, config=StackConfig(weights=name))
    assert np.isfinite(result.prediction).all()
    np.testing.assert_allclose(result.present[:, 0], 1.0)
    np.testing.assert_allclose(result.present[:, 1], 0.7, atol=0.05)
    assert result.present[:, 2].tolist() == [1.0, 0.0, 1.0]
    np.testing.assert_allclose(result.present[:, 3], 0.5)


def test_a_model_that_is_dead_in_every_fold_changes_nothing() -> None:
    predictions, label, date_code, fold = example()
    alive = stack_oof(predictions, label, date_code, fold, config=StackConfig(weights="ridge"))
    dead = stack_oof(
        np.vstack([predictions, np.ones_like(label)]), label, date_code, fold, config=StackConfig(weights="ridge")
    )
    np.testing.assert_allclose(dead.prediction, alive.prediction, rtol=1e-9)


def test_purge_keeps_labels_that_were_not_yet_known_out() -> None:
    predictions, label, date_code, fold = example(num_dates=120)
    config = StackConfig(weights="ridge")
    before = stack_oof(predictions, label, date_code, fold, config=config, purge=6)
    unknown = (date_code >= 34) & (date_code < 40)  # 34 + 6 = 40 = first date of fold 1
    label[unknown] = -label[unknown]
    after = stack_oof(predictions, label, date_code, fold, config=config, purge=6)
    assert before.weights[1].tobytes() == after.weights[1].tobytes()
    assert before.num_dates[1] == 34
    later = stack_oof(predictions, label, date_code, fold, config=config, purge=5)
    assert before.weights[1].tobytes() != later.weights[1].tobytes()


def test_one_fold_of_all_rows_may_come_in_any_order() -> None:
    """Rows of a panel come symbol by symbol: together they are a range, and yet not date by date."""
    predictions, label, date_code, _ = example()
    by_date, one = np.argsort(date_code, kind="stable"), np.zeros(label.size, dtype=int)
    found = stack_oof(predictions, label, date_code, one).prediction
    sorted_first = stack_oof(predictions[:, by_date], label[by_date], date_code[by_date], one).prediction
    assert found[by_date].tobytes() == sorted_first.tobytes()


@pytest.mark.parametrize("learn_by", ["ic", "auc"])
def test_dates_before_all_folds_teach_as_those_of_an_earlier_fold_and_are_not_stacked(learn_by: Any) -> None:
    predictions, label, date_code, fold = example(num_dates=120)
    direction = np.where(np.isnan(label), np.nan, label > 0.0)
    config, given = StackConfig(weights="ridge", learn_by=learn_by), direction if learn_by == "auc" else None
    whole = stack_oof(predictions, label, date_code, fold, config=config, purge=6, direction=given)
    first, later = fold == 0, fold > 0
    before = Members(
        predictions[:, first], label[first], date_code[first], fold[first], None if given is None else given[first]
    )
    rest = (predictions[:, later], label[later], date_code[later], fold[later])
    own = None if given is None else given[later]
    found = stack_oof(*rest, config=config, purge=6, direction=own, before=before)
    assert found.weights.tobytes() == whole.weights[1:].tobytes()
    assert found.prediction.tobytes() == whole.prediction[later].tobytes()
    assert found.num_dates.tolist() == [34, 74]
    assert found.learners == ("ridge", "ridge")


def test_rows_outside_folds_are_ignored() -> None:
    predictions, label, date_code, fold = example()
    before = stack_oof(predictions, label, date_code, fold)
    extra = stack_oof(
        np.concatenate([predictions, np.ones((3, 5))], axis=1),
        np.r_[label, np.ones(5)],
        np.r_[date_code, np.arange(5)],
        np.r_[fold, np.full(5, -1)],
    )
    np.testing.assert_array_equal(extra.weights, before.weights)
    assert np.isnan(extra.prediction[-5:]).all()


def test_a_date_with_a_constant_label_teaches_nothing() -> None:
    predictions, label, date_code, fold = example()
    label[date_code == 3] = 0.1
    constant = stack_oof(predictions, label, date_code, fold)
    label[date_code == 3] = np.nan
    missing = stack_oof(predictions, label, date_code, fold)
    np.testing.assert_array_equal(constant.weights, missing.weights)


def test_auto_takes_the_first_within_a_standard_error_of_the_best() -> None:
    noise = np.random.default_rng(0).standard_normal(200)
    series = {"equal": noise, "shrunk": noise + 0.05, "ridge": noise + 0.05 + 0.5 * np.roll(noise, 7)}
    assert nearest_to_equal(series, 1) == "shrunk", "no noise in the difference to equal: it is better for sure"
    del series["shrunk"]
    assert nearest_to_equal(series, 1) == "ridge"
    assert nearest_to_equal({**series, "equal": series["ridge"] - 0.01 + noise}, 1) == "equal"
    assert nearest_to_equal(series, 50) == "equal", "four stretches of dates tell nothing"
    assert nearest_to_equal({name: values[:59] for name, values in series.items()}, 1) == "equal", "nor do 59 dates"
    assert nearest_to_equal({name: values[:60] for name, values in series.items()}, 1) == "ridge"


def test_auto_learns_where_models_are_unlike_and_stays_equal_where_they_are_alike() -> None:
    unlike = [choose_learner(teaching_of((0.3, 0.0, 0.0, 0.0), seed), StackConfig(), 1) for seed in range(6)]
    alike = [choose_learner(teaching_of((0.2, 0.2, 0.2, 0.2), seed), StackConfig(), 1) for seed in range(6)]
    assert "equal" not in unlike
    assert alike.count("equal") >= 4


def teaching_of(skills: tuple[float, ...], seed: int) -> Moments:
    return Members(*example(seed, skills, num_dates=300)).teaching(2, 1)


@pytest.mark.parametrize("skills", [(0.1,) * 4, (0.12, 0.1, 0.05, 0.0), (0.1, 0.0, 0.0, 0.0), (0.0,) * 4])
def test_auto_is_at_least_equal_weight_within_noise(skills: tuple[float, ...]) -> None:
    differences = []
    for seed in range(8):
        predictions, label, date_code, fold = example(seed, skills, num_dates=240)
        ics = []
        for name in ("auto", "equal"):
            config = StackConfig(weights=name)  # type: ignore[arg-type]
            stacked = stack_oof(predictions, label, date_code, fold, config=config, purge=2).prediction
            ics.append(np.nanmean(rank_ic(stacked.reshape(NUM_SYMBOLS, -1).T, label.reshape(NUM_SYMBOLS, -1).T)))
        differences.append(ics[0] - ics[1])
    assert np.mean(differences) > -np.std(differences, ddof=1) / 8**0.5 * 2 - 1e-3


def test_the_weaker_of_two_that_are_alike_is_pruned_by_what_earlier_folds_showed() -> None:
    predictions, label, date_code, fold = example()
    copy = predictions[0] + 0.02 * np.random.default_rng(2).standard_normal(label.size)
    copy[fold == 0] -= 0.05 * np.nan_to_num(label[fold == 0])
    result = stack_oof(
        np.vstack([copy, predictions]), label, date_code, fold, config=StackConfig(weights="equal", prune=0.95)
    )
    assert [(one.fold, one.model, one.like) for one in result.pruned] == [(1, 0, 1), (2, 0, 1)]
    assert all(one.correlation > 0.95 and one.ic < one.like_ic for one in result.pruned)
    assert (result.weights[0] == 0.25).all()
    np.testing.assert_allclose(result.weights[1:], [[0, 1 / 3, 1 / 3, 1 / 3]] * 2)
    assert stack_oof(predictions, label, date_code, fold, config=StackConfig(prune=0.95)).pruned == ()


def test_without_a_member_is_the_stack_of_the_others() -> None:
    predictions, label, date_code, fold = example()
    predictions[0, ::5] = np.nan
    members = Members(predictions, label, date_code, fold)
    without = stack_members(members, StackConfig(), 2, without=1)
    others = stack_oof(predictions[[0, 2]], label, date_code, fold, purge=2)
    np.testing.assert_allclose(without.prediction, others.prediction, rtol=1e-9)
    np.testing.assert_allclose(without.weights[:, [0, 2]], others.weights, rtol=1e-9)


def test_forecasts_have_the_scale_of_the_standardised_label() -> None:
    predictions, label, date_code, fold = example(num_dates=300)
    result = stack_oof(predictions, label, date_code, fold, config=StackConfig(weights="ridge"))
    known = (fold == 2) & np.isfinite(label)
    slope = np.polyfit(result.prediction[known], label[known], 1)[0]
    assert slope == pytest.approx(1.0, abs=0.1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 4), st.just(None)), min_size=1, max_size=12))
def test_ranks_equal_scipy_average_ranks_standardised(values: list[Any]) -> None:
    row = np.array([np.nan if value is None else value for value in values], np.float64)
    date_code = np.repeat([3, 8], [len(row), len(row)])
    actual = rank_standardise(np.stack([np.r_[row, row[::-1]]]), date_code)[0]
    known = np.isfinite(row)
    expected = np.full(len(row), np.nan)
    if len(set(row[known])) > 1:
        expected[known] = scipy.stats.zscore(scipy.stats.rankdata(row[known]))
    np.testing.assert_allclose(actual, np.r_[expected, expected[::-1]], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"purge": -1}, "purge = -1: must be >= 0"),
        ({"label": np.zeros(3)}, r"label has shape \(3,\): must be \(num_rows=1500,\)"),
        ({"predictions": np.zeros(1500)}, r"predictions have shape \(1500,\)"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], message: str) -> None:
    arguments = dict(zip(("predictions", "label", "date_code", "fold"), example(), strict=True)) | change
    with pytest.raises(ValueError, match=message):
        stack_oof(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "alpha: 0.0 must be > 0"),
        ({"half_life": -1.0}, "half_life: -1.0 must be > 0"),
        ({"l1": 1.0}, r"l1: 1.0 must be in \[0, 1\)"),
        ({"prune": 1.0}, r"prune: 1.0 must be in \(0, 1\), or null"),
    ],
)
def test_bad_settings_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StackConfig(**change)


def test_directions_teach_by_the_auc_of_each_date() -> None:
    """Beside scikit-learn, date by date, over the rows of known direction, some of which a model lacks, with ties."""
    predictions, label, date_code, fold = example(5)
    predictions = np.round(predictions, 1)
    predictions[1, ::7] = np.nan
    direction = np.where(np.abs(label) < 0.3, np.nan, (label > 0).astype(float))
    direction[date_code == 4] = np.where(np.isfinite(direction[date_code == 4]), 1.0, np.nan)
    found = Members(predictions, label, date_code, fold, direction).teaching(2, 0)
    assert np.isnan(found.ics[4]).all(), "one class has no AUC"
    for place, date in enumerate(found.dates):
        if date == 4:
            continue
        for model, values in enumerate(predictions):
            rows = (date_code == date) & np.isfinite(direction) & np.isfinite(values)
            expected = 2 * roc_auc_score(direction[rows], values[rows]) - 1
            assert found.ics[place, model] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("weights", ["ridge", "non_negative", "icir", "auto"])
def test_weights_go_to_the_model_that_tells_directions_where_they_are_learned_by_the_auc(weights: Any) -> None:
    """One model knows the few large moves and has the IC, the other the many small ones and has the AUC."""
    generator = np.random.default_rng(2)
    date_code = np.repeat(np.arange(300), 60)
    small = generator.standard_normal(date_code.size)
    large = np.where(generator.random(date_code.size) < 0.1, generator.choice([-1.0, 1.0], date_code.size), 0.0)
    label = np.where(large != 0.0, 40.0 * large, small)
    noise = generator.standard_normal((2, date_code.size))
    predictions = np.stack([3.0 * large + 0.05 * noise[0], np.where(large == 0.0, np.sign(small), 0.0) + noise[1]])
    fold, direction = date_code // 100, (label > 0).astype(float)
    config = StackConfig(weights=weights)
    by_ic = stack_oof(predictions, label, date_code, fold, config=config)
    by_auc = stack_oof(predictions, label, date_code, fold, config=replace(config, learn_by="auc"), direction=direction)
    assert by_ic.weights[-1, 0] > by_ic.weights[-1, 1]
    assert by_auc.weights[-1, 1] > by_auc.weights[-1, 0]
    score = [roc_auc_score(direction[fold == 2], one.prediction[fold == 2]) for one in (by_ic, by_auc)]
    assert score[1] > score[0] + 0.02
    ignored = stack_oof(predictions, label, date_code, fold, config=config, direction=direction)
    np.testing.assert_array_equal(ignored.prediction, by_ic.prediction)


def test_what_is_learned_by_the_auc_needs_directions_and_knows_those_of_earlier_folds_alone() -> None:
    predictions, label, date_code, fold = example(3, num_dates=180)
    config, direction = StackConfig(weights="ridge", learn_by="auc"), (label > 0).astype(float)
    with pytest.raises(ValueError, match=r"direction must be \(num_rows=4500,\), since learn_by is auc"):
        stack_oof(predictions, label, date_code, fold, config=config)
    before = stack_oof(predictions, label, date_code, fold, config=config, direction=direction)
    changed = np.where(fold == 2, 1.0 - direction, direction)
    after = stack_oof(
        predictions, np.where(fold == 2, -label, label), date_code, fold, config=config, direction=changed
    )
    np.testing.assert_array_equal(after.prediction, before.prediction)


def test_patterns_of_members_looked_up_in_a_table_are_those_that_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions, label, date_code, fold = example(3, (0.5, 0.2, 0.0, 0.1))
    predictions[np.random.default_rng(2).random(predictions.shape) < 0.3] = np.nan
    table = stack_oof(predictions, label, date_code, fold)
    monkeypatch.setattr("factor_models.stacking.members.MOST_MODELS", 0)
    np.testing.assert_array_equal(stack_oof(predictions, label, date_code, fold).prediction, table.prediction)


def test_ranks_of_dates_side_by_side_are_those_of_rows_in_any_order() -> None:
    predictions, _, date_code, _ = example(5)
    predictions = predictions.round(1)
    by_date = np.argsort(date_code, kind="stable")
    found = rank_standardise(predictions[:, by_date], date_code[by_date])
    np.testing.assert_array_equal(found, rank_standardise(predictions, date_code)[:, by_date])


@pytest.mark.parametrize("num_dates", [1, 2, 40])
@pytest.mark.parametrize("shuffled", [False, True])
def test_sums_and_ranks_by_column_are_those_of_the_rows_one_after_the_other(num_dates: int, shuffled: bool) -> None:
    generator = np.random.default_rng(num_dates)
    group = np.repeat(np.arange(num_dates), 37)
    if shuffled:  # dates of many lengths, in any order
        group = number_groups(generator.permutation(group[generator.random(len(group)) < 0.8]))
    grid, (x, y) = Grid(group), generator.standard_normal((2, len(group))) * 10.0 ** generator.integers(-8, 8)
    assert grid.is_whole is (not shuffled or num_dates == 1)
    np.testing.assert_array_equal(grid.rows(grid.spread(x)), x)
    filled = [np.nan_to_num(grid.spread(one)) for one in (x, y)]
    np.testing.assert_array_equal(column_sums(filled[0]), np.bincount(group, x))
    np.testing.assert_array_equal(column_products(*filled), np.bincount(group, x * y))
    ties = np.where(generator.random(len(x)) < 0.1, np.nan, x.round(-int(np.log10(np.abs(x).max()))))
    ranks = grid.rows(column_ranks(grid.by_group(ties)))
    for one in range(num_dates):
        expected = scipy.stats.rankdata(ties[group == one], nan_policy="omit") - 1.0
        np.testing.assert_array_equal(ranks[group == one], expected)
