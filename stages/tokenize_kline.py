"""tokenize_kline: what K-line models need before they are trained: per fold a tokenizer and its tokens.

Where no K-line model is listed in `models` it only says so.
"""

from __future__ import annotations

import os
import shutil
from importlib import import_module

from stages.json_files import write_json
from stages.running.environment import check_launcher
from stages.running.files import stage_output
from stages.running.planned import check_loaded, read_plan
from stages.running.stage import StageError, run

ROOM = "stages.kline.tokenizer"
"""Loaded by name, so that where no K-line model is listed its code is not in the plan."""


def main() -> None:
    """Run the stage `tokenize_kline`: fit the tokenizers of K-line models; write nothing without such a model."""
    check_launcher()
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise StageError("tokenize_kline is run by one process: start it without a launcher")
    plan = read_plan("tokenize_kline")
    models = plan.value("kline_models")
    with stage_output("tokenize_kline") as folder:
        if models:
            import_module(ROOM).write_tokens(plan, folder / models[0])
            for name in models[1:]:
                shutil.copytree(folder / models[0], folder / name)
        write_json(folder / "models.json", models)
        check_loaded(plan)


if __name__ == "__main__":
    run("tokenize_kline", main)
