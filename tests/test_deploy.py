"""What deploys: the image, compose, the unit and Kubernetes say what exists and fit together; packages equal the tree.

No container engine is needed: the Dockerfile is parsed here, and docs/deploy.md says how its steps were run without.
"""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from factor_serve.cli import _parser
from stages import ROOT

DEPLOY = ROOT / "deploy"
INSTRUCTIONS = {
    "ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD",
}  # fmt: skip
PROBES = {"/health", "/ready"}
IMAGE = {"python_version": "3.11", "python_full_version": "3.11.9", "sys_platform": "linux"}


def instructions(text: str) -> list[tuple[str, str]]:
    """Instructions of a Dockerfile and their arguments, lines that go on put together, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(one[0], one[1]) for line in whole.splitlines() if line.strip() for one in [line.split(maxsplit=1)]]


@pytest.fixture(scope="module")
def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage of the image; what stands before the first FROM is left out."""
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions((DEPLOY / "Dockerfile").read_text(encoding="utf-8")):
        assert name in INSTRUCTIONS, name
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, rest))
    return found


def of(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for one, rest in stage if one == name]


def served(arguments: list[str]) -> Any:
    """What the command makes of its arguments; those that do not fit end the test."""
    return _parser().parse_args(arguments)


def test_the_last_stage_has_no_compiler_and_no_pip_and_runs_as_nobody(stages: list[list[tuple[str, str]]]) -> None:
    build, last = stages
    assert of(build, "FROM") == ["${BASE} AS build"]
    assert of(last, "FROM") == ["${BASE}"]
    commands = " ".join(of(last, "RUN"))
    assert not re.search(r"\b(pip|gcc|g\+\+|build-essential|make|python3?-dev|git|curl|wget)\b", commands)
    user, group = of(last, "USER")[0].split(":")
    assert int(user) == int(group) > 0
    order = [name for name, _ in last]
    assert order.index("USER") > order.index("RUN"), "what runs as root comes before"
    assert order.index("USER") < order.index("ENTRYPOINT")
    copied = of(last, "COPY")
    assert copied == ["--from=build /srv/factorcast/venv /srv/factorcast/venv"], "no source, no cache"
    assert "urlopen('http://127.0.0.1:8000/health'" in of(last, "HEALTHCHECK")[0]
    assert of(last, "EXPOSE") == ["8000"]
    assert json.loads(of(last, "ENTRYPOINT")[0]) == ["factor-serve"]
    options = served(json.loads(of(last, "CMD")[0]))
    assert (options.command, options.bundle, options.host) == ("http", "/bundles/current", "0.0.0.0")
    assert json.loads(of(last, "VOLUME")[0])[0] in options.bundle
    assert options.key_file, "off loopback a key is needed"


def test_all_that_is_copied_is_in_the_tree_and_all_that_is_installed_is_pinned(
    stages: list[list[tuple[str, str]]],
) -> None:
    for line in of(stages[0], "COPY"):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    for command in re.findall(r"pip install[^&]*", " ".join(of(stages[0], "RUN"))):
        pinned = "--require-hashes" in command or "--no-index" in command or "requirements.lock" in command
        assert pinned or "build.txt" in command, command
        assert "--no-deps" in command, command


def test_what_the_image_takes_out_of_the_lock_are_pins_that_pip_reads(stages: list[list[tuple[str, str]]]) -> None:
    """Lines of the lock go on with digests, which are of no use where another index serves the file."""
    found = []
    for command in re.findall(r"grep -oE '[^']+' requirements\.lock", " ".join(of(stages[0], "RUN"))):
        found += subprocess.run(
            shlex.split(command), cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
    names = sorted(Requirement(line).name for line in found)
    assert names == ["hatchling", "packaging", "pathspec", "pluggy", "torch", "trove-classifiers"]


def pins(path: Path) -> dict[str, str]:
    """Versions by name, as the Python of the image takes them."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if re.match(r"[A-Za-z0-9]", line):
            one = Requirement(line.removesuffix(" \\"))
            if one.marker is None or one.marker.evaluate(IMAGE):
                found[canonicalize_name(one.name)] = str(one.specifier).removeprefix("==")
    return found


def test_what_serves_is_pinned_by_hash_at_the_versions_of_the_tree_and_nothing_is_missing() -> None:
    mine, whole = pins(DEPLOY / "requirements.lock"), pins(ROOT / "requirements.lock")
    assert {name: version for name, version in mine.items() if whole.get(name) != version} == {}
    text = (DEPLOY / "requirements.lock").read_text(encoding="utf-8")
    for entry in re.split(r"\n(?=[a-z])", text.partition("\n")[2].strip()):
        assert "--hash=sha256:" in entry, entry.splitlines()[0]
    for package in ("data", "metrics", "models", "serve"):
        project = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())["project"]
        extras = project.get("optional-dependencies", {})
        wanted = [*project["dependencies"], *extras.get("trees", []), *extras.get("http", [])]
        for one in map(Requirement, wanted):
            if one.marker is None or one.marker.evaluate():
                name = canonicalize_name(one.name)
                assert name in mine or name == "torch" or name.startswith("factor-"), name
    assert not {"deepspeed", "dvc", "torch", "pytest"} & mine.keys()
    assert "torch" in whole, "the image takes its version from there"


def test_compose_fits_the_image(stages: list[list[tuple[str, str]]]) -> None:
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    service = document["services"]["factor-serve"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    named = {volume.split(":")[0]: volume.split(":")[1] for volume in service["volumes"]}
    assert set(named) == set(document["volumes"])
    assert set(named.values()) == set(json.loads(of(stages[1], "VOLUME")[0]))
    assert "bundles:/bundles:ro" in service["volumes"]
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert set(service["secrets"]) == set(document["secrets"])
    options = served(json.loads(of(stages[1], "CMD")[0]))
    assert options.key_file == f"/run/secrets/{service['secrets'][0]}"
    user, said = of(stages[1], "USER")[0].partition(":")[0], (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert f"chown {user} deploy/{document['secrets'][service['secrets'][0]]['file'].removeprefix('./')}" in said
    assert service["read_only"]


def test_the_unit_starts_what_exists(stages: list[list[tuple[str, str]]]) -> None:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string((DEPLOY / "factor-serve.service").read_text(encoding="utf-8"))
    service = unit["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert program == "/srv/factorcast/venv/bin/factor-serve"
    options = served(arguments)
    credential = service["LoadCredential"].split(":")[0]
    assert options.key_file == f"%d/{credential}"
    checks = shlex.split(service["ExecStartPre"])
    assert checks[0] == program
    assert served(checks[1:]).bundle == options.bundle
    for key in ("NoNewPrivileges", "DynamicUser", "ProtectHome", "PrivateTmp"):
        assert service[key] == "yes"
    assert service["ProtectSystem"] == "strict"
    cache = f"/var/cache/{service['CacheDirectory']}"
    assert f"FACTORCAST_KERNEL_CACHE={cache}" in service["Environment"].split()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_knows_every_key_of_the_unit(tmp_path: Path) -> None:
    """It only warns of a key or a value that it does not know."""
    text = (DEPLOY / "factor-serve.service").read_text(encoding="utf-8")
    unit = tmp_path / "factor-serve.service"
    for change, said in (("", ""), ("NoSuchKey=yes\n", "Unknown key 'NoSuchKey'")):
        unit.write_text(
            text.replace("/srv/factorcast/venv/bin/factor-serve", "/bin/true").replace("Type=", change + "Type=")
        )
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stderr
        assert bool(said) == bool(done.stderr), done.stderr


def test_kubernetes_probes_what_the_server_answers(stages: list[list[tuple[str, str]]]) -> None:
    documents = {
        one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kubernetes" / "factor-serve.yaml").read_text())
    }
    assert set(documents) == {"PersistentVolumeClaim", "Deployment", "Service"}
    pod = documents["Deployment"]["spec"]["template"]
    container = pod["spec"]["containers"][0]
    options = served(container["args"])
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["readinessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/ready"
    source = (ROOT / "packages/serve/src/factor_serve/http/app.py").read_text(encoding="utf-8")
    assert all(f'"{path}"' in source for path in PROBES)
    port = container["ports"][0]
    assert port["containerPort"] == options.port
    assert all(container[f"{kind}Probe"]["httpGet"]["port"] == port["name"] for kind in ("liveness", "readiness"))
    assert documents["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["spec"]["volumes"]}
    assert options.bundle.startswith(mounts["bundles"])
    assert options.key_file.startswith(mounts["key"])
    claim = next(one for one in pod["spec"]["volumes"] if one["name"] == "bundles")["persistentVolumeClaim"]
    assert claim["claimName"] == documents["PersistentVolumeClaim"]["metadata"]["name"]
    user = of(stages[1], "USER")[0].split(":")[0]
    assert pod["spec"]["securityContext"]["runAsUser"] == int(user)
    assert documents["Service"]["spec"]["selector"] == pod["metadata"]["labels"]


def run_package(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEPLOY / "package.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_is_installed_is_held_against_the_tree(tmp_path: Path) -> None:
    """An environment that has the files of the tree, then one with an edited, a missing and a further file."""
    place = tmp_path / "lib" / "python3.11" / "site-packages"
    for package in ("data", "metrics", "models", "serve"):
        source = ROOT / "packages" / package / "src"
        for path in source.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                target = place / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    same = run_package("check", str(tmp_path))
    assert same.returncode == 0, same
    assert re.search(r"^\d+ files, equal to the tree: [0-9a-f]{64}$", same.stdout.strip())
    (place / "factor_serve" / "cli.py").write_text("edited")
    (place / "factor_data" / "sums.py").unlink()
    (place / "factor_models" / "more.py").write_text("")
    other = run_package("check", str(tmp_path))
    assert other.returncode == 1
    assert other.stderr.splitlines() == [
        "factor_models/more.py is not in the tree", "factor_data/sums.py is missing",
        "factor_serve/cli.py has other bytes",
    ]  # fmt: skip
    assert "NOT equal to the tree" in other.stdout


def test_a_wheel_that_is_built_has_the_files_of_the_tree(tmp_path: Path) -> None:
    built = run_package("build", str(tmp_path / "dist"))
    assert built.returncode == 0, built
    assert "equal to the tree" in built.stdout
    names = [name for wheel in (tmp_path / "dist").glob("*.whl") for name in zipfile.ZipFile(wheel).namelist()]
    assert "factor_serve/cli.py" in names
    assert "already; name an empty folder" in run_package("build", str(tmp_path / "dist")).stderr
