"""A bundle behind HTTP: the forecasts of the DAG, or a refusal that names field and rule; never a traceback."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import logging
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect

from checkout import Checkout
from factor_data import Panel
from factor_serve import Bundle, forecast, switched
from factor_serve.cli import main
from factor_serve.http.app import make_app
from factor_serve.http.bodies import ARROW
from factor_serve.http.limits import Rate, read_body
from factor_serve.http.problems import Problem
from factor_serve.http.service import Service
from factor_serve.http.settings import HttpSettings, check_host, read_key
from fuzz_http import fuzz
from serve.bundle_samples import change_manifest, columns, dag_forecasts, last_test_dates

pytestmark = [pytest.mark.end_to_end]
KEY = "a key of many letters"


@pytest.fixture(scope="module")
def source(finished_run: Checkout) -> Path:
    return finished_run.path


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    return shutil.copytree(source / "results" / "stack" / "bundle", tmp_path / "bundle")


def client_of(folder: Path, **settings: Any) -> TestClient:
    limits = HttpSettings(unpromoted=True, **{"rate": 1e6, **settings})
    return TestClient(make_app(Service(folder, unpromoted=True), limits), raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(source: Path) -> Iterator[TestClient]:
    with client_of(source / "results" / "stack" / "bundle") as client:
        yield client


@pytest.fixture(scope="module")
def body(panel: Panel, news: pd.DataFrame) -> dict[str, Any]:
    return {"bars": columns(panel.to_pandas()), "news": columns(news)}


@functools.cache
def operations() -> dict[str, Any]:
    """The paths of the OpenAPI document of a server with a key."""
    return make_app(Service("none"), HttpSettings(key=KEY)).openapi()["paths"]


def refusal(response: Any) -> tuple[int, str | None, str]:
    """Status, field and rule of a refusal, of a status that the document says of the path and method."""
    document = response.json()
    request = response.request
    said = operations().get(request.url.path, {}).get(request.method.lower())
    assert said is None or str(response.status_code) in said["responses"], (request.url.path, response.status_code)
    assert set(document) == {"error"}
    assert set(document["error"]) == {"field", "rule"}
    assert "Traceback" not in response.text
    return response.status_code, document["error"]["field"], document["error"]["rule"]


@pytest.mark.numeric
@pytest.mark.parametrize("model", ["linear", "lstm", "token_transformer", "kronos", "stack"])
def test_json_and_arrow_have_the_bits_of_the_dag(
    client: TestClient, source: Path, panel: Panel, news: pd.DataFrame, body: dict[str, Any], model: str
) -> None:
    last = last_test_dates(source / "results", "linear")[-1]
    then = dag_forecasts(source / "results", model)
    then = then[then["timestamp"] == last]
    keys = ["timestamp", "symbol", "label"]
    response = client.post("/predict", json=body | {"at": str(last)[:10], "model": model})
    assert response.status_code == 200, response.text
    said = pd.DataFrame(response.json()["forecasts"]).sort_values(keys)
    np.testing.assert_array_equal(said["prediction"].to_numpy(np.float32), then["prediction"].to_numpy())
    sink = io.BytesIO()
    for frame in (panel.to_pandas(), news):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    response = client.post(
        "/predict",
        content=sink.getvalue(),
        headers={"Content-Type": ARROW},
        params={"at": str(last)[:10], "model": model},
    )
    assert response.status_code == 200, response.text
    table = pa.ipc.open_stream(response.content).read_all()
    assert table.schema.metadata[b"bundle"].decode() == client.get("/info").json()["bundle"]
    told = table.to_pandas().sort_values(keys)
    np.testing.assert_array_equal(told["prediction"].to_numpy(), then["prediction"].to_numpy())


def test_what_is_wrong_with_a_request_is_named(client: TestClient, body: dict[str, Any]) -> None:
    bars = body["bars"]
    few = {name: values[:3] for name, values in bars.items()}
    for document, expected in (
        ([], (422, None, "the body must be an object")),
        ({}, (422, "bars", "is missing")),
        ({"bars": few, "colour": 1}, (422, "colour", "is unknown; known are bars, news, at, model")),
        ({"bars": []}, (422, "bars", "must be an object with a list per column")),
        ({"bars": {"close": 1}}, (422, "bars.close", "must be a list")),
        ({"bars": few | {"close": [1.0]}}, (422, "bars", "the columns must be of one length")),
        ({"bars": few | {"close": [1.0, "x", 2.0]}}, (422, "bars.close", "row 1: must be a number or null, is 'x'")),
        ({"bars": few | {"close": [True, 1.0, 2.0]}}, (422, "bars.close", "row 0: must be a number or null, is True")),
        ({"bars": few | {"close": [10**400, 1, 2]}}, (422, "bars.close", "a number is too large")),
        ({"bars": few | {"symbol": ["A", None, "B"]}}, (422, "bars.symbol", "row 1: must be text, is None")),
        ({"bars": few | {"timestamp": ["x", "y", "z"]}}, (422, "bars", "timestamp is not ISO 8601")),
        ({"bars": few | {"symbol": ["A"] * 3, "timestamp": ["2020-01-01"] * 3}}, (422, "bars", "comes twice")),
        ({"bars": few}, (422, "news", "is missing: the bundle reads news")),
        ({"bars": few, "news": {"text": []}}, (422, "news", "column 'timestamp' is missing")),
        (
            {"bars": {name: few[name] for name in few if name != "close"}, "news": None},
            (422, "bars", "has no column 'close'"),
        ),
        (body | {"at": "1999-01-01"}, (422, "at", "the bars have no date 1999-01-01")),
        (body | {"at": "soon"}, (422, "at", "must be a date such as 2024-01-31")),
        (body | {"at": 5}, (422, "at", "must be text, is 5")),
        (body | {"model": "gru"}, (422, "model", "must be stack, all or one of linear")),
    ):
        status, field, rule = refusal(client.post("/predict", json=document))
        assert (status, field) == expected[:2], (document if len(str(document)) < 300 else "", rule)
        assert expected[2] in rule
    for content, headers, expected in (
        (b"{", {"Content-Type": "application/json"}, (400, None, "the body must be JSON")),
        (b'{"bars": {"close": [NaN]}}', {"Content-Type": "application/json"}, (400, None, "NaN is no number of JSON")),
        (b"[" * 100_000, {"Content-Type": "application/json"}, (400, None, "the body must be JSON")),
        (b"x", {"Content-Type": "text/csv"}, (415, "Content-Type", "must be application/json or")),
        (b"no stream", {"Content-Type": ARROW}, (400, "bars", "must be a stream of Arrow")),
    ):
        status, field, rule = refusal(client.post("/predict", content=content, headers=headers))
        assert (status, field) == expected[:2]
        assert expected[2] in rule
    assert refusal(client.get("/nowhere"))[0] == 404
    assert refusal(client.get("/predict"))[0] == 405


def test_three_hundred_spoiled_bodies_are_refused_by_name(client: TestClient, body: dict[str, Any]) -> None:
    generator = np.random.default_rng(0)
    whole = json.dumps({"bars": {name: values[:200] for name, values in body["bars"].items()}, "news": None}).encode()
    for _ in range(300):
        spoiled = bytearray(whole)
        for place in generator.integers(0, len(spoiled), 3).tolist():
            spoiled[place] = int(generator.integers(0, 256))
        response = client.post("/predict", content=bytes(spoiled), headers={"Content-Type": "application/json"})
        assert 400 <= refusal(response)[0] < 500


def arrow_of(*tables: pa.Table) -> bytes:
    sink = io.BytesIO()
    for table in tables:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def test_of_a_stream_of_arrow_only_the_columns_count_and_none_is_an_error_of_the_program(
    client: TestClient, panel: Panel, news: pd.DataFrame
) -> None:
    bars, documents = (pa.Table.from_pandas(frame, preserve_index=False) for frame in (panel.to_pandas(), news))
    place, headers = bars.column_names.index("timestamp"), {"Content-Type": ARROW}
    expected = client.post("/predict", content=arrow_of(bars, documents), headers=headers)
    assert expected.status_code == 200
    for said in (b"{bad", b'{"index_columns": ["symbol"], "columns": [], "column_indexes": []}'):
        table = bars.replace_schema_metadata({b"pandas": said})
        response = client.post("/predict", content=arrow_of(table, documents), headers=headers)
        assert response.content == expected.content, response.text
    for stamps in (
        pa.array([2**30] * panel.num_rows, pa.int32()).cast(pa.date32()),
        bars["timestamp"].cast(pa.timestamp("ns", "Nowhere/Bogus")),
    ):
        table = bars.set_column(place, "timestamp", stamps)
        response = client.post("/predict", content=arrow_of(table, documents), headers=headers)
        assert refusal(response)[:2] == (422, "bars")
    untyped = pa.Table.from_pandas(news.iloc[:0].astype(object), preserve_index=False)  # columns of the type null
    assert pa.types.is_null(untyped.schema.field("text").type)
    assert client.post("/predict", content=arrow_of(bars, untyped), headers=headers).status_code == 200
    generator, whole = np.random.default_rng(0), arrow_of(bars.slice(0, 5), documents.slice(0, 5))
    for _ in range(300):
        spoiled = bytearray(whole)
        for at in generator.integers(0, 1500, 2).tolist():
            spoiled[at] = int(generator.integers(0, 256))
        response = client.post("/predict", content=bytes(spoiled), headers=headers)
        assert response.status_code < 500, response.text


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_small_stream_that_holds_gigabytes_is_refused_before_it_is_unpacked(
    client: TestClient, compression: str
) -> None:
    symbols = pa.array(["x" * 20_000_000])
    for table in (
        pa.table({"timestamp": ["2024-01-31"], "symbol": symbols}),
        pa.table({"timestamp": ["2024-01-31"], "symbol": symbols.dictionary_encode()}),
        pa.table({"timestamp": ["2024-01-31"], "close": [1.0]}),
    ):
        sink = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
            writer.write_table(table)
        assert len(sink.getvalue()) < 200_000
        before = pa.default_memory_pool().max_memory()
        response = client.post("/predict", content=sink.getvalue(), headers={"Content-Type": ARROW})
        assert refusal(response) == (415, "bars", "must be a stream of Arrow without compression")
        assert pa.default_memory_pool().max_memory() == before


def test_names_that_are_no_text_or_not_one_are_refused(client: TestClient, body: dict[str, Any]) -> None:
    bars, headers = body["bars"], {"Content-Type": "application/json"}

    def renamed(symbol: str) -> list[str]:
        return [symbol if one == "S0001" else one for one in bars["symbol"]]

    for document, expected in (
        ({"\ud800": 1}, (400, None, "the body must be JSON")),
        (body | {"bars": bars | {"symbol": renamed("\ud800")}}, (422, "bars.symbol", "surrogates not allowed")),
        (
            body | {"news": body["news"] | {"text": ["\ud800"] * len(body["news"]["text"])}},
            (422, "news.text", "row 0: "),
        ),
        (body | {"bars": bars | {"symbol": renamed("S0000\0")}}, (422, "bars", "two symbols are 'S0000'")),
    ):
        response = client.post("/predict", content=json.dumps(document).encode(), headers=headers)
        status, field, rule = refusal(response)
        assert (status, field) == expected[:2], rule
        assert expected[2] in rule
    twice = json.dumps(body)[:-1] + ', "bars": {}}'
    status, _, rule = refusal(client.post("/predict", content=twice.encode(), headers=headers))
    assert (status, "a key comes twice" in rule) == (400, True)


def test_limits_hold(folder: Path) -> None:
    with client_of(folder, max_bytes=1000, max_rows=2) as client:
        assert refusal(client.post("/predict", json={"bars": {"close": [1.0] * 1000}}))[0] == 413

        def chunks() -> Iterator[bytes]:
            yield from [b" " * 400] * 5

        response = client.post("/predict", content=chunks(), headers={"Content-Type": "application/json"})
        assert refusal(response) == (413, None, "the body has more than 1,000 bytes")
        assert refusal(client.post("/predict", json={"bars": {"close": [1, 2, 3]}}))[:2] == (413, "bars")
    now = [0.0]
    rate = Rate(2.0, lambda: now[0])
    for _ in range(4):
        rate.take()
    with pytest.raises(Problem) as told:
        rate.take()
    assert (told.value.status, told.value.retry_after) == (429, 1)
    now[0] = 1.0
    rate.take()
    with client_of(folder, rate=0.001) as client:
        statuses = [client.get("/info").status_code for _ in range(3)]
        assert statuses == [200, 429, 429]
        assert client.get("/health").status_code == 200


@pytest.fixture
def goes_on(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Forecasts wait for this event, 20 seconds at most, and are then refused."""
    event = threading.Event()

    def slow(self: Service, request: Any) -> Any:
        event.wait(20)
        raise Problem(422, None, "late")

    monkeypatch.setattr(Service, "forecast", slow)
    return event


def test_a_forecast_that_takes_too_long_is_given_up_and_others_are_sent_away(
    folder: Path, body: dict[str, Any], goes_on: threading.Event
) -> None:
    with client_of(folder, timeout=0.2, waiting=0) as client:
        assert refusal(client.post("/predict", json=body))[0] == 504
        status, _, rule = refusal(client.post("/predict", json=body))
        assert (status, rule) == (503, "busy: 0 requests wait already")
        goes_on.set()


def test_a_request_that_waits_behind_a_slow_one_is_answered_in_time(
    folder: Path, body: dict[str, Any], goes_on: threading.Event
) -> None:
    with client_of(folder, timeout=0.2, waiting=1) as client:
        assert refusal(client.post("/predict", json=body))[0] == 504
        start = time.monotonic()
        status, _, rule = refusal(client.post("/predict", json=body))
        assert (status, rule) == (504, "waited more than 0.2 seconds for its turn")
        assert time.monotonic() - start < 10
        goes_on.set()


def test_a_body_that_does_not_come_or_breaks_off_is_given_up() -> None:
    async def dribble() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    async def broken() -> AsyncIterator[bytes]:
        yield b"{"
        raise ClientDisconnect

    for chunks, expected in ((dribble(), (408, "the body was not whole after 0.1")), (broken(), (400, "broke off"))):
        with pytest.raises(Problem) as told:
            asyncio.run(asyncio.wait_for(read_body(chunks, None, 1000, 0.1), 5))
        assert told.value.status == expected[0]
        assert expected[1] in told.value.rule


def test_a_key_is_asked_for_where_there_is_one_and_needed_off_loopback(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with client_of(folder, key=KEY) as client:
        assert [client.get(path).status_code for path in ("/health", "/ready")] == [200, 200]
        for path in ("/info", "/metrics", "/openapi.json"):
            assert refusal(client.get(path))[:2] == (401, "Authorization")
            assert refusal(client.get(path, headers={"Authorization": f"Bearer {KEY}x"}))[0] == 401
            assert client.get(path, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
            assert client.get(path, headers={"X-API-Key": KEY}).status_code == 200
        assert refusal(client.post("/reload"))[0] == 401
    with client_of(folder, key=f"{KEY} \N{LATIN SMALL LETTER E WITH ACUTE}") as client:
        shown = {"Authorization": f"Bearer {KEY} \N{LATIN SMALL LETTER E WITH ACUTE}".encode()}
        assert client.get("/info", headers=shown).status_code == 200
        assert client.get("/info", headers={"Authorization": f"Bearer {KEY} e"}).status_code == 401
    with client_of(folder, key=KEY, rate=0.5) as client:  # strangers are sent away, and take nothing from the others
        assert [client.get("/info").status_code for _ in range(3)] == [401, 429, 429]
        assert client.get("/info", headers={"X-API-Key": KEY}).status_code == 200
    monkeypatch.setenv("FACTOR_SERVE_KEY", f"{KEY}\n")  # as of a file that ends in a line break
    assert read_key(None) == KEY
    monkeypatch.delenv("FACTOR_SERVE_KEY", raising=False)
    assert main(["http", str(folder), "--host", "0.0.0.0"]) == 2
    assert "can be reached from elsewhere, which needs a key" in capsys.readouterr().err
    (tmp_path / "key").write_text("short\n")
    assert main(["http", str(folder), "--host", "0.0.0.0", "--key-file", str(tmp_path / "key")]) == 2
    assert "must have at least 16" in capsys.readouterr().err
    for host in ("127.0.0.1", "::1", "localhost"):
        check_host(host, None)
    with pytest.raises(ValueError, match="needs a key"):
        check_host("example.org", None)


def test_a_browser_that_has_the_key_reloads_for_no_page_of_another_site(folder: Path) -> None:
    """A browser adds the password that it was told to whatever any page sends, and reaches loopback without one."""
    for key, auth in ((KEY, ("any", KEY)), (None, None)):
        with client_of(folder, key=key) as client:
            for origin in ("https://example.org", "http://testserver.example.org", "null", "", "http://[::1"):
                refused = client.post("/reload", auth=auth, headers={"Origin": origin})
                assert refusal(refused)[:2] == (403, "Origin")
            assert client.get("/info", auth=auth, headers={"Origin": "https://example.org"}).status_code == 200
            for headers in ({}, {"Origin": "http://testserver"}, {"Origin": "https://TestServer"}):
                assert client.post("/reload", auth=auth, headers=headers).status_code == 200
            assert 'factor_serve_reloads_total{outcome="ok"} 3' in client.get("/metrics", auth=auth).text


def test_without_a_bundle_it_lives_and_answers_503_and_a_reload_swaps_or_keeps(
    folder: Path, body: dict[str, Any], tmp_path: Path
) -> None:
    kept = folder.rename(tmp_path / "kept")
    with client_of(folder) as client:
        assert client.get("/health").json() == {"status": "alive"}
        status, field, rule = refusal(client.get("/ready"))  # without a key, so without the folders of the machine
        assert (status, field) == (503, "bundle")
        assert rule.startswith("bundle/manifest.json: no such file")
        assert refusal(client.post("/predict", json=body)) == (503, None, "no bundle is loaded")
        assert refusal(client.get("/info"))[0] == 503
        assert refusal(client.post("/reload"))[:2] == (409, "bundle")
        shutil.copytree(kept, folder)
        first = client.post("/reload").json()["bundle"]
        assert client.get("/ready").json() == {"status": "ready", "bundle": first}
        told = client.post("/predict", json=body).json()
        (folder / "inputs" / "normaliser.json").write_text("{}")  # it is replaced by half under the server
        status, field, rule = refusal(client.post("/reload"))
        assert (status, field) == (409, "bundle")
        assert "inputs/normaliser.json has other bytes" in rule
        assert str(folder) not in rule
        assert client.post("/predict", json=body).json() == told
        shutil.rmtree(folder)
        assert client.post("/predict", json=body).json() == told
        shutil.copytree(kept, folder)
        change_manifest(folder, lambda manifest: manifest.update(why="another"))
        second = client.post("/reload").json()["bundle"]
        assert second != first
        assert client.post("/predict", json=body).json() == told | {"bundle": second}
        page = client.get("/metrics").text
        assert 'factor_serve_reloads_total{outcome="ok"} 2' in page
        assert 'factor_serve_reloads_total{outcome="refused"} 2' in page
        assert 'factor_serve_requests_total{path="/predict",status="503"} 1' in page
        assert f'factor_serve_bundle_info{{sha256="{second}",promoted="false"}} 1' in page


def test_an_unpromoted_bundle_is_not_served_unless_it_may(folder: Path) -> None:
    service = Service(folder)
    with TestClient(make_app(service, HttpSettings())) as client:
        assert "is not promoted" in refusal(client.get("/ready"))[2]
        assert client.post("/predict", json={}).status_code == 503


def test_an_error_of_the_program_is_logged_and_not_shown(
    folder: Path, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Service, request: Any) -> Any:
        raise RuntimeError("secret")

    with client_of(folder) as client, caplog.at_level(logging.ERROR, logger="factor_serve.http"):
        monkeypatch.setattr(Service, "forecast", broken)
        status, _, rule = refusal(client.post("/predict", json=body))
    assert status == 500
    assert "secret" not in rule
    assert any("secret" in str(record.exc_info) for record in caplog.records)


def test_the_openapi_document_says_what_is_answered(client: TestClient, body: dict[str, Any]) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/", "/health", "/ready", "/info", "/metrics", "/reload", "/predict"}
    assert ARROW in paths["/predict"]["post"]["requestBody"]["content"]
    assert all("security" not in one for path in paths.values() for one in path.values()), "no key is asked for"
    for path, methods in paths.items():
        (method, said), *others = methods.items()
        assert not others
        response = client.request(method, path, **({"json": body} if path == "/predict" else {}))
        kind = response.headers["content-type"].partition(";")[0]
        assert kind in said["responses"]["200"]["content"], path
        if kind == "application/json":
            fits(response.json(), said["responses"]["200"]["content"][kind]["schema"])
        refused = client.request("patch", path)
        assert (refusal(refused)[0], refused.headers["allow"]) == (405, method.upper())
    assert [path for path, methods in operations().items() if "security" not in str(methods)] == ["/health", "/ready"]


def fits(document: Any, schema: dict[str, Any]) -> None:
    """Hold a document against the parts of JSON Schema that the server's schemas have."""
    kinds = {"object": dict, "array": list, "string": str, "number": int | float, "boolean": bool}
    assert "const" in schema or isinstance(document, kinds[schema["type"]])
    assert document == schema.get("const", document)
    if isinstance(document, dict):
        assert set(schema["required"]) <= set(document)
        for key, value in document.items():
            if schema.get("additionalProperties", True) is False or key in schema["properties"]:
                fits(value, schema["properties"][key])
    for one in document if isinstance(document, list) else ():
        fits(one, schema["items"])


def test_a_query_that_would_be_passed_over_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    for path, kind, expected in (
        ("/predict?at=2016-03-24", "application/json", ("at", "of JSON stands in the body")),
        ("/predict?date=2016-03-24", "application/json", ("date", "is unknown in the query; known are at, model")),
        ("/predict?date=2016-03-24", ARROW, ("date", "is unknown in the query; known are at, model")),
        ("/predict?at=2016-03-24&at=2016-03-23", ARROW, ("query", "a key comes twice")),
    ):
        refused = client.post(path, content=json.dumps(body), headers={"Content-Type": kind})
        assert refusal(refused) == (422, *expected)


def test_forecasts_over_http_are_those_of_the_package(
    client: TestClient, bundle: Bundle, panel: Panel, news: pd.DataFrame, body: dict[str, Any]
) -> None:
    expected = forecast(bundle, panel, news, None, "all")
    said = pd.DataFrame(client.post("/predict", json=body | {"model": "all"}).json()["forecasts"])
    np.testing.assert_array_equal(said["prediction"].to_numpy(np.float32), expected["prediction"].to_numpy())
    for name in ("symbol", "label", "model"):
        assert said[name].tolist() == expected[name].tolist()


def test_what_forecasts_each_label_is_switched_and_a_label_that_is_not_there_is_no_bundle(
    folder: Path, bundle: Bundle, panel: Panel, news: pd.DataFrame, body: dict[str, Any]
) -> None:
    first = next(iter(bundle.labels))
    models = switched(bundle, first)
    assert models[first] == "stack"
    assert "stack" not in list(models.values())[1:]
    with TestClient(make_app(Service(folder, unpromoted=True, ensemble=first), HttpSettings())) as client:
        assert client.get("/info").json()["model"] == models
        said = pd.DataFrame(client.post("/predict", json=body).json()["forecasts"])
        asked = pd.DataFrame(client.post("/predict", json=body | {"model": "linear"}).json()["forecasts"])
    expected = forecast(bundle, panel, news, None, models)
    np.testing.assert_array_equal(said["prediction"].to_numpy(np.float32), expected["prediction"].to_numpy())
    assert dict(zip(said["label"], said["model"], strict=True)) == models
    assert set(asked["model"]) == {"linear"}
    with TestClient(make_app(Service(folder, unpromoted=True, ensemble="h7"), HttpSettings())) as client:
        assert "ensemble: 'h7' must be all, none, or labels of" in refusal(client.get("/ready"))[2]


def test_requests_that_were_spoiled_from_a_seed_are_answered_right_or_refused_by_name(source: Path) -> None:
    bundle, data = source / "results" / "stack" / "bundle", source / "data"
    found = fuzz(bundle, data / "bars", data / "news", 200, 7)
    assert not found.faults, found.faults[:3]
    assert found.counts[200] > 2
    assert found.counts[400] > 20
    assert found.counts[422] > 40
