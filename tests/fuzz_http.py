"""Malformed requests, drawn from a seed, to the application in this process: answered right, or refused by name.

    make fuzz-http ARGS="--rounds 10000 --schemathesis 2000"

The bundle and bars are those of the last run, or named: --bundle, --bars, --news. A request has as many bars as a new
date looks back on, and some more. Every hundredth is sent as it is, and must be answered with the bytes of the first.
With `--schemathesis`, and that on the PATH (`pip install schemathesis` in an environment of its own), requests are
drawn from the OpenAPI document as well and sent to a server on loopback: no answer may be an error of the server, or of
a status, kind or shape that the document does not say.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import random
import shutil
import string
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from fastapi.testclient import TestClient

from factor_data import Panel, read_bars, read_news
from factor_serve import load_bundle
from factor_serve.http.app import make_app
from factor_serve.http.bodies import ARROW, JSON
from factor_serve.http.service import Service
from factor_serve.http.settings import HttpSettings
from factor_serve.memory import kept_bars

ROUNDS = 10_000
LONGEST = 10.0
"""Seconds that no request may take."""
UNSPOILED = 100
"""One request of so many is a good one."""
MORE_BARS = 40
SYMBOLS = 4
GROWTH = 1.1
"""Times that the resident memory may grow from the first tenth of the requests to the end."""
ANSWERS = {200, 400, 404, 405, 413, 415, 422}
ODD: tuple[Any, ...] = (
    None, True, "", "x", 0, -1, 1e308, 10**400, [], {}, [[]], "2024-13-45", "9999-12-31", "2024-01-02T00:00+05:00",
    "\u0000", "é" * 300, -0.0, 5e-324, "NaN",
)  # fmt: skip
Document = dict[str, Any]


class Requests:
    """Requests of a seed, each a good one that was spoiled in one to three ways."""

    def __init__(self, bars: Document, news: Document | None, seed: int) -> None:
        self.good: Document = {"bars": bars, **({} if news is None else {"news": news})}
        self.random = random.Random(seed)
        self.ways: tuple[Callable[[Document], None], ...] = (
            self._value, self._value, self._column, self._table, self._key, self._shorter, self._rows, self._asked
        )  # fmt: skip

    def one(self) -> tuple[str, str, bytes, dict[str, str]]:
        """Return method, path, body and headers."""
        draw = self.random
        document: Document = {  # lists of plain values: `deepcopy` would take more time than all answers
            name: {column: list(values) for column, values in table.items()} for name, table in self.good.items()
        }
        for _ in range(draw.randint(1, 3)):
            draw.choice(self.ways)(document)
        if draw.random() < 0.3:
            body, kind = self._arrow(document), ARROW
        else:
            body, kind = json.dumps(document).encode(), JSON
        if draw.random() < 0.4:
            body = self._bytes(body)
        headers = {
            "Content-Type": kind if draw.random() < 0.95 else draw.choice(["", "text/csv", "*/*", "application"])
        }
        if draw.random() < 0.1:
            headers["Accept"] = draw.choice([ARROW, JSON, "image/png", ""])
        path, method = "/predict", "POST"
        if draw.random() < 0.1:
            path = draw.choice(
                ["/predict/", "/Predict", "/%00", "/../info", "/predict?at=1&at=2&model=", "/info", "//"]
            )
            method = draw.choice(["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "GET"])
        return method, path, body, headers

    def _tables(self, document: Document) -> list[Document]:
        return [one for one in (document.get("bars"), document.get("news")) if isinstance(one, dict) and one]

    def _lists(self, document: Document) -> list[list[Any]]:
        return [
            values for one in self._tables(document) for values in one.values() if isinstance(values, list) and values
        ]

    def _value(self, document: Document) -> None:
        if lists := self._lists(document):
            values = self.random.choice(lists)
            values[self.random.randrange(len(values))] = self.random.choice(ODD)

    def _column(self, document: Document) -> None:
        if tables := self._tables(document):
            table = self.random.choice(tables)
            name = self.random.choice(list(table))
            values = table.pop(name)
            if self.random.random() < 0.5:
                table[self.random.choice([name.upper(), "symbol", "", "close ", "extra"])] = values
            elif self.random.random() < 0.5:
                table[name] = self.random.choice(ODD)

    def _table(self, document: Document) -> None:
        document[self.random.choice(["bars", "news"])] = self.random.choice([*ODD, [{"close": 1}], {"close": {}}])

    def _key(self, document: Document) -> None:
        document["".join(self.random.choices(string.printable, k=self.random.randint(0, 9)))] = self.random.choice(ODD)

    def _shorter(self, document: Document) -> None:
        if lists := self._lists(document):
            values = self.random.choice(lists)
            del values[self.random.randrange(len(values)) :]

    def _rows(self, document: Document) -> None:
        """Rows twice, in another order, or only a few, in all columns alike."""
        for table in self._tables(document):
            columns = [values for values in table.values() if isinstance(values, list)]
            length = min((len(values) for values in columns), default=0)
            rows = self.random.choices(range(length), k=self.random.choice([1, 5, length])) if length else []
            for values in columns:
                values[:] = [values[row] for row in rows]

    def _asked(self, document: Document) -> None:
        document[self.random.choice(["at", "model"])] = self.random.choice(
            [*ODD, "stack", "all", "linear", self.good["bars"]["timestamp"][-1]]
        )

    def _arrow(self, document: Document) -> bytes:
        sink = io.BytesIO()
        for table in self._tables(document):
            try:
                made = pa.table(
                    {str(key): pa.array(values) for key, values in table.items() if isinstance(values, list)}
                )
                with pa.ipc.new_stream(sink, made.schema) as writer:
                    writer.write_table(made)
            except (pa.ArrowException, OverflowError, ValueError, TypeError):
                sink.write(repr(table).encode()[:500])
        return sink.getvalue()

    def _bytes(self, body: bytes) -> bytes:
        spoiled = bytearray(body)
        for _ in range(self.random.randint(1, 4)):
            place = self.random.randrange(len(spoiled) + 1)
            way = self.random.randrange(4)
            if way == 0 and place < len(spoiled):
                spoiled[place] = self.random.randrange(256)
            elif way == 1:
                del spoiled[place:]
            elif way == 2:
                spoiled[place:place] = self.random.choice(
                    [b"[" * 2000, b'{"a":', b"\xff\xfe", b"NaN", b"1e999", b"\x00" * 9]
                )
            else:
                spoiled[place:place] = spoiled[: self.random.randrange(50)]
        return bytes(spoiled)


def fault(status: int, content: bytes, kind: str, seconds: float) -> str | None:
    """Return what is wrong with an answer: nothing, where it is forecasts, or a refusal that names field and rule."""
    if seconds > LONGEST:
        return f"took {seconds:.1f} s"
    if status not in ANSWERS:
        return f"status {status}: {content[:300]!r}"
    if b"Traceback" in content or b'File "' in content:
        return f"a traceback: {content[:300]!r}"
    if status != 200:
        error = json.loads(content)["error"]
        return None if set(error) == {"field", "rule"} and error["rule"] else f"no rule: {content[:300]!r}"
    if kind.startswith(JSON) and b'"forecasts"' in content:
        predictions = json.loads(content)["forecasts"]["prediction"]
        return None if all(isinstance(one, float) for one in predictions) else "a prediction is no number"
    return None


def good_request(bundle: Path, bars: Path, news: Path | None) -> tuple[Document, Document | None]:
    """Return bars, and news where there are some, of a few symbols: a request that is answered."""
    panel = read_bars(bars)
    looked_back = kept_bars(load_bundle(bundle), panel) or panel.num_dates
    dates = panel.dates[-(looked_back + MORE_BARS) :]
    documents = None if news is None else read_news(news, calendar=panel.dates)
    panel = panel.select((panel.symbol_code < SYMBOLS) & (panel.timestamp >= dates[0]))
    few = columns_of(panel)
    if documents is None:
        return few, None
    documents = documents[documents["symbol"].isin(panel.symbols[:SYMBOLS]) & (documents["timestamp"] >= dates[0])][:50]
    return few, documents.assign(timestamp=documents["timestamp"].astype(str)).to_dict("list")


def columns_of(panel: Panel) -> Document:
    """Return bars as lists, null for a missing number."""
    frame = panel.to_pandas()
    frame = frame.assign(timestamp=frame["timestamp"].astype(str)).astype(object)
    return {str(key): values for key, values in frame.where(frame.notna(), None).to_dict("list").items()}


def resident() -> float:
    """MiB of this process; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


@dataclass(kw_only=True)
class Found:
    """What came of the requests."""

    counts: Counter[int] = field(default_factory=Counter)
    """By status."""
    faults: list[str] = field(default_factory=list)
    """What must not be."""
    longest: float = 0.0
    """Seconds of the slowest answer."""
    memory: list[float] = field(default_factory=list)
    """MiB of this process after each tenth of the requests."""


def fuzz(bundle: Path, bars: Path, news: Path | None, rounds: int, seed: int) -> Found:
    """Send `rounds` requests and say what came of them."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    drawn = Requests(*good_request(bundle, bars, news), seed)
    good = json.dumps(drawn.good).encode()
    found = Found()
    settings = HttpSettings(unpromoted=True, rate=1e9)
    with TestClient(make_app(Service(bundle, unpromoted=True), settings), raise_server_exceptions=False) as client:
        expected = client.post("/predict", content=good, headers={"Content-Type": JSON})
        if expected.status_code != 200:
            return Found(faults=[f"the good request: status {expected.status_code}: {expected.content[:300]!r}"])
        for number in range(rounds):
            unspoiled = number % UNSPOILED == UNSPOILED - 1
            method, path, body, headers = (
                ("POST", "/predict", good, {"Content-Type": JSON}) if unspoiled else drawn.one()
            )
            start = time.perf_counter()
            response = client.request(method, path, content=body, headers=headers)
            seconds = time.perf_counter() - start
            found.longest = max(found.longest, seconds)
            found.counts[response.status_code] += 1
            kind = response.headers.get("content-type", "")
            wrong = fault(response.status_code, response.content, kind, seconds)
            if unspoiled and response.content != expected.content:
                wrong = f"a good request has another answer: {response.content[:300]!r}"
            if wrong:
                found.faults.append(f"round {number} of seed {seed}, {method} {path}: {wrong}")
            if (number + 1) % max(rounds // 10, 1) == 0:
                found.memory.append(resident())
        if client.get("/ready").status_code != 200:
            found.faults.append("the server is not ready any more")
    if rounds >= ROUNDS and found.memory[-1] > GROWTH * found.memory[0]:
        found.faults.append(f"the memory has grown: {found.memory[0]:.0f} MiB to {found.memory[-1]:.0f}")
    return found


def wait_until_ready(port: str, most: float = 180.0) -> None:
    """Return when a server on loopback is ready; TimeoutError where it is not in `most` seconds."""
    end = time.monotonic() + most
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"the server is not ready after {most:g} seconds")


def schemathesis(bundle: Path, most: int) -> int:
    """Draw requests from the OpenAPI document, where schemathesis is on the PATH; its exit status."""
    program = shutil.which("schemathesis")
    if program is None:
        print("skipped: schemathesis is not on the PATH (pip install schemathesis, in an environment of its own)")
        return 0
    port = "18653"
    server = [
        sys.executable,
        "-m",
        "factor_serve",
        "http",
        str(bundle),
        "--unpromoted",
        "--ensemble",
        "all",
        "--port",
        port,
        "--rate",
        "1e9",
    ]
    with subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_ready(port)
            command = [program, "run", f"http://127.0.0.1:{port}/openapi.json", "--max-examples", str(most)]
            # A document cannot say which bars are a market: a good shape may be refused.
            command += ["--exclude-checks", "positive_data_acceptance", "--seed", "1"]
            return subprocess.run(command, check=False).returncode
        finally:
            process.terminate()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("results/stack/bundle"))
    parser.add_argument("--bars", type=Path, default=Path("data/bars"))
    parser.add_argument("--news", type=Path, default=Path("data/news"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--schemathesis", type=int, default=0, metavar="EXAMPLES")
    options, _ = parser.parse_known_args()
    if not (options.bundle / "manifest.json").is_file():
        print(f"skipped: {options.bundle} is no bundle; run the pipeline first, or name one with --bundle")
        return 0
    news = options.news if options.news.exists() else None
    found = fuzz(options.bundle, options.bars, news, options.rounds, options.seed)
    said = ", ".join(f"{count:,} {status}" for status, count in sorted(found.counts.items()))
    memory = f"{found.memory[0]:.0f} MiB after a tenth, {found.memory[-1]:.0f} at the end" if found.memory else ""
    print(f"{found.counts.total():,} requests: {said}; longest {found.longest:.2f} s; {memory}")
    print(f"{len(found.faults)} faults")
    print(*found.faults[:20], sep="\n")
    drawn = schemathesis(options.bundle, options.schemathesis) if options.schemathesis else 0
    return 1 if found.faults or drawn else 0


if __name__ == "__main__":
    sys.exit(main())
