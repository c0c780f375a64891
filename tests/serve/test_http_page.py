"""The page at `/`: what people are told, without anything from elsewhere; in a real browser where there is one."""

from __future__ import annotations

import base64
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import uvicorn
from fastapi.testclient import TestClient

from factor_data import Panel
from factor_serve import Bundle
from factor_serve.http.app import make_app
from factor_serve.http.bodies import Request
from factor_serve.http.service import Service
from factor_serve.http.settings import HttpSettings

pytestmark = [pytest.mark.end_to_end]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
KEY = "a key of many letters"


class Seen(HTMLParser):
    """What of a page stands out: headings, addresses, cells of heads without a scope, elements that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [found[key] or "" for key in ("href", "src", "action") if key in found]
        if tag == "th":
            assert found.get("scope") in ("col", "row")
        if tag not in ("meta", "path", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


@pytest.fixture(scope="module")
def service(bundle: Bundle, panel: Panel, news: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A bundle that was asked for one forecast when its folder was gone: `current` may point elsewhere by then."""
    folder = tmp_path_factory.mktemp("bundles") / "current"
    shutil.copytree(bundle.folder, folder)
    service = Service(folder, unpromoted=True)
    service.load()
    shutil.rmtree(folder)
    service.forecast(Request(bars=panel.to_pandas(), news=news, at=None, model="stack"))
    return service


@pytest.fixture(scope="module")
def address(service: Service) -> Iterator[str]:
    """A server on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = make_app(service, HttpSettings(unpromoted=True))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(30)


def test_the_page_tells_bundle_forecasts_requests_drift_and_gates_and_needs_nothing_else(service: Service) -> None:
    with TestClient(make_app(service, HttpSettings(unpromoted=True))) as client:
        client.get("/health")
        response = client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.text.startswith('<!DOCTYPE html>\n<html lang="en">')
    seen = Seen()
    seen.feed(response.text)
    assert not seen.open, "every element is closed"
    assert seen.headings == ["factor-serve", "Bundle", "Latest forecasts", "Requests", "Drift of inputs", "Gates"]
    assert all(address.startswith("#") for address in seen.addresses)
    assert service.served is not None
    assert service.served.bundle.identity in seen.text
    assert "Ready, but not promoted" in seen.text
    assert re.search(r"The latest answer has \d+ forecasts of 2016-03-24", seen.text)
    assert "/health" in seen.text


def test_the_page_says_why_nothing_is_served_and_asks_a_browser_for_the_key(tmp_path: Path) -> None:
    (tmp_path / "<b>").mkdir()
    app = make_app(Service(tmp_path / "<b>"), HttpSettings(key=KEY))
    with TestClient(app) as client:
        refused = client.get("/")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Basic realm="factor-serve"')
        for wrong in (b"Basic ?", b"Basic \xe9", b"Basic " + base64.b64encode(b"any:other")):
            assert client.get("/", headers={b"Authorization": wrong}).status_code == 401
        response = client.get("/", auth=("any", KEY))
    assert response.status_code == 200
    assert "No bundle is served: bundle/manifest.json: no such file" in response.text
    assert "<b>" not in response.text


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: the page is not looked at")
def test_a_browser_shows_the_page_and_runs_its_script(address: str, tmp_path: Path) -> None:
    assert BROWSER is not None
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    ]  # fmt: skip
    dumped = subprocess.run([*command, address], capture_output=True, text=True, timeout=120, check=True).stdout
    picker = re.search(r'<div class="labels"[^>]*>', dumped)
    assert picker is not None
    assert "hidden" not in picker[0], "the script that stands in the page has run under its policy"
    assert dumped.count('aria-pressed="true"') >= 1
    assert "Refused to" not in dumped
