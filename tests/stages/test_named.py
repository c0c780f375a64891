"""Names of inputs and values of columns in params.yaml fit something, or are refused before a model learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factor_data import Panel, open_panel
from factor_data.news.config import NewsVectorConfig
from factor_data.news.features import fit_vectoriser
from stages.judging.importance import groups_of
from stages.named import check_groups, check_values, news_inputs
from stages.params.reading import parse_params
from stages.running.stage import StageError
from workplace import Workplace, smoke_document

INPUTS = ("momentum_20", "momentum_60_5", "reversal_1", "news_tone")


def groups(**patterns: list[str]) -> dict[str, Any]:
    return {"importance": {"dates": 12, "groups": patterns}}


def test_a_pattern_of_importance_that_fits_no_input_is_refused_with_the_nearest() -> None:
    check_groups(groups(trend=["momentum_*"], news=["news_tone"]), INPUTS)
    check_groups({"importance": None}, INPUTS)
    with pytest.raises(StageError, match=r"groups.trend: 'momentun_\*' fits no input; did you mean 'momentum_20'"):
        check_groups(groups(news=["news_*"], trend=["momentum_*", "momentun_*"]), INPUTS)
    assert groups_of(INPUTS, {"trend": ["momentun_*"]}) == {"trend": ()}, "and would have no importance"


def test_tokenize_refuses_it_before_any_model_learns(tokenized: Workplace, tmp_path: Path) -> None:
    place = tokenized.copy(tmp_path / "copy")
    place.change_params(lambda document: document["evaluate"].update(groups(trend=["momentun_*"])))
    place.run("plan")
    with pytest.raises(StageError, match=r"evaluate.importance.groups.trend: 'momentun_\*' fits no input"):
        place.run("tokenize_features")


def test_a_value_that_no_bar_has_is_refused(tmp_path: Path) -> None:
    """Its feature would be 0 on every bar, an input that says nothing, without a word."""
    frame = {name: np.ones(6) for name in ("open", "high", "low", "close", "volume")}
    Panel(
        symbols=np.array(["A", "B"]),
        dates=np.arange("2020-01-01", "2020-01-04", dtype="datetime64[D]").astype("datetime64[ns]"),
        symbol_code=np.repeat(np.arange(2, dtype=np.int32), 3),
        date_code=np.tile(np.arange(3, dtype=np.int32), 2),
        columns=frame | {"sector": np.array([10.0, 10, np.nan, 20, 20, 20])},
    ).save(tmp_path)
    document = smoke_document()
    document["tokenize"]["columns"] = ["sector", {"names": ["sector"], "values": [10, 20]}]
    check_values(open_panel(tmp_path), parse_params(document, "params.yaml").tokenize)
    document["tokenize"]["columns"][1]["values"] = [10, 30]
    with pytest.raises(StageError, match=r"columns.1.values: 30: no bar has it in column 'sector', which has 10, 20"):
        check_values(open_panel(tmp_path), parse_params(document, "params.yaml").tokenize)


def test_inputs_of_news_are_called_as_the_store_calls_them() -> None:
    document = smoke_document()
    assert news_inputs(parse_params(document, "params.yaml").tokenize) == ("news_tone", "news_count")
    settings = {"kind": "hashing", "dimensions": 3, "memory": 5, "cutoff_minutes": 960}
    document["tokenize"]["news_vectors"] = settings
    named = news_inputs(parse_params(document, "params.yaml").tokenize)
    assert named[2:] == fit_vectoriser(np.array(["a text"], dtype=object), NewsVectorConfig(**settings)).names
