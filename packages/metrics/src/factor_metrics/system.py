"""Load of the machine: CPU, memory, disk, GPU. A machine without a GPU is reported as such, not refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CPU_SECONDS = 0.1
GPU_FIELDS = {
    "index": "index",
    "name": "name",
    "percent": "utilization.gpu",
    "memory_used_mib": "memory.used",
    "memory_total_mib": "memory.total",
    "temperature_celsius": "temperature.gpu",
    "power_watt": "power.draw",
}
"""Our names of the fields queried from nvidia-smi."""


def system_figures(disk: Path = Path(), clock: Callable[[], float] = time.time) -> dict[str, Any]:
    """Return the figures of this moment as plain JSON values.

    Parameters
    ----------
    disk
        Any folder: the figures are those of the disk that it lies on.
    clock
        Seconds since 1970.

    Returns
    -------
    dict
        `time` (ISO, UTC); `cpu`: percent over a tenth of a second, num_cores, load_1_minute; `memory` and `disk` in
        bytes; `process`: bytes resident, threads; `gpus`: a list, one dict each with the keys of `GPU_FIELDS`, or
        None with the reason in `gpu_note`.

    Raises
    ------
    ValueError
        psutil is not installed (the extra `live`), or `disk` does not exist.
    """
    try:
        import psutil
    except ImportError:
        raise ValueError("system figures need psutil: pip install 'factor-metrics[live]'") from None
    if not disk.exists():
        raise ValueError(f"disk must be a folder that exists, got {disk}")
    memory, space, process = psutil.virtual_memory(), shutil.disk_usage(disk), psutil.Process()
    gpus, note = gpu_figures()
    return {
        "time": iso_time(clock()),
        "cpu": {
            "percent": float(psutil.cpu_percent(interval=CPU_SECONDS)),
            "num_cores": int(psutil.cpu_count() or 1),
            "load_1_minute": float(os.getloadavg()[0]),
        },
        "memory": {
            "total": int(memory.total),
            "available": int(memory.available),
            "percent": float(memory.percent),
        },
        "process": {"resident": int(process.memory_info().rss), "threads": int(process.num_threads())},
        "disk": {"total": space.total, "used": space.used, "free": space.free},
        "gpus": gpus,
        "gpu_note": note,
    }


def gpu_figures(command: str = "nvidia-smi") -> tuple[list[dict[str, Any]] | None, str | None]:
    """Return the figures of every GPU and None, or None and why there are none."""
    if shutil.which(command) is None:
        return None, f"{command} is not installed"
    query = [command, f"--query-gpu={','.join(GPU_FIELDS.values())}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except subprocess.TimeoutExpired:
        return None, f"{command} gave no answer within 10 seconds"
    except subprocess.CalledProcessError as error:
        return None, f"{command} failed: {(error.stdout + error.stderr).strip()[:200]}"
    return parse_gpus(answer.stdout), None


def parse_gpus(text: str) -> list[dict[str, Any]]:
    """Return one dict per line of nvidia-smi's CSV; what it does not know, such as [N/A], is None."""
    gpus = []
    for line in text.strip().splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(GPU_FIELDS):
            raise ValueError(f"nvidia-smi answered {len(cells)} fields, {len(GPU_FIELDS)} were queried: {line!r}")
        gpus.append(
            {key: cell if key == "name" else _number(cell) for key, cell in zip(GPU_FIELDS, cells, strict=True)}
        )
    return gpus


def _number(cell: str) -> float | None:
    try:
        return int(cell) if cell.isdigit() else float(cell)
    except ValueError:
        return None


def record_system_figures(path: Path, disk: Path = Path(), clock: Callable[[], float] = time.time) -> dict[str, Any]:
    """Append the figures to a file of JSON lines and return them."""
    figures = system_figures(disk, clock)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(figures, allow_nan=False) + "\n")
    return figures


def iso_time(seconds: float) -> str:
    """Return seconds since 1970 as ISO time in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
