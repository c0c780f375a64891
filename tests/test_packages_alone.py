"""Each package installs alone, into an empty environment, with only what it declares, and works there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
        import factor_models as m, torch
        model = m.build_model("lstm", num_features=3, num_horizons=2, lookback=4, hidden=4)
        assert model(torch.zeros(5, 4, 3)).shape == (5, 2)
    """,
}


# What the core of a package must do without: extras and what its tests compare with.
WITHOUT = {
    "metrics": ["pandas", "plotly", "scikit-learn", "scipy", "torch"],
    "data": ["torch"],
    "models": [],
}


@pytest.mark.slow
@pytest.mark.parametrize("package", USES)
def test_a_package_installs_alone_and_works(package: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    installed = subprocess.run(
        [*install, "--constraint", ROOT / "requirements.lock", ROOT / "packages" / package],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert installed.returncode == 0, installed.stderr[-2000:]
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert [line for line in listed.splitlines() if line.startswith("factor-")] == [
        line for line in listed.splitlines() if line.startswith(f"factor-{package}")
    ]
    installed_names = {line.split()[0] for line in listed.splitlines() if line}
    assert installed_names.isdisjoint(WITHOUT[package])
    script = "\n".join(line.strip() for line in USES[package].strip().splitlines())
    used = subprocess.run(
        [python, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert used.returncode == 0, used.stderr[-2000:]
