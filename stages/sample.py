"""sample: write the simulated market, a stand-in for real data whose truth is known, to results/sample.

`data.dvc` imports it, so a fresh clone runs the whole DAG without a network. `make use-data` replaces it.
"""

from __future__ import annotations

import yaml

from factor_data import MarketConfig, simulate_market, write_market
from stages.running.files import stage_output
from stages.running.planned import check_loaded, read_plan
from stages.running.stage import run


def main() -> None:
    """Run the stage `sample`: simulate a market and write it as data/ could be."""
    plan = read_plan("sample")
    market = simulate_market(plan.section("sample", MarketConfig))
    with stage_output("sample") as folder:
        dataset = write_market(market, folder)
        (folder / "dataset.yaml").write_text(yaml.safe_dump(dataset, sort_keys=False), encoding="utf-8")
        check_loaded(plan)


if __name__ == "__main__":
    run("sample", main)
