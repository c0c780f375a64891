"""Symbol ids: sorted, from 1, unknown 0, and the same in every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import Panel, SymbolVocabulary
from stages import ROOT


def test_ids_are_positions_in_the_sorted_symbols_and_unknown_is_zero() -> None:
    vocabulary = SymbolVocabulary.fit(["MSFT", "AAPL", "MSFT", "000001", "ZZ"])
    assert vocabulary.symbols == ("000001", "AAPL", "MSFT", "ZZ")
    assert vocabulary.num_ids == 5
    ids = vocabulary.encode(np.array([["ZZ", "AAPL"], ["new", "1"]]))
    assert ids.dtype == np.int32
    assert ids.tolist() == [[4, 2], [0, 0]]
    assert vocabulary.encode(["", "ZZZ", "zz", "MSFT "]).tolist() == [0, 0, 0, 0]
    assert vocabulary.encode([]).shape == (0,)
    assert vocabulary.encode(pd.Series(["ZZ", "new"])).tolist() == [4, 0]


def test_every_symbol_of_the_training_rows_has_its_own_id_and_the_others_are_unknown(panel: Panel) -> None:
    """The defect 1i.13: hashes modulo N collided, per-sample factorising and inference gave every stock 0."""
    train = (panel.date_code < 60) & (panel.symbol_code != 2)
    vocabulary = SymbolVocabulary.fit(panel.symbol[train])
    ids = vocabulary.encode(panel.symbols)[panel.symbol_code]
    np.testing.assert_array_equal(ids, vocabulary.encode(panel.symbol))
    assert len(np.unique(ids)) == panel.num_symbols
    assert (ids[panel.symbol_code == 2] == 0).all()
    assert (ids[panel.symbol_code != 2] > 0).all()


SCRIPT = """
import sys
from factor_data import SymbolVocabulary
names = [f"S{i * 7919 % 1000:03d}" for i in range(1000)]
vocabulary = SymbolVocabulary.fit(set(names))
vocabulary.save(sys.argv[1])
print(vocabulary.hash, vocabulary.encode(names).tolist())
"""


def test_another_process_with_another_hash_seed_gives_the_same_ids_and_the_same_file(tmp_path: Path) -> None:
    outputs = set()
    for hash_seed in ("0", "1", "random"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": str(ROOT / "packages/data/src"),
        }
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / f"{hash_seed}.json")]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        outputs.add((run.stdout, (tmp_path / f"{hash_seed}.json").read_bytes()))
    assert len(outputs) == 1


def test_a_saved_vocabulary_is_the_same_and_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    vocabulary = SymbolVocabulary.fit(["B", "A", "größe"])
    vocabulary.save(path)
    assert SymbolVocabulary.load(path) == vocabulary
    assert SymbolVocabulary.load(path).hash == vocabulary.hash
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "symbols": ["A", "B", "C"]}))
    with pytest.raises(ValueError, match=r"vocabulary\.json: holds no vocabulary \(vocabulary was changed"):
        SymbolVocabulary.load(path)
    path.write_text("[1, 2")
    with pytest.raises(ValueError, match="holds no vocabulary"):
        SymbolVocabulary.load(path)


def test_what_is_no_symbol_is_refused() -> None:
    with pytest.raises(ValueError, match="symbols are empty: the fold has no training row"):
        SymbolVocabulary.fit([])
    with pytest.raises(ValueError, match=r"symbols must be text, got \[1\]"):
        SymbolVocabulary.fit(["A", 1])  # type: ignore[list-item]
    for wrong in ([1, 2], np.array(["A", None, np.nan], dtype=object)):
        with pytest.raises(ValueError, match="symbols must be text, 2 are not, first"):
            SymbolVocabulary.fit(["A"]).encode(wrong)
    with pytest.raises(ValueError, match="must be sorted and unique"):
        SymbolVocabulary(symbols=("B", "A"))
