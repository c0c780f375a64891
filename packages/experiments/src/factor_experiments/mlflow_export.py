"""The trials of the ledger as runs in an MLflow store, for teams that look at them there."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from factor_experiments.gathering import Gathered
from factor_experiments.ledger import Trial
from factor_experiments.revision import flattened
from factor_metrics import mean_test

TAG = "factorcast.trial"
"""Tag of a run with the trial's digest, by which it is found again."""
LONGEST = 500
"""Characters of a parameter's value that MLflow takes."""


def export(gathered: Gathered, store: str, experiment: str) -> tuple[int, int]:
    """Write each trial that the store does not have as a finished run; return how many are new, and how many there are.

    A run has the name of the trial, the settings of its evaluation as parameters, and per label the mean rank IC with
    interval and t, number of dates, and CPU seconds where they are known; the commit and the md5 of its table are tags.
    ValueError where mlflow is not installed, or refuses.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise ValueError(
            "the package mlflow is needed: pip install 'mlflow-skinny>=2.14' sqlalchemy alembic, or "
            "'factor-experiments[mlflow]'"
        ) from None
    new = 0
    try:
        client = MlflowClient(tracking_uri=store)
        found = client.get_experiment_by_name(experiment)
        number = found.experiment_id if found is not None else client.create_experiment(experiment)
        for trial in gathered.trials:
            if client.search_runs([number], f"tags.`{TAG}` = '{trial.id}'", max_results=1):
                continue
            milliseconds = int(datetime.fromisoformat(trial.time).timestamp() * 1000)
            tags = {"mlflow.runName": gathered.names[trial.id], **_tags(trial)}
            run = client.create_run(number, start_time=milliseconds, tags=tags).info.run_id
            client.log_batch(
                run,
                metrics=[Metric(key, value, milliseconds, 0) for key, value in _metrics(trial).items()],
                params=[Param(key, value) for key, value in _params(trial).items()],
            )
            # Last of all, so that a run that was begun and not finished is made again.
            client.log_batch(run, tags=[RunTag(TAG, trial.id)])
            client.set_terminated(run, "FINISHED", milliseconds)
            new += 1
    except MlflowException as error:
        raise ValueError(f"MLflow's store {store}: {str(error).splitlines()[0]}") from error
    return new, len(gathered.trials)


def _tags(trial: Trial) -> dict[str, str]:
    known = {"table": trial.table, "commit": trial.commit, "experiment": trial.experiment, "forecast": trial.name}
    return {f"factorcast.{key}": value for key, value in known.items() if value is not None}


def _params(trial: Trial) -> dict[str, str]:
    settings: Mapping[str, Any] = flattened(dict(trial.settings or {}))
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    return {key: text[:LONGEST] for key, text in list(texts.items())[:100]}


def _metrics(trial: Trial) -> dict[str, float]:
    found: dict[str, float] = {} if trial.cpu_seconds is None else {"cpu_seconds": trial.cpu_seconds}
    for label, one in (trial.series or {}).items():
        test = mean_test(one.rank_ic, one.overlap)
        low, high = test.interval()
        numbers = {"rank_ic": test.mean, "rank_ic_low": low, "rank_ic_high": high, "t": test.t_stat}
        found |= {f"{label}.{key}": value for key, value in numbers.items() if math.isfinite(value)}
    return found
