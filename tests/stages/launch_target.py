"""What test_launch.py launches (python -m launch_target FOLDER HOW): processes that do nothing, or fail."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from stages.processes.watch import Watch
from stages.running.stage import LOST_PEER


def main() -> None:
    folder, how = Path(sys.argv[1]), sys.argv[2]
    rank = int(os.environ["RANK"])
    with Watch() as watch:
        (folder / f"pid_{rank}").write_text(str(os.getpid()))
        (folder / f"port_{rank}").write_text(os.environ["MASTER_PORT"])
        while how != "end":
            if how == "fail" and rank == 1:
                sys.exit("rank 1 cannot go on")
            if how == "lost":
                if rank == 0:
                    sys.exit(LOST_PEER)
                time.sleep(0.5)
                sys.exit("rank 1 takes long to end")
            if how != "hang" or rank != 1:
                watch.beat()
            if watch.stop_requested():
                sys.exit(watch.exit_status)
            time.sleep(0.05)


if __name__ == "__main__":
    main()
