"""params.yaml is read as DVC reads it; what other readers of YAML take for something else is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dvc.utils.serialize import parse_yaml as dvc_parse

from stages import ROOT
from stages.params.plain_yaml import parse_yaml
from stages.params.reading import read_params
from stages.running.stage import StageError


def test_the_params_are_what_dvc_records() -> None:
    for path in (ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))):
        assert parse_yaml(path.read_text()) == dvc_parse(path.read_text(), str(path))


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 0.001), ("4.0e-05", 4e-5), ("[1, 5]", [1, 5]), (".nan", None), ("null", None)]
)
def test_what_everybody_reads_alike_is_read(text: str, value: object) -> None:
    read = parse_yaml(f"key: {text}")["key"]
    assert read == value or read != read


@pytest.mark.parametrize("text", ["010", "1:30", "yes", "off", "0o17", "1_000", "2026-01-02T03:04:05"])
def test_what_two_readers_read_differently_is_refused_with_key_and_both_readings(text: str) -> None:
    source = f"train:\n  seed: {text}\n"
    if parse_yaml_1_1(source) == dvc_parse(source, "params.yaml"):
        pytest.skip("both versions agree on this spelling")
    with pytest.raises(ValueError, match=r"^train\.seed: is .* in YAML 1\.2 and .* in YAML 1\.1"):
        parse_yaml(source)


def parse_yaml_1_1(text: str) -> object:
    import yaml

    return yaml.safe_load(text)


def test_a_key_that_stands_twice_is_refused_with_its_line() -> None:
    with pytest.raises(ValueError, match=r"duplicate key.*in line 3"):
        parse_yaml("train:\n  lr: 0.1\n  lr: 0.2\n")


def test_no_key_of_params_may_stand_twice(tmp_path: Path) -> None:
    """A merge leaves one twice: many readers take the last, DVC refuses the file."""
    lines = (ROOT / "params.yaml").read_text().splitlines()
    keys = [number for number, line in enumerate(lines) if re.fullmatch(r"  [a-z_]+: [^{\[|>&#]+(#.*)?", line)]
    assert len(keys) > 40
    for number in keys[::4]:
        file = tmp_path / "params.yaml"
        file.write_text("\n".join([*lines[: number + 1], lines[number], *lines[number + 1 :]]))
        with pytest.raises(StageError, match=rf"not valid YAML: found duplicate key .* line {number + 2}$"):
            read_params(file)


def test_a_broken_document_is_refused_with_its_line() -> None:
    with pytest.raises(ValueError, match="in line"):
        parse_yaml("train: [1,\n")
