"""Every key of params.yaml, sections that may be null included, with every kind of wrong value: key, value, rule."""

from __future__ import annotations

import copy
import math
import pathlib
from typing import Any

import pytest

from fuzz_params import parent, places
from stages import ROOT
from stages.params.reading import parse_params, read_document, read_params
from stages.planning.sizes import check_sizes
from stages.running.stage import StageError

Path = tuple[str | int, ...]

OPTIONAL = {
    ("train", "augmentation"): {"noise_std": 0.01, "mask_share": 0.1, "time_warp": 0.2},
    ("train", "weights"): {"dollar_volume_bars": 50, "power": 0.5, "half_life": 250.0},
    ("train", "distillation"): {"teacher": "lightgbm", "settings": {"rounds": 120}, "share": 0.5, "blocks": 5},
    ("train", "loss_settings"): {"target_weights": "learned"},
    ("tokenize", "news_vectors"): {"kind": "tfidf_svd", "dimensions": 8, "memory": 5, "cutoff_minutes": 960},
    ("split", "clean", "actions"): {"volume_zero": "flag"},
}
WRONG: dict[str, Any] = {
    "typo": "zzz",
    "list": [1],
    "mapping": {"zzz": 1},
    "negative": -1,
    "infinite": math.inf,
    "undefined": math.nan,
    "beyond any number": 1e300,
}
LAWFUL = {
    ("train", "loss_settings", "target_weights"): "list",
    ("tokenize_kline", "pretrained"): "typo",  # a path: the plan looks at it
    ("evaluate", "portfolio", "benchmark"): "typo",  # a symbol: split looks at it
    ("evaluate", "sector"): "typo",  # a column of the bars: split looks at it
    ("refit", "min_agreement"): "negative",  # a rank correlation: -1 accepts any
}


def document() -> dict[str, Any]:
    """params.yaml with every section that is null there."""
    full = read_document(ROOT / "params.yaml")
    for path, section in OPTIONAL.items():
        parent(full, path)[path[-1]] = section
    return full


def changed(tree: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    other = copy.deepcopy(tree)
    parent(other, path)[path[-1]] = value
    return other


def dotted(path: Path) -> str:
    return ".".join(map(str, path))


def refusal(tree: dict[str, Any]) -> str | None:
    try:
        check_sizes(parse_params(tree, "params.yaml"))
    except StageError as error:
        return str(error)
    return None


def names_key_or_value(message: str, path: Path, value: Any) -> bool:
    """The key itself; a rule between two keys may name the other one, with this one's value."""
    return dotted(path) in message or f"{value}" in message


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_value_of_any_key_is_refused_in_a_line_with_key_and_value(kind: str) -> None:
    tree, value = document(), WRONG[kind]
    assert refusal(tree) is None
    unnamed, accepted = [], []
    for path in places(tree):
        message = refusal(changed(tree, path, value))
        if message is None:
            accepted.append(path)
        elif not message.startswith("params.yaml: ") or not names_key_or_value(message, path, value):
            unnamed.append((dotted(path), message))
    assert not unnamed
    assert set(accepted) <= {path for path, lawful in LAWFUL.items() if lawful == kind}


@pytest.mark.parametrize("value", [None, 10**9, 10**12])
def test_null_and_a_huge_number_are_lawful_or_refused_in_a_line(value: int | None) -> None:
    tree = document()
    for path in places(tree):
        message = refusal(changed(tree, path, value))
        said = "needs" if value is None else value
        assert message is None or names_key_or_value(message, path, said), (dotted(path), message)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: &a {lr: *a}", "holds itself"),
        ("\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]), "entries"),
        ("train: " + "[" * 2000 + "]" * 2000, "deep"),
        ("train: " + "[" * 100_000 + "]" * 100_000, "deep"),  # 5,000 took longer than 10 s
        ("# " + "x" * 2**20, "has 1,048,578 signs, at most 1,048,576 are read"),
        ("train: {start: 2020-01-01}", "train.start: 2020-01-01 is read as a date"),
        ("train: {1: 2}", "train.1: the key 1 must be text"),
        ("train: !!set {a, b}", "is read as a set"),
    ],
)
def test_documents_that_are_no_settings_are_refused_at_once(text: str, said: str, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(StageError, match=said):
        read_params(file)


def test_an_unknown_key_in_any_section_is_refused_with_the_one_it_may_stand_for() -> None:
    tree = document()
    for path in places(tree):
        if not isinstance(path[-1], str) or path[:-1] == ("tokenize", "labels"):  # names of labels are the user's
            continue
        section = {f"{key}x" if key == path[-1] else key: value for key, value in parent(tree, path).items()}
        message = refusal(changed(tree, path[:-1], section) if len(path) > 1 else section)
        assert message is not None, dotted(path)
        assert dotted(path[:-1]) in message
        assert f"{path[-1]}x" in message
        is_hinted = f"did you mean '{path[-1]}'" in message
        # The keys of a model are its own configuration's; `train` beside them is looked for by its name alone.
        assert "unknown model" in message or is_hinted or (path[0], path[-1]) == ("zoo", "train"), message


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("train", "target"), "rnk", "train.target: 'rnk' is refused: input should be 'rank'"),
        (("train", "augmentation"), {"noise": 0.1}, "train.augmentation.noise: unknown key; did you mean 'noise_std'"),
        (("train", "weights"), {"power": "x"}, "train.weights.power: 'x' is refused"),
        (("train", "weights"), 3, "train.weights: 3 is refused: must be a section with the keys dollar_volume_bars"),
        (("train", "distillation", "settings"), {"round": 1}, "settings.round: unknown key; did you mean 'rounds'"),
        (("tokenize", "news_vectors"), {"zzz": 1}, "tokenize.news_vectors.zzz: unknown key; known are"),
        (("evaluate", "seed"), -1, "evaluate.seed"),
        (("evaluate", "bootstrap"), 10**12, "evaluate.bootstrap: 1000000000000 must be <= 1000000"),
        (("refit", "min_agreement"), -1.01, "refit.min_agreement: -1.01 must be a rank correlation, from -1 to 1"),
        (("train", "seed"), 2**32, "train.seed: 4294967296 must be below 2^32"),
        (("zoo", "lstm", "hidden"), 10**9, "zoo.lstm.hidden: 1,000,000,000 is too large"),
        (("zoo", "lstm", "layers"), 10**9, "zoo.lstm.layers: 1000000000 must be <= 256"),
        (("zoo", "gated_news", "settings"), {"hiden": 8}, "zoo.gated_news.settings.hiden: unknown key; did you mean"),
        (("tokenize_kline", "model", "d_model"), 10**9, "tokenize_kline.model.d_model: 1,000,000,000 is too large"),
        (("sample", "symbols"), 10**9, "sample.symbols: 1,000,000,000 times sample.bars: 1,500"),
        (
            ("split", "folds"),
            {"scheme": "cpcv", "num_groups": 6, "num_test_groups": 2},
            "split.folds.num_test_groups: 2 must be 1",
        ),
        (("split", "folds"), {"scheme": "ratio", "ratios": [0.8, 0.0, 0.2]}, "scheme ratio is given no valid dates"),
        (("split", "folds"), {"scheme": "rolling", "train": 99, "valid": 0, "test": 9, "step": 9}, "no valid dates"),
    ],
)
def test_late_surprises_are_refused_before_any_work(path: Path, value: Any, said: str) -> None:
    tree = document()
    tree["models"] += ["gated_news", "kronos"]
    message = refusal(changed(tree, path, value))
    assert message is not None
    assert said in message
