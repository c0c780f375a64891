"""Pins with digests: made from what uv resolves, complete, and refused by pip where a file is another one."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from stages import ROOT
from stages.commands.lock import CPU_LOCK, CUDA, CUDA_LOCK, ENCODER_LOCK, LOCK, added, cpu_build, name_of, pins_of
from stages.running.stage import StageError

RESOLVED = (
    "numpy==2.4.6 \\\n    --hash=sha256:{0}\nnumpy==2.5.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:{1}\n"
)


def digest(character: str) -> str:
    return 64 * character


def test_a_name_that_is_pinned_once_per_python_keeps_both_pins() -> None:
    first, second = pins_of("# made by\n" + RESOLVED.format(digest("a"), digest("b")))
    assert (digest("a") in first, digest("b") in second) == (True, True)
    assert name_of(first) == name_of(second) == "numpy"


def test_a_pin_without_digest_is_refused_by_its_name() -> None:
    with pytest.raises(StageError, match="rich: the index gives no sha256"):
        pins_of(RESOLVED.format(digest("a"), digest("b")) + "rich==14.0.0\n")


def test_the_cpu_build_has_the_files_of_every_machine_that_locked_this_version() -> None:
    once = cpu_build("torch==2.13.0", "2.13.0+cpu", digest("a"), [])
    twice = cpu_build("torch==2.13.0", "2.13.0+cpu", digest("b"), once)
    assert [re.findall("sha256:(.)", pin) for pin in twice] == [["a", "b"]]
    assert cpu_build("torch==2.13.0", "2.13.0", digest("c"), twice) == twice
    assert cpu_build("torch==2.14.0", "2.14.0", digest("c"), twice) == []


def test_the_lock_of_the_encoder_has_what_it_adds_and_changes_nothing() -> None:
    pins = pins_of(RESOLVED.format(digest("a"), digest("b")))
    more = [f"regex==1.0 --hash=sha256:{digest('c')}\n"]
    assert added(pins, pins + more) == more
    with pytest.raises(StageError, match=r"numpy: requirements\.encoder\.lock would need another version or file"):
        added(pins, [pins[0], *more])
    locked, others = (
        {name_of(pin): pin for pin in pins_of((ROOT / path).read_text(encoding="utf-8"))}
        for path in (ENCODER_LOCK, LOCK)
    )
    assert "transformers" in locked
    assert not locked.keys() & others.keys()


def test_every_pin_of_the_locks_has_a_digest_and_every_direct_dependency_a_pin() -> None:
    pins = {path: pins_of((ROOT / path).read_text(encoding="utf-8")) for path in (LOCK, CPU_LOCK, CUDA_LOCK)}
    names = {name_of(pin) for pin in pins[LOCK]}
    direct = re.findall(r"^[\w.-]+", (ROOT / "requirements.in").read_text(encoding="utf-8"), re.MULTILINE)
    assert {re.sub(r"[-_.]+", "-", name) for name in direct} <= names
    assert not [name for name in names if CUDA.match(name)]
    assert all(CUDA.match(pin) for pin in pins[CUDA_LOCK])
    engine = next(pin.split()[0] for pin in pins[LOCK] if name_of(pin) == "torch")
    assert [pin.split()[0] for pin in pins[CPU_LOCK]] == [f"{engine}+cpu"]


def test_make_install_refuses_a_file_that_is_not_the_pinned_one(tmp_path: Path) -> None:
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    pinned = re.search(r"^PINNED = \S+ (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    right = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for number, (sha256, status) in enumerate([(digest("0"), 1), (right, 0)]):
        (tmp_path / "lock").write_text(f"tiny==1.0 --hash=sha256:{sha256}\n", encoding="utf-8")
        where = ["--no-index", "--find-links", str(tmp_path), "--target", str(tmp_path / str(number))]
        command = [sys.executable, *pinned[1].split(), str(tmp_path / "lock"), *where]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == status
        assert ("DO NOT MATCH THE HASHES" in done.stderr) == bool(status)
        assert (tmp_path / str(number) / "tiny.py").exists() != bool(status)
