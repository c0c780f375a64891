"""sample: write the simulated market, a stand-in for real data whose truth is known, to results/sample.

`data.dvc` imports it, so a fresh clone runs the whole DAG without a network. `make use-data` replaces it.
"""

import yaml

from factor_data import simulate_market, write_market
from stages.params import read_params
from stages.run import run, stage_output


def main() -> None:
    params = read_params()
    market = simulate_market(params.sample)
    with stage_output("sample") as folder:
        dataset = write_market(market, folder)
        (folder / "dataset.yaml").write_text(yaml.safe_dump(dataset, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    run("sample", main)
