"""The repository's hygiene: no secrets, hosts or absolute paths, no unsafe loading, no heavy files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from stages import ROOT

OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
ADDRESS = rf"(?:{OCTET}\.){{3}}{OCTET}"
NAMED_SECRET = r"(?i)\b(pass(word|wd|phrase)|secret|api_?key|access_?token|auth_?token)"
OF_NOBODY = r"127\.|0\.0\.0\.0|192\.0\.2\.|198\.51\.100\.|203\.0\.113\."
"""This machine, and addresses that are kept for documentation (RFC 5737)."""
FORBIDDEN = {
    "an absolute path": r"(?<![\w.:/<])/(home|root|work|tmp|Users|mnt|opt)/\w",
    "a private key": r"BEGIN [A-Z ]*PRIVATE KEY|PuTTY-User-Key-File",
    "a token": r"\b((ghp|gho|ghs|hf|sk|glpat|xox[abp])[-_]|github_pat_|pypi-|AIza)[A-Za-z0-9_-]{20,}"
    r"|\beyJ[\w-]{15,}\.eyJ",
    "an AWS key": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    "a key to log in with": r"\bssh-(rsa|ed25519|dss) AAAA[0-9A-Za-z+/]{20,}",
    "a named password": NAMED_SECRET + r"[\"']?\s*[:=]\s*[\"'][^\"'{}<$\s]{6,}[\"']",
    "a variable with a password": r"(?i)^\s*(export )?\w*(PASSWORD|SECRET|API_KEY|TOKEN)=[^\s$'\"{<(]{6,}",
    "a password in a URL": r"://[^/\s:@{}<]+:[^/\s:@{}<]+@",
    "an address in a private network": r"(?<!==)\b(10|192\.168)(\.\d{1,3}){2,3}\b"
    rf"|\b172\.(1[6-9]|2\d|3[01])\.{OCTET}\.{OCTET}\b",
    "an address": rf"(?<![\d.=])(?!{OF_NOBODY}){ADDRESS}(?![\d.]|\.\d)",
    "a host": r"(?i)\b[a-z0-9][a-z0-9-]*(\.[a-z0-9-]+)*\.(internal|corp|lan|intra|intranet|localdomain|home\.arpa)\b"
    r"|\bip-\d+-\d+-\d+-\d+\b|\bssh (-\S+ (\S+ )?)*\w+@\w",
    "an e-mail address": r"\b[A-Za-z0-9._%+-]+@(?!example\.)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*"
    r"\.(?!invalid\b)[A-Za-z]{2,}\b",
}
"""What no tracked file may hold."""
PLANTED = {
    "an absolute path": ["path = '" + "/".join(("", "home", "someone", "data")) + "'"],
    "a private key": ["-----BEGIN OPENSSH PRIVATE KEY-----", "PuTTY-User-Key-File-3: ssh-ed25519"],
    "a token": ["ghp_" + 24 * "a", "hf_" + 24 * "b", "sk-" + 24 * "c", "github_pat_" + 24 * "d", "AIza" + 30 * "e"],
    "an AWS key": ["AKIA" + 16 * "A"],
    "a key to log in with": ["ssh-rsa AAAA" + 30 * "B"],
    "a named password": ["password = 'hunter2hunter2'", '{"api_key": "0123456789abcdef"}'],
    "a variable with a password": ["export DB_PASSWORD=hunter2hunter2", "HF_TOKEN=0123456789"],
    "a password in a URL": ["url = https://user:hunter2@example.org/"],
    "an address in a private network": ["10.1.2.3", "192.168.0.10", "host 172.16.5.4", "172.31.255.1:22"],
    "an address": ["8.8.8.8", "http://93.184.216.34/", "('203.0.112.9', 22)"],
    "a host": ["db01.corp", "gpu-7.prod.internal:22", "ip-10-0-0-12", "ssh -p 22 me@box"],
    "an e-mail address": ["jane.doe@company.com", "mailto:x@y.co.uk"],
}
HARMLESS = [
    "nvidia-curand==10.4.0.35 ;",
    "127.0.0.1:8000",
    "0.0.0.0",
    "192.0.2.1",
    "numpy==2.4.6",
    "nvidia-cublas==13.1.0.3",
    "172.15.0.1.2",
    "tests@factorcast.invalid",
    "zoo.kronos.pretrained: folder@0123abcd",
    "token = tokens[0]",
    "password = os.environ['PASSWORD']",
    "https://example.org/a@b",
    "factor_metrics.internals",
    "feature <feature>@<symbol>",
]
UNSAFE = r"\b(pickle|joblib|dill|cloudpickle)\.(load|loads)\b|allow_pickle=True|weights_only=False|yaml\.unsafe_load"


def tracked_files() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def found(what: str, line: str) -> bool:
    return re.search(FORBIDDEN[what], line) is not None


@pytest.mark.parametrize("what", sorted(FORBIDDEN))
def test_no_tracked_file_holds(what: str) -> None:
    this = Path(__file__).resolve()
    offenders = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked_files()
        if path != this and path.suffix not in {".png", ".svg"}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if found(what, line)
    ]
    assert not offenders


@pytest.mark.parametrize(("what", "line"), [(what, line) for what, lines in PLANTED.items() for line in lines])
def test_what_is_planted_is_found(what: str, line: str) -> None:
    assert found(what, line)


@pytest.mark.parametrize("line", HARMLESS)
def test_what_only_looks_like_it_is_not(line: str) -> None:
    assert [what for what in FORBIDDEN if found(what, line)] == []


def test_every_kind_is_planted() -> None:
    assert PLANTED.keys() == FORBIDDEN.keys()


def test_nothing_is_loaded_unsafely() -> None:
    sources = [p for p in tracked_files() if p.suffix == ".py" and p != Path(__file__).resolve()]
    assert sources
    assert not [path for path in sources if re.search(UNSAFE, path.read_text(encoding="utf-8"))]


def test_no_heavy_file_is_tracked() -> None:
    assert not [path for path in tracked_files() if path.stat().st_size > 1_000_000]


def test_git_keeps_the_metrics_and_dvc_the_rest() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    is_cached = {
        path.replace("${item.model}", "lstm"): options.get("cache", True)
        for stage in stages.values()
        for kind in ("outs", "metrics", "plots")
        for entry in stage.get(kind, [])
        for path, options in (entry if isinstance(entry, dict) else {entry: {}}).items()
    }
    assert not all(is_cached.values())
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", *is_cached],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert set(ignored) == {path for path, cached in is_cached.items() if cached}


def test_every_make_target_is_described_by_help() -> None:
    text = (ROOT / "Makefile").read_text()
    described = set(re.findall(r"^([a-z0-9-]+):.*## ", text, re.M))
    assert set(re.findall(r"^([a-z0-9-]+):", text, re.M)) == described
