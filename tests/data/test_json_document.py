"""What a JSON file lacks, or holds in another type, is told by file and key."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from factor_data.json_document import Document, as_written, parse_document, read_document
from factor_data.sums import SUMS, DamagedError, Sums

WRITTEN = {"a": {"b": [{"c": 1}]}, "d": None}


@dataclass
class Holder:
    found: Document


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "some.json").write_text(json.dumps(WRITTEN))
    return tmp_path / "some.json"


def test_it_is_what_was_written_and_names_file_and_key_at_any_depth(file: Path) -> None:
    found = read_document(file)
    assert found == WRITTEN
    assert json.dumps(found) == json.dumps(WRITTEN)
    assert asdict(Holder(found))["found"] == WRITTEN
    for same in (found, copy.deepcopy(found), copy.copy(found)):
        for part, key in ((same, "x"), (same["a"], "y"), (same["a"]["b"][0], "z")):
            with pytest.raises(ValueError, match=rf"some\.json: lacks '{key}': damaged, or written by another version"):
                part[key]
    assert (found.get("x"), "x" in found) == (None, False)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": nan}'])
def test_what_is_no_json_is_told_by_file(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"^here: is not JSON"):
        parse_document(text, "here")


def test_a_value_of_another_type_is_told_by_file(file: Path) -> None:
    with pytest.raises(ValueError, match=r"some\.json: is not what is written there: TypeError"), as_written(file):
        read_document(file)["d"]["e"]


@pytest.mark.parametrize(
    "forged",
    [[], None, {"a": 1}, {"a": None}, {"a": "0" * 63}, {"../a": "0" * 64}, {"/etc/passwd": "0" * 64}, {"": "0" * 64},
     {"a\0": "0" * 64}, {"a": {"b": "0" * 64}}],
)  # fmt: skip
def test_digests_of_another_form_are_refused_by_name(forged: object, tmp_path: Path) -> None:
    (tmp_path / SUMS).write_text(json.dumps(forged))
    with pytest.raises(DamagedError, match=r"sums\.json: "):
        Sums(tmp_path)
