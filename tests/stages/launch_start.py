"""What test_launch.py starts (python launch_start.py FOLDER HOW): the launcher of two processes."""

from __future__ import annotations

import sys
from pathlib import Path

from stages.processes.launch import launch

if __name__ == "__main__":
    launch("launch_target", sys.argv[1:], 2, Path(sys.argv[1]))
