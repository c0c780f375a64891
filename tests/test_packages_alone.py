"""Each package installs into an empty environment, with only what it declares, and works there; all but one alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path, PurePath

import pip
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stages import ROOT

USES = {
    "metrics": """
        import sys, numpy as np, factor_metrics as m
        prediction = np.arange(600.0).reshape(20, 30) % 7.0
        judged = m.evaluate_predictions(prediction, prediction, horizon=5, num_bootstrap=100)
        assert judged.rank_ic.tolist() == [1.0] * 20 and judged.rank_ic_summary.mean == 1.0
        assert not {"pandas", "plotly", "scipy", "torch"} & set(sys.modules)
    """,
    "data": """
        import sys, factor_data as d
        market = d.simulate_market(d.MarketConfig(symbols=12, bars=120))
        panel, _ = d.clean_bars(d.Panel.from_frame(market.bars))
        assert d.compute_features(panel).values.shape[0] == panel.num_rows
        assert "torch" not in sys.modules
    """,
    "models": """
        import factor_models as m, numpy as np, torch
        model = m.build_model("lstm", num_features=3, num_horizons=2, lookback=4, hidden=4)
        assert model(torch.zeros(5, 4, 3)).shape == (5, 2)
        x = np.arange(40.0, dtype=np.float32)[:, None]
        table = m.Table(features=x, targets=x.astype(float), groups=np.arange(40) // 4)
        sizes = {"num_features": 1, "num_horizons": 1}
        fitted = m.build_model("linear", **sizes).fit(table)
        assert np.corrcoef(fitted.predict(table)[:, 0], x[:, 0])[0, 1] > 0.99
        refused = []
        try: m.build_model("lightgbm", **sizes).fit(table)
        except ModuleNotFoundError as error: refused.append(str(error))
        try: m.Engine
        except ModuleNotFoundError as error: refused.append(str(error))
        name = "{} is not installed: pip install 'factor-models[{}]'"
        assert refused == [name.format("lightgbm", "trees"), name.format("deepspeed", "train")], refused
    """,
    "serve": """
        import subprocess, sys
        from pathlib import Path
        command = [Path(sys.executable).parent / "factor-serve", "check", "."]
        said = subprocess.run(command, capture_output=True, text=True)
        assert said.returncode == 1 and "manifest.json: no such file" in said.stdout, said
        from factor_serve.bundle import load_bundle
        assert not {"deepspeed", "fastapi", "uvicorn"} & set(sys.modules)
    """,
    "experiments": """
        import sys, numpy as np
        from factor_experiments.cli import main
        from factor_experiments.trials import clusters
        assert clusters(np.random.default_rng(0).normal(size=(50, 3))).tolist() != [1, 1, 1]
        assert main(["-C", sys.prefix, "trials"]) == 2
        assert "torch" not in sys.modules
    """,
}

LIST = "from importlib import metadata; print(*sorted({d.metadata['Name'].lower() for d in metadata.distributions()}))"

# What the core of a package must do without: extras and what its tests compare with.
WITHOUT = {
    "metrics": ["pandas", "plotly", "scikit-learn", "scipy", "torch"],
    "data": ["torch"],
    "models": ["deepspeed", "lightgbm", "xgboost", "xgboost-cpu"],
    "serve": ["deepspeed", "dvc", "fastapi", "uvicorn"],
    "experiments": ["torch"],
}
NEEDS = {"experiments": ["metrics"], "serve": ["data", "metrics", "models"]}
"""Packages of the project that a package declares."""


QUIET = ["--disable-pip-version-check", "--quiet"]
PIP = [sys.executable, "-m", "pip", *QUIET]
RUNNER = Path(pip.__file__).with_name("__pip-runner__.py")
"""What `pip --python` starts in another environment, itself started a second time for nothing else."""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each package, built from its own folder."""
    built = tmp_path_factory.mktemp("wheels")
    folders = [ROOT / "packages" / name for name in USES]
    run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", built, *folders])
    return {path.name.removeprefix("factor_").partition("-")[0]: path for path in built.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("package", USES)
def test_a_package_installs_alone_and_works(package: str, tmp_path: Path, wheels: dict[str, Path]) -> None:
    python, site = empty_environment(tmp_path / "venv")
    mine = [wheels[name] for name in (package, *NEEDS.get(package, ()))]
    run([python, RUNNER, "install", *QUIET, "--no-deps", "--no-index", "--no-compile", *mine])
    own = {canonicalize_name(one.metadata["Name"]): one for one in metadata.distributions(path=[str(site)])}
    for name in declared(own[f"factor-{package}"].requires or [], own) - set(own):
        link(metadata.distribution(name), site)
    listed = run([python, "-c", LIST]).split()
    assert [name for name in listed if name.startswith("factor-")] == sorted(own)
    assert set(listed).isdisjoint(WITHOUT[package])
    run([python, "-c", "\n".join(line.strip() for line in USES[package].strip().splitlines())])


def empty_environment(folder: Path) -> tuple[Path, Path]:
    """An interpreter that sees no package, and where its packages go."""
    run([sys.executable, "-m", "venv", "--without-pip", folder])
    python = folder / "bin" / "python"
    return python, Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())


def declared(requirements: Iterable[str], own: Mapping[str, metadata.Distribution]) -> set[str]:
    """What these ask for, and what that asks for; each must be here in a version that suits, as the lock has it.

    What the project's `own` packages ask for stands in the wheels just built, not in this environment.
    """
    names: set[tuple[str, frozenset[str]]] = set()
    waiting = [(Requirement(text), {""}) for text in requirements]
    while waiting:
        wanted, extras = waiting.pop()
        if wanted.marker is not None and not any(wanted.marker.evaluate({"extra": one}) for one in extras):
            continue
        found = own.get(canonicalize_name(wanted.name)) or metadata.distribution(wanted.name)
        assert wanted.specifier.contains(found.version, prereleases=True), f"{wanted}, locked is {found.version}"
        if (name := (canonicalize_name(wanted.name), frozenset(wanted.extras))) not in names:
            names.add(name)
            waiting += [(Requirement(text), {"", *wanted.extras}) for text in found.requires or []]
    return {name for name, _ in names}


def link(distribution: metadata.Distribution, site: Path) -> None:
    """Put a distribution of this environment into another, without unpacking its gigabyte anew."""
    source = Path(str(distribution.locate_file("")))
    for top, *rest in {PurePath(file).parts[:2] for file in distribution.files or [] if ".." not in file.parts}:
        place = site / top / rest[0] if rest else site / top
        place.parent.mkdir(exist_ok=True)
        if not place.exists():
            place.symlink_to(source / place.relative_to(site))


def run(command: Sequence[str | Path]) -> str:
    """Standard output of a command that must succeed, with nothing of this process's environment for Python."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=tempfile.gettempdir()
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
