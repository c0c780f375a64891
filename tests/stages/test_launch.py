"""The launcher of several processes, with processes that do nothing: failures, signals, time-outs, ports, orphans."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from stages import ROOT
from stages.processes.launch import launch
from stages.processes.watch import Watch
from stages.running.environment import check_launcher, memory_budget, timeout_minutes, whole_number
from stages.running.lock import exclusive
from stages.running.stage import StageError
from stages.running.starter import starter
from warm import path_of_programs

pytestmark = pytest.mark.slow

LAUNCHER = Path(__file__).with_name("launch_start.py")


def start(folder: Path, how: str, **environment: str) -> subprocess.Popen:
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    mine = {**os.environ, "PYTHONPATH": path, "PATH": path_of_programs(), **environment}
    command = ["python", str(LAUNCHER), str(folder), how]
    return subprocess.Popen(command, env=mine, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def ranks_of(folder: Path) -> list[int]:
    paths = [folder / f"pid_{rank}" for rank in range(2)]
    wait_for(lambda: all(path.exists() and path.read_text() for path in paths))
    return [int(path.read_text()) for path in paths]


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def assert_all_gone(pids: list[int], seconds: float = 40.0) -> None:
    wait_for(lambda: not any(is_alive(pid) for pid in pids), seconds)


def test_a_failing_process_is_named_with_the_end_of_its_log_and_ends_the_others(tmp_path: Path) -> None:
    run = start(tmp_path, "fail")
    pids = ranks_of(tmp_path)
    _, said = run.communicate(timeout=60)
    assert "process 1 of 2 ended with status 1; the same command again goes on from the last checkpoint" in said
    assert "[rank 1] rank 1 cannot go on" in said
    assert_all_gone(pids, 1)


def test_a_process_that_only_lost_another_one_is_not_the_one_that_is_named(tmp_path: Path) -> None:
    run = start(tmp_path, "lost")
    _, said = run.communicate(timeout=60)
    assert "process 1 of 2 ended with status 1" in said
    assert "[rank 1] rank 1 takes long to end" in said
    assert "process 0" not in said


def test_a_killed_process_is_named_with_its_signal(tmp_path: Path) -> None:
    run = start(tmp_path, "go")
    pids = ranks_of(tmp_path)
    os.kill(pids[1], signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    assert "process 1 of 2 was ended by signal 9" in said
    assert_all_gone(pids, 1)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_request_to_stop_reaches_every_process(tmp_path: Path, number: signal.Signals, status: int) -> None:
    run = start(tmp_path, "go")
    pids = ranks_of(tmp_path)
    run.send_signal(number)
    assert run.wait(60) == status
    assert_all_gone(pids, 1)


def test_processes_end_by_themselves_when_their_launcher_is_killed(tmp_path: Path) -> None:
    run = start(tmp_path, "go")
    pids = ranks_of(tmp_path)
    run.kill()
    run.wait()
    assert_all_gone(pids)


def test_a_launcher_that_ended_before_its_process_looked_counts_as_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FACTORCAST_LAUNCHER", str(os.getppid()))
    assert starter()()
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    monkeypatch.setenv("FACTORCAST_LAUNCHER", str(ended.pid))
    assert not starter()()
    with Watch() as watch:
        wait_for(watch.stop_requested)


def test_a_process_that_stands_still_says_where_and_ends_all(tmp_path: Path) -> None:
    run = start(tmp_path, "hang", FACTORCAST_TIMEOUT_MINUTES="0.1")
    pids = ranks_of(tmp_path)
    _, said = run.communicate(timeout=60)
    assert "process 1 of 2 ended with status 124" in said
    log = (tmp_path / "rank_1.log").read_text()
    assert "no step for 0.1 minutes: every thread stands here" in log
    assert "launch_target.py" in log
    assert_all_gone(pids, 1)


def test_the_port_is_free_whatever_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(Path(__file__).parent)]))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setenv("MASTER_PORT", port)
        launch("launch_target", [str(tmp_path), "end"], 2, tmp_path)
    ports = {(tmp_path / f"port_{rank}").read_text() for rank in range(2)}
    assert len(ports) == 1
    assert ports != {port}


def test_a_lock_is_for_one_and_is_free_when_its_holder_has_ended(tmp_path: Path) -> None:
    message = rf"another run \(process {os.getpid()}: .*\) holds .*lock: wait until it has ended"
    with exclusive(tmp_path / "lock"), pytest.raises(StageError, match=message):
        exclusive(tmp_path / "lock", wait_seconds=0.3).__enter__()
    with exclusive(tmp_path / "lock", wait_seconds=0.3):
        pass


@pytest.mark.parametrize("text", ["0", "-1", "two", ""])
def test_numbers_of_the_environment_are_checked(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORCAST_PROCESSES", text)
    monkeypatch.setenv("FACTORCAST_TIMEOUT_MINUTES", text)
    with pytest.raises(StageError, match=f"FACTORCAST_PROCESSES is '{text}': must be a whole number >= 1"):
        whole_number("FACTORCAST_PROCESSES", 1)
    with pytest.raises(StageError, match=f"FACTORCAST_TIMEOUT_MINUTES is '{text}': must be a number > 0"):
        timeout_minutes()


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("FACTORCAST_PROCESSES", "9" * 30, "must be at most 4,096"),
        ("FACTORCAST_PARALLEL_FOLDS", "\u0663", "must be a whole number >= 1"),
        ("FACTORCAST_MEMORY_MB", "9" * 30, "must be at most 1,073,741,824"),
        ("FACTORCAST_TIMEOUT_MINUTES", "inf", "must be at most 525,600"),
        ("FACTORCAST_TIMEOUT_MINUTES", "nan", "must be a number > 0"),
        ("FACTORCAST_LAUNCHER", "abc", "only a launcher sets it"),
        ("RANK", "0", "RANK is set and WORLD_SIZE is not: a launcher sets both"),
    ],
)
def test_absurd_values_of_the_environment_are_one_line_each(
    variable: str, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    readers: dict[str, Any] = {
        "FACTORCAST_MEMORY_MB": memory_budget,
        "FACTORCAST_TIMEOUT_MINUTES": timeout_minutes,
        "FACTORCAST_LAUNCHER": starter,
        "RANK": check_launcher,
    }
    read = readers.get(variable, lambda: whole_number(variable, 1))
    with pytest.raises(ValueError, match=said) as refused:
        read()
    assert variable in str(refused.value)
    assert len(str(refused.value)) < 160


@pytest.mark.parametrize(("variable", "text"), [("RANK", "2"), ("WORLD_SIZE", "two"), ("MASTER_PORT", "70000")])
def test_what_a_launcher_says_must_make_sense(variable: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    group = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "here", "MASTER_PORT": "29500", variable: text}
    for name, value in group.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StageError, match=f"{variable} is '{text}': must be a whole number from"):
        check_launcher()


def test_taken_port_and_wrong_launcher_give_one_line_errors(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        group = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
        group["MASTER_PORT"] = str(taken.getsockname()[1])
        code = "from factor_models import start_distributed; from stages.running.stage import run; "
        code += "run('x', start_distributed)"
        (tmp_path / "started.py").write_text(code)
        for arguments, said in (
            ([str(tmp_path / "started.py")], "MASTER_PORT is in use"),
            (["-m", "stages.tokenize_kline", "kronos"], "is run by one process"),
        ):
            ended = subprocess.run(
                ["python", *arguments],
                env=os.environ | group | {"PATH": path_of_programs(), "PYTHONPATH": str(ROOT)},
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 2, ended.stderr
            assert said in ended.stderr
            assert "Traceback" not in ended.stderr
