"""python -m stages.params checks params.yaml; --preset NAME checks it with a preset laid over it."""

from __future__ import annotations

import sys

from stages.params.presets import with_preset
from stages.params.reading import PARAMS_FILE, parse_params, read_document
from stages.running.rwlock import remove_broken_rwlock
from stages.running.stage import StageError, run


def main() -> None:
    """Check params.yaml, or params.yaml under a preset."""
    remove_broken_rwlock()
    document, name = read_document(PARAMS_FILE), str(PARAMS_FILE)
    match sys.argv[1:]:
        case []:
            pass
        case ["--preset", preset]:
            document, name = with_preset(document, preset), f"{PARAMS_FILE} with preset {preset}"
        case _:
            raise StageError("usage: python -m stages.params [--preset NAME]")
    params = parse_params(document, name)
    print(f"{name} is valid: {len(params.models)} models, labels {', '.join(params.tokenize.labels)}")


if __name__ == "__main__":
    run("params", main)
