"""dataset.yaml is checked where it is first read: by import and by split, with file, key and rule."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml
from ruamel.yaml import YAML

from factor_data import import_data, parse_description
from factor_data.description import parse_plain
from layout_samples import write_vendor
from stages import split
from stages.running.stage import StageError

GOOD = "name: mine\nuniverse: all of an index on each date\n"


def test_what_is_not_written_has_its_default_and_what_is_stays() -> None:
    found = parse_description(GOOD + "time_zone: UTC\nlisted: 2020-01-01\nyear: 2024\nfees: {buy: 0.001}\n", "d.yaml")
    assert found == {
        "name": "mine",
        "universe": "all of an index on each date",
        "frequency": "unknown",
        "time_zone": "UTC",
        "adjustment": "unknown",
        "listed": "2020-01-01",
        "year": 2024,
        "fees": {"buy": 0.001},
    }
    assert json.dumps(found)
    assert parse_description("name: 2024\nuniverse: x\n", "d.yaml")["name"] == "2024"


def nested(depth: int) -> str:
    return GOOD + "deep: " + "[" * depth + "]" * depth + "\n"


def bomb(levels: int = 9) -> str:
    lines = [GOOD, "a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


BAD = {
    "no map": ("- a\n- b\n", "must be keys and values"),
    "nothing": ("", "must be keys and values"),
    "no name": ("universe: x\n", "key 'name' is missing; it says what the data are called"),
    "no universe": ("name: x\n", "key 'universe' is missing; it says how the symbols were picked"),
    "a name that is null": ("name:\nuniverse: x\n", "name must be text, is None"),
    "a universe that is a list": ("name: x\nuniverse: [a]\n", r"universe must be text, is \['a'\]"),
    "an adjustment that is a map": (GOOD + "adjustment: {a: 1}\n", "adjustment must be text"),
    "a blank name": ("name: ' '\nuniverse: x\n", "name must be text"),
    "a flag as zone": (GOOD + "time_zone: true\n", "time_zone must be text, is True"),
    "a number as key": (GOOD + "1: x\n", "key 1 must be text"),
    "a key twice": (GOOD + "name: other\n", "key 'name' comes twice in line 3"),
    "a list as key": (GOOD + "? [a, b]\n: x\n", "a key is no text"),
    "NaN": (GOOD + "fees: {buy: .nan}\n", "fees.buy must be a finite number, is nan"),
    "infinite": (GOOD + "fees: [.inf]\n", "fees.0 must be a finite number, is inf"),
    "a huge number": (GOOD + f"size: {10**30}\n", r"size must be a number below 2\*\*63"),
    "broken": (GOOD + "a: [1, 2\n", "is no valid YAML"),
    "a tab": (GOOD + "a:\n\tb: 1\n", "is no valid YAML.*line 4"),
    "two documents": (GOOD + "---\nname: y\n", r"one document is read, and a second begins \(line 3\)"),
    "a tag of Python": (GOOD + "a: !!python/object/apply:os.system [ls]\n", "tags are not read, as tag:yaml.org"),
    "a set": (GOOD + "a: !!set {x}\n", "tags are not read"),
    "bytes": (GOOD + "a: !!binary aGk=\n", "tags are not read"),
    "an alias": (GOOD + "a: &x [1]\nb: *x\n", r"anchors \(&\) and aliases \(\*\) are not read \(line 3\)"),
    "aliases that explode": (bomb(), "anchors"),
    "too deep": (nested(40), "more than 16 deep"),
    "so deep that parsers fail": (nested(100_000), "more than 16 deep"),
    "too many values": (GOOD + "a: [" + "1, " * 20_000 + "1]\n", "more than 10,000 values"),
    "too long": (GOOD + "# " + "x" * 2**20 + "\n", "at most 1,048,576 are read"),
    "no UTF-8": (GOOD.encode() + b"a: \xff\xfe\n", "no valid YAML|codec"),
    "control characters": (GOOD + "a: \x07\n", "no valid YAML"),
    "a number with a 0 before it": (GOOD + "lot: 010\n", "'010' is one thing in YAML 1.1 and another in 1.2.*line 3"),
    "a country": ("name: x\nuniverse: NO\n", "'NO' is one thing in YAML 1.1 and another in 1.2"),
}


SPELLINGS = [
    "0", "7", "08", "007", "010", "-010", "0o17", "0x1F", "1:30", "1:30.5", "09:30", "9:30", "yes", "NO", "On", "off",
    "y", "true", "False", "null", "~", ".5", "1.", "1.5", "a_b", "1_a", "10-20", "1.2.3", "000001", "SH600000",
]  # fmt: skip


@pytest.mark.parametrize("text", SPELLINGS)
def test_spellings_that_two_versions_of_yaml_read_differently_are_refused(text: str) -> None:
    """Whoever reads the file elsewhere would see another value: 010 is 8 in the one and 10 in the other."""
    old, new = yaml.safe_load(text), YAML(typ="safe").load(text)
    if (type(old), old) == (type(new), new):
        assert parse_plain(f"a: {text}", "d.yaml") == {"a": old}
    else:
        with pytest.raises(ValueError, match=f"d.yaml: '{text}' is one thing in YAML 1.1 and another in 1.2"):
            parse_plain(f"a: {text}", "d.yaml")
    assert parse_plain(f"a: '{text}'", "d.yaml") == {"a": text}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_description_is_refused_at_once_by_import_and_by_split(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, message = BAD[case]
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data"
    folder.mkdir()
    write_vendor(folder)
    (folder / "dataset.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    started = time.process_time()
    with pytest.raises(ValueError, match=rf"data/dataset.yaml: .*{message}"):
        split.read_dataset(Path("data"))
    with pytest.raises(ValueError, match=rf"data/dataset.yaml: .*{message}"):
        import_data(folder, tmp_path / "imported")
    assert time.process_time() - started < 2
    assert not (tmp_path / "imported").exists()


def test_split_takes_the_two_keys_it_asks_for_and_fills_in_what_later_stages_read(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text(GOOD)
    assert split.read_dataset(tmp_path)["adjustment"] == "unknown"


def test_split_says_what_to_write_where_there_is_no_description(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"dataset.yaml: is missing; write into it name: .* universe: "):
        split.read_dataset(tmp_path)
    with pytest.raises(StageError, match="make use-data"):
        split.read_dataset(tmp_path / "nowhere")
