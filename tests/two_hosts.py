"""Two hosts on one machine: python tests/two_hosts.py (as root, Linux). Training over both must equal one host's.

Two network namespaces joined by a virtual cable stand for the hosts: neither sees the other's loopback, so the
processes really meet over the network, at the address of the first. torchrun starts one process on each; the same two
processes then run on this host alone. The weights must be the same bytes.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOSTS = {"fc-host-0": ("fc-cable-0", "172.30.7.1"), "fc-host-1": ("fc-cable-1", "172.30.7.2")}
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


def on_two_hosts(out: Path) -> None:
    address = next(iter(HOSTS.values()))[1]
    running = []
    for rank, (host, (cable, _)) in enumerate(HOSTS.items()):
        place = ["--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(rank)]
        meeting = ["--master-addr", address, "--master-port", str(PORT)]
        command = ["ip", "netns", "exec", host, *torchrun(*place, *meeting), str(WORKER), str(out), "run"]
        running.append(subprocess.Popen(command, env=environment(cable)))
    statuses = [process.wait(300) for process in running]
    if any(statuses):
        sys.exit("a host failed")


def on_one_host(out: Path) -> None:
    command = [*torchrun("--standalone", "--nproc-per-node", "2"), str(WORKER), str(out), "run"]
    subprocess.run(command, env=environment(None), check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        both, one = Path(folder) / "both", Path(folder) / "one"
        for out in (both, one):
            out.mkdir()
        with two_hosts():
            on_two_hosts(both)
        on_one_host(one)
        name = "run.safetensors"
        same = (both / name).read_bytes() == (one / name).read_bytes()
    print(f"two hosts and one: the weights are {'the same bytes' if same else 'different'}")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
