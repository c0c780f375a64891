"""What tests take from one another (`Workplace.made`) is what the stage writes, and nothing of another plan or data."""

from __future__ import annotations

from pathlib import Path

import pytest

from workplace import KEPT, Workplace, deps_and_outs, make_workplace, smoke_document


def files(workplace: Workplace, stage: str) -> dict[str, bytes]:
    folder = workplace.results / stage
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_made_once_is_taken_where_plan_and_data_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept").mkdir()
    monkeypatch.setenv(KEPT, str(tmp_path / "kept"))
    document = smoke_document()
    document["models"] = ["linear"]
    document["sample"] |= {"symbols": 12, "bars": 280}
    first = make_workplace(tmp_path / "first", document)
    for stage in ("plan", "sample", "split"):
        first.run(stage)
    ran: list[str] = []
    run = Workplace.run

    def noted(workplace: Workplace, stage: str, *arguments: str) -> None:
        ran.append(stage)
        run(workplace, stage, *arguments)

    monkeypatch.setattr(Workplace, "run", noted)
    for name, expected in (("second", ["plan", "sample", "split"]), ("third", ["plan"])):
        workplace = make_workplace(tmp_path / name, document)
        workplace.run("plan")
        for stage in ("sample", "split"):
            workplace.made(stage)
            assert files(workplace, stage) == files(first, stage)
        assert ran == expected
        ran.clear()
    path = next((workplace.results / "sample" / "news").iterdir())
    path.write_bytes(path.read_bytes())
    workplace.made("split")
    assert ran == [], "not when a file was written, but what is in it"
    workplace.change_params(lambda params: params["split"]["clean"].update(min_history=40))
    workplace.run("plan")
    workplace.made("split")
    assert ran == ["plan", "split"]
    ran.clear()
    (workplace.results / "sample" / "sums.json").unlink()
    workplace.made("split")
    assert ran == ["split"]


def test_the_map_says_what_a_stage_reads_and_writes() -> None:
    assert deps_and_outs("sample") == (["results/plan/sample.json"], ["results/sample"])
    deps, outs = deps_and_outs("train", "lstm")
    assert {"results/plan/train_lstm.json", "results/inputs/lstm.json", "results/tokenize"} <= set(deps)
    assert outs == ["results/train/lstm"]
