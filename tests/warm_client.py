"""What stands for `python`, `dvc` and launchers on the PATH of tests: hands its command to the process of warm.py.

It uses little of the standard library, no pathlib, since it must start in hundredths of a second. Signals are passed
on; killed, it takes with it the process that works for it; it ends as that ends.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

HERE, NAME = os.path.split(os.path.abspath(__file__))


def main() -> None:
    """Run the command in a process that is warm, or else replace this one by the interpreter."""
    arguments = sys.argv[1:]
    if NAME != "python":
        arguments = [os.path.join(os.path.dirname(sys.executable), NAME), *arguments]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-m", "-u")):
        start_cold(arguments)
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(os.path.join(HERE, "socket"))
        command = {"arguments": arguments, "folder": os.getcwd(), "pid": os.getpid()}
        request = json.dumps(command | {"environment": dict(os.environ)}).encode("ascii")
        socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
        server.sendall(request)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, frame: server.send(bytes([number])))
        said = server.recv(16).decode()
    if said == "cold":
        start_cold(arguments)
    status = int(said)
    if status < 0:
        if -status != signal.SIGKILL:  # which no process may handle
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def start_cold(arguments: list[str]) -> None:
    """Become the interpreter itself."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, *arguments])


main()
