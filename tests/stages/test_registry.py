"""make promote and rollback where git signs tags, and where DVC cannot bring the files of a version."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from stages.commands import registry
from stages.running.stage import StageError

TOLD = {"bundle": "b" * 64, "promoted": True, "refit": False, "gates": []}
SIGNER = """#!/bin/sh
cat > /dev/null
printf '%s\\n' '-----BEGIN PGP SIGNATURE-----' '' 'c2lnbmVk' '-----END PGP SIGNATURE-----'
echo '[GNUPG:] SIG_CREATED ' >&2
"""
DVC = """#!/bin/sh
echo "$1 $(cat models/default.dvc)" >> asked
exit 1
"""


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def promoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two versions of one name, whose DVC brings nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin", "dvc", DVC)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    signer = program(tmp_path / "bin", "signer", SIGNER)
    subprocess.run(["git", "init", "--quiet"], check=True)
    settings = {"user.name": "test", "user.email": "test@example.org", "gpg.format": "openpgp", "gpg.program": signer}
    for key, value in settings.items():
        subprocess.run(["git", "config", key, value], check=True)
    (tmp_path / "models").mkdir()
    for number in (1, 2):
        (tmp_path / "models" / ".gitignore").write_text("/default\n")
        (tmp_path / "models" / "default.dvc").write_text(f"pointer {number}\n")
        registry.commit("default", f"Promote models/default v{number}")
        registry.tag(f"models/default@v{number}", f"models/default v{number}", TOLD)
        registry.crown("default", number, "promote")
    return tmp_path


def test_tags_that_git_signs_say_what_those_do_that_it_does_not(promoted: Path) -> None:
    subprocess.run(["git", "config", "tag.gpgSign", "true"], check=True)
    registry.tag("models/default@v3", "models/default v3", TOLD)
    shown = subprocess.run(["git", "cat-file", "tag", "models/default@v3"], check=True, capture_output=True, text=True)
    assert "BEGIN PGP SIGNATURE" in shown.stdout
    assert [(one.number, asdict(one.told)) for one in registry.versions_of("default")] == [
        (1, TOLD),
        (2, TOLD),
        (3, TOLD),
    ]


def test_a_rollback_whose_files_are_nowhere_leaves_pointer_and_folder_at_the_champion(promoted: Path) -> None:
    with pytest.raises(StageError, match="dvc pull failed"):
        registry.rollback("default", None)
    assert (promoted / "models" / "default.dvc").read_text() == "pointer 2\n"
    assert (promoted / "asked").read_text().splitlines() == [
        "checkout pointer 1", "pull pointer 1", "checkout pointer 2"
    ]  # fmt: skip
    assert [one.version for one in registry.reigns_of("default")] == [1, 2]


@pytest.mark.parametrize(
    ("name", "told", "what"),
    [
        ("models/default@v3", {key: TOLD[key] for key in ("bundle", "promoted", "gates")}, "refit: field required"),
        ("models/default@v3", TOLD | {"gates": [{"rule": "t >= 3"}]}, "gates: 0: passed: field required"),
        ("models/default@v3", TOLD | {"promoted": "yes"}, "promoted: input should be a valid boolean"),
        ("models/default@v3", [], "input should be an object"),
        ("models/default#champion#3", {"why": "promote"}, "version: field required"),
        ("models/default#champion#3", {"version": 2.5, "why": "promote"}, "version: input should be a valid integer"),
        ("models/default#champion#3", None, "input should be an object"),
    ],
)
def test_a_tag_of_another_hand_is_named_with_the_key_that_it_lacks(
    name: str, told: dict[str, object], what: str, promoted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.tag(name, "by hand", told)
    monkeypatch.setattr("sys.argv", ["registry", "list"])
    with pytest.raises(StageError, match=re.escape(f"git tag {name}: its message is not what make promote")) as refusal:
        registry.main()
    assert what in str(refusal.value)
    with pytest.raises(StageError, match=re.escape(name)):
        registry.rollback("default", None)
