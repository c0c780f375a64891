"""Folders of pretrained weights from elsewhere: config.json is held against the weights before anything is built."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from factor_models.kline import KlineTokenizerConfig, KronosTokenizer
from factor_models.sizes import largest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    KronosTokenizer(
        **KlineTokenizerConfig(d_model=8, n_heads=1, ff_dim=8, s1_bits=3, s2_bits=3).arguments()
    ).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("d_model", 10**5, "d_model = 100000: must be a number from 0 to 1024"),
        ("d_model", 10**9, "d_model = 1000000000: must be a number from 0 to"),
        ("n_enc_layers", 10**7, "n_enc_layers = 10000000: must be a number"),
        ("d_model", -1, "d_model = -1: must be a number"),
        ("d_model", "8", "d_model = '8': must be a number"),
        ("d_model", None, "d_model = None: must be a number"),
        ("beta", float("nan"), "beta = nan: must be a number"),
        ("n_heads", 0, "makes no KronosTokenizer"),
        ("d_model", 8.5, "makes no KronosTokenizer"),
        ("d_model", 16, "decoder.0.ffn.w1.weight has shape [8, 8], the configuration makes [8, 16]"),
        ("n_enc_layers", 3, "encoder.1.ffn.w1.weight has shape None, the configuration makes [8, 8]"),
    ],
)
def test_sizes_that_the_weights_do_not_bear_out_are_refused_in_a_line(
    key: str, value: Any, said: str, folder: Path
) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    for hashes in folder.glob("sha256.json"):
        hashes.unlink()
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        KronosTokenizer.from_pretrained(folder)
    assert len(str(refused.value).splitlines()) == 1


def test_a_folder_that_is_as_it_was_written_is_taken_and_a_cut_file_is_not(folder: Path) -> None:
    assert KronosTokenizer.from_pretrained(folder).s1_bits == 3
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    (folder / "sha256.json").unlink()  # as a published folder has none
    with pytest.raises(ValueError, match=r"model\.safetensors: does not hold weights, or not all"):
        KronosTokenizer.from_pretrained(folder)


def test_a_shape_of_no_bytes_bears_out_no_size() -> None:
    assert largest({"weight": [4096, 3]}) == 4096
    assert largest({"weight": [4096, 3], "nothing": [0, 10**12]}) == 4096
