"""make news-effect: what a killed one has left is not written over."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stages import ROOT
from stages.commands import news_effect
from stages.running.stage import StageError


def test_settings_that_a_killed_run_has_kept_are_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    news_effect.NEWS.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    before = Path("params.yaml").read_bytes()

    def killed(models: tuple[str, ...]) -> news_effect.Series:
        raise SystemExit(137)

    monkeypatch.setattr(news_effect, "judged", killed)
    with monkeypatch.context() as patch:
        # a kill takes no leave: neither is the copy deleted
        patch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
        with pytest.raises(SystemExit):
            news_effect.main()
    news_effect.write({"tokenize": {"use_news": False}})  # nor is params.yaml as it was
    with pytest.raises(StageError, match=r"params.before_news_effect.yaml .* was killed"):
        news_effect.main()
    assert news_effect.KEPT.read_bytes() == before
