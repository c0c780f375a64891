"""Two hosts on one machine: python tests/two_hosts.py (as root, Linux). Training over both must equal one host's.

Two network namespaces joined by a virtual cable stand for the hosts: neither sees the other's loopback, so the
processes really meet over the network, at the address of the first. One process is started on each in three ways: by
torchrun, by DeepSpeed's launcher with a hostfile (without ssh, once a host), and by the line of docs/training.md for
Slurm with the variables that srun sets. The same two processes then run on this host alone. The weights must be the
same bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOSTS = {"fc-host-0": ("fc-cable-0", "192.0.2.1"), "fc-host-1": ("fc-cable-1", "192.0.2.2")}
PORT = 29511
WORKER = Path(__file__).parent / "models" / "engine_worker.py"
SOURCES = Path(__file__).parents[1] / "packages" / "models" / "src"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@contextmanager
def two_hosts() -> Iterator[None]:
    (first, second), cables = HOSTS, [cable for cable, _ in HOSTS.values()]
    try:
        for host in (first, second):
            ip("netns", "add", host)
        ip(
            "link",
            "add",
            cables[0],
            "netns",
            first,
            "type",
            "veth",
            "peer",
            "name",
            cables[1],
            "netns",
            second,
        )
        for host, (cable, address) in HOSTS.items():
            ip("-n", host, "addr", "add", f"{address}/24", "dev", cable)
            ip("-n", host, "link", "set", cable, "up")
            ip("-n", host, "link", "set", "lo", "up")
        yield
    finally:
        for host in (first, second):
            subprocess.run(["ip", "netns", "delete", host], check=False)


def environment(cable: str | None) -> dict[str, str]:
    chosen = {} if cable is None else {"GLOO_SOCKET_IFNAME": cable, "TP_SOCKET_IFNAME": cable}
    return {**os.environ, "PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1", **chosen}


def torchrun(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", *arguments]


def launchers(rank: int, hostfile: Path, out: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Command and further environment of a host's process, by who starts it."""
    address, port = next(iter(HOSTS.values()))[1], str(PORT)
    work = [str(WORKER), str(out), "run"]
    place = ["--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(rank)]
    meeting = ["--master-addr", address, "--master-port", port]
    deepspeed = [sys.executable, "-m", "deepspeed.launcher.runner", "--hostfile", str(hostfile), "--no_ssh"]
    deepspeed += [
        "--node_rank",
        str(rank),
        "--master_addr",
        address,
        "--master_port",
        port,
        "--no_local_rank",
    ]
    line = 'RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS LOCAL_RANK=$SLURM_LOCALID exec "$@"'
    srun = {"SLURM_PROCID": str(rank), "SLURM_NTASKS": "2", "SLURM_LOCALID": "0"}
    return {
        "torchrun": ([*torchrun(*place, *meeting), *work], {}),
        "hostfile": ([*deepspeed, *work], {}),
        "slurm": (
            ["bash", "-c", line, "bash", sys.executable, *work],
            {**srun, "MASTER_ADDR": address, "MASTER_PORT": port},
        ),
    }


def on_two_hosts(launcher: str, hostfile: Path, out: Path) -> None:
    running = []
    for rank, (host, (cable, _)) in enumerate(HOSTS.items()):
        command, variables = launchers(rank, hostfile, out)[launcher]
        there = ["ip", "netns", "exec", host, *command]
        running.append(subprocess.Popen(there, env=environment(cable) | variables))
    statuses = [process.wait(300) for process in running]
    if any(statuses):
        sys.exit(f"{launcher}: a host failed")


def on_one_host(out: Path) -> None:
    command = [*torchrun("--standalone", "--nproc-per-node", "2"), str(WORKER), str(out), "run"]
    subprocess.run(command, env=environment(None), check=True)


def main() -> None:
    names = list(launchers(0, Path(), Path()))
    with tempfile.TemporaryDirectory() as folder:
        hostfile = Path(folder) / "hosts.txt"
        hostfile.write_text("".join(f"{address} slots=1\n" for _, address in HOSTS.values()))
        outs = {name: Path(folder) / name for name in [*names, "one"]}
        for out in outs.values():
            out.mkdir()
        with two_hosts():
            for name in names:
                on_two_hosts(name, hostfile, outs[name])
        on_one_host(outs["one"])
        weights = {name: (out / "run.safetensors").read_bytes() for name, out in outs.items()}
    for name in names:
        same = weights[name] == weights["one"]
        print(f"two hosts by {name} and one: the weights are {'the same bytes' if same else 'different'}")
    sys.exit(0 if len(set(weights.values())) == 1 else 1)


if __name__ == "__main__":
    main()
