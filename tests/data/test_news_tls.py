"""A chat endpoint over TLS: the authority that the environment names is believed, any other is refused in one line."""

from __future__ import annotations

import datetime
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from factor_data.news.factors import ChatEndpoint, EndpointError, FactorConfig

GOOD = b'{"choices": [{"message": {"content": "{}"}}]}'
KEY = "sk-not-a-real-key"


def certificate(folder: Path, name: str, address: str = "127.0.0.1", days: int = 1) -> tuple[Path, Path]:
    """(certificate, key) that have signed themselves, for an address, until so many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(built.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths[1].write_bytes(key.private_bytes(*form))
    return paths


class Answers(BaseHTTPRequestHandler):
    """A good answer to every request; below /slow, three seconds later."""

    asked: list[str]

    def do_POST(self) -> None:
        self.asked.append(self.headers.get("Authorization", ""))
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/slow"):
            time.sleep(3.0)
        self.send_response(200)
        self.send_header("Content-Length", str(len(GOOD)))
        self.end_headers()
        self.wfile.write(GOOD)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(pair: tuple[Path, Path]) -> Iterator[tuple[str, list[str]]]:
    """(address, keys that it was shown) of a server with this certificate."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Answers,), {"asked": asked}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda request, address: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def ask(url: str, **settings: Any) -> tuple[str, bool]:
    settings = {"timeout_seconds": 5.0, "backoff_seconds": 0.0, **settings}
    return ChatEndpoint(url=url, **settings).ask(FactorConfig(model="stub").request("A", "text"))


def test_the_authority_that_the_environment_names_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = certificate(tmp_path, "right")
    monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
    monkeypatch.setenv("LLM_API_KEY", KEY)
    with serving(pair) as (url, asked):
        assert ask(url) == ("{}", True)
        assert asked == [f"Bearer {KEY}"]
        with pytest.raises(EndpointError, match=r"no whole reply within 0\.5 s"):
            ask(url + "/slow", timeout_seconds=0.5, retries=0)


@pytest.mark.parametrize(
    ("presented", "reason"),
    [({}, "self-signed"), ({"days": -1}, "expired"), ({"address": "127.0.0.9"}, "IP address mismatch")],
)
def test_any_other_is_refused_at_once_before_the_key_is_shown(
    presented: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, pair = certificate(tmp_path, "other"), certificate(tmp_path, "presented", **presented)
    monkeypatch.setenv("SSL_CERT_FILE", str(pair[0] if presented else other[0]))
    monkeypatch.setenv("LLM_API_KEY", KEY)
    with serving(pair) as (url, asked):
        with pytest.raises(EndpointError, match=rf"its certificate is not trusted .*{reason}.*SSL_CERT_FILE") as error:
            ask(url)
        assert error.value.is_final
        assert "\n" not in str(error.value)
        assert asked == []
