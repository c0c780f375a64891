"""Each package installs alone, into an empty environment, with only what it declares, and works there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages import ROOT

USES = {
    "metrics": """
        import sys, numpy as np, factor_metrics as m
        assert m.rank_ic(np.arange(24.0).reshape(2, 12), np.arange(24.0).reshape(2, 12)).tolist() == [1.0, 1.0]
        assert "torch" not in sys.modules
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


@pytest.mark.slow
@pytest.mark.parametrize("package", USES)
def test_a_package_installs_alone_and_works(package: str, tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
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
    if package != "models":
        assert "torch" not in listed
    script = "\n".join(line.strip() for line in USES[package].strip().splitlines())
    used = subprocess.run(
        [python, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert used.returncode == 0, used.stderr[-2000:]
