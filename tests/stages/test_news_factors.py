"""Factors that a language model reads out of the news, through the stages; a malformed reply gives none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chat_server import GOOD, Server, chat
from factor_data import read_news, read_parquet
from factor_data.cli import main
from factor_data.sums import write_sums
from workplace import Workplace

ROWS = 300


@pytest.mark.end_to_end
def test_factors_of_a_model_are_the_news_of_the_run_and_a_malformed_reply_is_missing(
    tokenized: Workplace, tmp_path: Path
) -> None:
    """Every document of S0001 is answered by no JSON: the table says so, and the run reads no document of it."""
    place = tokenized.copy(tmp_path / "factorcast")
    news = read_news(place.path / "data" / "news")
    chosen = news[news["symbol"].isin(["S0001", *news["symbol"].unique()[-6:]])].head(ROWS)
    assert "S0001" in set(chosen["symbol"])
    source = tmp_path / "news.parquet"
    chosen.to_parquet(source, index=False)
    server = Server()

    def answer(number: int, body: dict[str, Any]) -> tuple[int, bytes, float]:
        return 200, chat("no JSON") if "S0001" in json.dumps(body) else GOOD, 0

    server.answer = answer
    folder = place.path / "data" / "news"
    for path in folder.iterdir():
        path.unlink()
    try:
        arguments = [str(source), str(tmp_path / "answers.jsonl"), "--url", server.url, "--model", "stub"]
        main(["news-factors", *arguments, "--as-news", str(folder), "--table", str(tmp_path / "table.parquet")])
        asked = len(server.requests)
        main(["news-factors", *arguments, "--as-news", str(folder)])
        assert len(server.requests) == asked, "answers are kept: nothing is asked twice"
    finally:
        server.close()
    write_sums(place.path / "data")
    place.change_params(lambda params: params["tokenize"].update(news_vectors=None))
    place.change_params(lambda params: params["tokenize"]["news"].update(min_count=5))
    for stage in ("plan", "split", "tokenize_features"):
        place.run(stage)
    table = pd.read_parquet(tmp_path / "table.parquet")
    is_bad = (chosen["symbol"] == "S0001").to_numpy()
    assert table["status"].tolist() == np.where(is_bad, "malformed", "ok").tolist()
    assert table.loc[is_bad, "factor_1"].isna().all()
    read = read_parquet(place.results / "split" / "news.parquet")
    assert "S0001" not in set(read["symbol"])
    assert read["text"].value_counts().to_dict() == dict.fromkeys(["raised guidance", "new product"], (~is_bad).sum())
    tones = json.loads((place.results / "tokenize" / "fold_00" / "news_scorer.json").read_text())["tones"]
    assert set(tones) == {"raised", "guidance", "new", "product"}
