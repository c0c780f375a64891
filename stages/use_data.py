"""Not a stage but `make use-data` for scripts: python -m stages.use_data SRC, or --sample."""

from __future__ import annotations

from stages.commands.use_data import main
from stages.running.stage import UNTOUCHED, run

if __name__ == "__main__":
    run("use-data", main, hint=UNTOUCHED)
