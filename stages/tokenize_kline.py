"""tokenize_kline: what a K-line model needs before it is trained: per fold a tokenizer and its tokens.

`python -m stages.tokenize_kline kronos`. It runs for each of `models`, so that one that is not a K-line model neither
waits for the tokenizer nor runs again when it changes: its folder only says that nothing was needed.
"""

import os
import sys

from stages.run import StageError, run, stage_output, write_json

KLINE_MODELS = ("kronos",)  # those of factor_models, which takes seconds to import


def main() -> None:
    if len(sys.argv) != 2:
        raise StageError("say for which model: python -m stages.tokenize_kline <model>")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise StageError("tokenize_kline is run by one process: start it without a launcher")
    name = sys.argv[1]
    if name in KLINE_MODELS:
        from stages.kline_tokenizer import write_tokens

        write_tokens(name)
    else:
        with stage_output(f"tokenize_kline/{name}") as folder:
            write_json(folder / "report.json", {"needed": False})


if __name__ == "__main__":
    run("tokenize_kline", main)
