"""What processes of warm.py do otherwise than those of users comes to the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import dumps_yaml, parse_yaml
from dvc.utils.serialize._yaml import parse_yaml_for_update

from stages import ROOT
from warm_lock import read_lock, written_lock

LIKE_NUMBERS = ("1" * 32, "0" * 31 + "1", "1" * 30 + "e5", "0" * 30 + "e5")
HASHES = {"deps": [{"path": "a b.json", "md5": md5, "size": 12} for md5 in LIKE_NUMBERS]}
LOCKS = {
    **{name: (ROOT / name).read_text(encoding="utf-8") for name in ("dvc.lock", "simulated/dvc.lock")},
    "hashes that look like numbers": dumps_yaml({"schema": "2.0", "stages": {"train@lstm": HASHES}}),
}

PROCESS = """
import warm_lock
warm_lock.use_libyaml()
from dvc.utils.serialize import modify_yaml, parse_yaml
from dvc.utils.strictyaml import load
for round_trip in (False, True):
    assert load("dvc.lock", round_trip=round_trip) == load("other.lock", round_trip=round_trip)
for _ in range(2):
    parsed = parse_yaml("a: [1]", "params.yaml")
    assert parsed == {"a": [1]}, "what one caller changes another does not see"
    parsed["a"].append(2)
for path in ("dvc.lock", "other.lock"):
    with modify_yaml(path) as data:
        data["stages"]["new"] = {"cmd": "python -m stages.new", "outs": [{"path": "new", "nfiles": 3}]}
"""


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_is_read_and_written_as_dvc_does(name: str) -> None:
    text = LOCKS[name]
    assert read_lock(text) == parse_yaml(text, name)
    assert written_lock(read_lock(text)) == dumps_yaml(parse_yaml_for_update(text, name)) == text


def test_dvc_itself_reads_and_writes_its_lock_so(tmp_path: Path) -> None:
    for name in ("dvc.lock", "other.lock"):
        (tmp_path / name).write_text(LOCKS["dvc.lock"])
    done = subprocess.run(
        [sys.executable, "-c", PROCESS], cwd=tmp_path, env={"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lock = (tmp_path / "dvc.lock").read_bytes()
    assert lock == (tmp_path / "other.lock").read_bytes()
    assert yaml.safe_load(lock)["stages"]["new"]["cmd"] == "python -m stages.new"
