"""`factor-serve http` on loopback: latency of one new date, and a minute at saturation with good and spoiled requests.

    python benchmarks/bench_serve_http.py BUNDLE BARS --news NEWS [--symbols 1000] [--seconds 60]

A request carries, for each symbol, the bars that a new date looks back on (`Forecaster.memory`, a hundred or so), since
the server keeps nothing between two of them; beside it stands the update of a `Forecaster` in memory, which does. Bars
of fewer symbols than asked for are given again under other names.

At saturation eight clients send good requests of 40 symbols and spoiled ones without a pause. Every answer to a good
one must have the bytes of the first, or be a refusal (503: too many wait); every spoiled one must be refused. The
resident memory of the server is read every second.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from factor_data import Panel, read_bars, read_news
from factor_serve import Forecaster, load_bundle
from factor_serve.memory import kept_bars

ARROW, JSON = "application/vnd.apache.arrow.stream", "application/json"
PORT = 18652
WARM, REQUESTS, CLIENTS, FEW = 3, 60, 8, 40
SPOILED = (b"{", b"[]", b'{"bars": {"close": ["x"]}}', b'{"bars": {"close": [NaN]}}', b"\x00" * 500, b"[" * 50_000)


def widened(frame: pd.DataFrame, num_symbols: int) -> pd.DataFrame:
    """Bars of so many symbols: those there are, again under other names."""
    symbols = sorted(frame["symbol"].unique())
    copies = [frame.assign(symbol=frame["symbol"] + f"_{copy}") for copy in range(-(-num_symbols // len(symbols)))]
    wide = pd.concat(copies, ignore_index=True)
    kept = sorted(wide["symbol"].unique())[:num_symbols]
    return wide[wide["symbol"].isin(kept)].reset_index(drop=True)


def arrow_of(*frames: pd.DataFrame | None) -> bytes:
    sink = io.BytesIO()
    for frame in frames:
        if frame is not None:
            table = pa.Table.from_pandas(frame, preserve_index=False)
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
    return sink.getvalue()


def json_of(bars: pd.DataFrame, news: pd.DataFrame | None) -> bytes:
    def columns(frame: pd.DataFrame) -> dict[str, list]:
        frame = frame.assign(timestamp=frame["timestamp"].astype(str))
        return frame.astype(object).where(frame.notna(), None).to_dict("list")

    return json.dumps({"bars": columns(bars), **({} if news is None else {"news": columns(news)})}).encode()


def post(body: bytes, kind: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
    try:
        connection.request("POST", "/predict", body, {"Content-Type": kind})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def ready() -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False


def resident(process: int) -> float:
    """MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def shared_out(process: int) -> dict[str, float]:
    """MiB of a process in memory, and its share of them where each page counts by how many processes have it."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in text.splitlines()[1:] if line.endswith("kB")}
    return {name: sizes[name] for name in ("Rss", "Pss")}


def workers_of(process: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def cpu(process: int) -> float:
    """Seconds of CPU time that a process has used."""
    parts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def told(name: str, seconds: list[float], used: float, size: int = 0) -> None:
    p50, p99 = (1e3 * float(np.quantile(seconds, q)) for q in (0.5, 0.99))
    told_size = f"{size / 2**20:.1f} MiB" if size else "-"
    print(f"| {name} | {told_size} | {p50:,.1f} | {p99:,.1f} | {1e3 * used / len(seconds):,.1f} | {len(seconds)} |")


def latency(body: bytes, kind: str, name: str, process: int, times: int) -> None:
    seconds, before = [], 0.0
    for number in range(WARM + times):
        if number == WARM:
            before = cpu(process)
        start = time.perf_counter()
        status, content = post(body, kind)
        if status != 200:
            raise SystemExit(f"{name}: status {status}: {content[:300]!r}")
        if number >= WARM:
            seconds.append(time.perf_counter() - start)
    told(name, seconds, cpu(process) - before, len(body))


def updates(bundle: Path, frame: pd.DataFrame, news: pd.DataFrame | None, times: int) -> None:
    """New dates that follow the history, each the bars of its last date again."""
    forecaster, last = Forecaster(load_bundle(bundle)), frame["timestamp"].max()
    forecaster.update(frame, news)
    new, seconds, before = frame[frame["timestamp"] == last], [], 0.0
    for number, date in enumerate(pd.bdate_range(last, periods=times + WARM + 1)[1:]):
        bars = Panel.from_frame(new.assign(timestamp=date))
        if number == WARM:
            before = time.process_time()
        start = time.perf_counter()
        forecaster.update(bars)
        if number >= WARM:
            seconds.append(time.perf_counter() - start)
    told("`Forecaster.update` in memory", seconds, time.process_time() - before)


class Saturation:
    """Clients that send without a pause until told to stop, and what came back."""

    def __init__(self, good: bytes) -> None:
        self.good, self.expected = good, post(good, ARROW)[1]
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.stop = threading.Event()

    def client(self, number: int) -> None:
        turn = number
        while not self.stop.is_set():
            turn += 1
            spoiled = SPOILED[turn % len(SPOILED)] if turn % 2 else None
            try:
                status, content = post(self.good, ARROW) if spoiled is None else post(spoiled, JSON)
            except OSError as error:
                self.wrong.append(repr(error))
                continue
            kind = "good" if spoiled is None else "spoiled"
            self.counts[f"{kind}: {status}"] += 1
            right = content == self.expected if status == 200 else b'"error"' in content
            if not right or (spoiled is not None and not 400 <= status < 504) or status == 500:
                self.wrong.append(f"{kind} {status}: {content[:200]!r}")

    def run(self, seconds: float, process: int) -> list[float]:
        threads = [threading.Thread(target=self.client, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        memory = []
        for _ in range(int(seconds)):
            time.sleep(1.0)
            memory.append(resident(process))
        self.stop.set()
        for thread in threads:
            thread.join()
        return memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("bars", type=Path)
    parser.add_argument("--news", type=Path)
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of each kind that are timed")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--workers", type=int, default=1, help="above 1: tell their memory, and nothing else")
    options = parser.parse_args()
    panel, bundle = read_bars(options.bars), load_bundle(options.bundle)
    memory = kept_bars(bundle, panel) or panel.num_dates
    frame = panel.select(panel.date_code >= panel.num_dates - memory).to_pandas()
    news = None
    if bundle.reads_news:
        news = read_news(options.news, calendar=panel.dates).iloc[:0]
    wide = widened(frame, options.symbols)
    few = frame[frame["symbol"].isin(panel.symbols[:FEW])]
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{wide['symbol'].nunique()} symbols, {memory} bars each; {load}")
    limits = ["--unpromoted", "--port", str(PORT), "--rate", "1000000", "--workers", str(options.workers)]
    limits += ["--ensemble", "all"]
    command = [sys.executable, "-m", "factor_serve", "http", str(options.bundle), *limits]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while not ready():
                if server.poll() is not None or time.perf_counter() - start > 300:
                    raise SystemExit("the server did not come up")
                time.sleep(0.05)
            print(f"cold start {time.perf_counter() - start:.1f} s, {resident(server.pid):.0f} MiB resident")
            if options.workers > 1:
                post(arrow_of(few, news), ARROW)
                for one in (server.pid, *workers_of(server.pid)):
                    said = ", ".join(f"{name} {size:.0f} MiB" for name, size in shared_out(one).items())
                    print("supervisor" if one == server.pid else "worker", said)
                return 0
            print("| one new date | body | p50 ms | p99 ms | CPU ms | times |\n|---|---|---|---|---|---|")
            latency(arrow_of(wide, news), ARROW, "HTTP, Arrow", server.pid, options.requests)
            latency(json_of(wide, news), JSON, "HTTP, JSON", server.pid, options.requests)
            updates(options.bundle, wide, news, options.requests)
            saturation = Saturation(arrow_of(few, news))
            used = saturation.run(options.seconds, server.pid)
        finally:
            server.terminate()
    tenth = max(len(used) // 6, 1)
    early, late = float(np.median(used[tenth : 2 * tenth])), float(np.median(used[-tenth:]))
    print(f"{options.seconds} s, {CLIENTS} clients: {dict(sorted(saturation.counts.items()))}")
    print(f"resident {early:.0f} MiB after {tenth} s, {late:.0f} at the end, most {max(used):.0f}")
    print(f"{len(saturation.wrong)} answers wrong", *saturation.wrong[:5], sep="\n")
    return 1 if saturation.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
