"""HTTPS to Google's names: what passes to a backend and back, and what does not."""

from __future__ import annotations

import datetime
import http.server
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from shared.emulators.ca import CertificateAuthority
from shared.emulators.vm import front
from shared.emulators.vm.backend import Backend
from shared.emulators.vm.engine import Engine
from shared.emulators.vm.listen import MAX_CONNECTIONS, Listeners
from shared.errors import Permanent
from tests.emulators.vm.conftest import inside, spec
from tests.emulators.vm.support import Origin, origin, reply

HOST = "us-central1-python.pkg.dev"
BODY = os.urandom(300_000)
Start = Callable[[str], int]


def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
    if handler.path == "/chunked":
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for part in (b"one", b"two" * 100_000):
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        handler.wfile.write(b"0\r\n\r\n")
    elif handler.path == "/to-the-end":
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(BODY)
    elif handler.path == "/breaks":
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"too little")
        handler.connection.shutdown(socket.SHUT_RDWR)
    elif "Range" in handler.headers:
        first, last = map(int, handler.headers["Range"].removeprefix("bytes=").split("-"))
        reply(handler, BODY[first : last + 1], 206, Content_Range=f"bytes {first}-{last}/{len(BODY)}")
    elif handler.path == "/nothing":
        handler.send_response(204)
        handler.end_headers()
    else:
        reply(handler, BODY, ETag='"x"', Connection="keep-alive", X_Cookie="1")


@pytest.fixture
def backend() -> Iterator[Origin]:
    with origin(answer) as made:
        yield made


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.create(datetime.datetime.now(datetime.UTC))


@pytest.fixture
def start(authority: CertificateAuthority) -> Iterator[Start]:
    """Serve a front on loopback that leads every name to the given URL; its port."""
    with ExitStack() as stack:

        def begin(url: str) -> int:
            by_host = {HOST: Backend(url), "*.googleapis.com": Backend(url)}
            context = authority.server_context(sorted(by_host), datetime.datetime.now(datetime.UTC))
            listeners = Listeners("front")
            server = socket.create_server(("127.0.0.1", 0))
            listeners.tcp(server, lambda connection: front.serve(connection, context, by_host))
            port: int = server.getsockname()[1]
            listeners.start()
            stack.callback(listeners.close)
            return port

        yield begin


@pytest.fixture
def port(start: Start, backend: Origin) -> int:
    return start(backend.url)


@pytest.fixture
def client(port: int, authority: CertificateAuthority) -> Iterator[httpx.Client]:
    context = ssl.create_default_context(cadata=authority.pem)
    with httpx.Client(verify=context, trust_env=False, base_url=f"https://127.0.0.1:{port}") as made:
        yield made


def ask(client: httpx.Client, method: str, path: str, host: str = HOST, **more: object) -> httpx.Response:
    headers = {"Host": host, **more.pop("headers", {})}  # type: ignore[dict-item]
    return client.request(method, path, headers=headers, extensions={"sni_hostname": HOST}, **more)  # type: ignore[arg-type]


def test_a_request_passes_whole(client: httpx.Client, backend: Origin) -> None:
    response = ask(
        client,
        "GET",
        "/p/r/simple/a%2Fb/?x=1&y=%20",
        headers={"Authorization": "Basic eA==", "Accept": "text/html"},
    )
    assert (response.status_code, response.content) == (200, BODY)
    assert response.headers["ETag"] == '"x"'
    seen = backend.seen[0]
    assert (seen.method, seen.path) == ("GET", "/p/r/simple/a%2Fb/?x=1&y=%20")
    assert (seen.header("Host"), seen.header("Authorization"), seen.header("Accept")) == (
        HOST,
        "Basic eA==",
        "text/html",
    )
    assert seen.header("X-Forwarded-Proto") == "https"


def test_ranges_heads_and_empty_answers_pass(client: httpx.Client) -> None:
    part = ask(client, "GET", "/file", headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, BODY[1000:2000])
    head = ask(client, "HEAD", "/file")
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(BODY)))
    assert ask(client, "GET", "/nothing").status_code == 204
    assert ask(client, "GET", "/file").content == BODY  # all on one connection


def test_an_answer_of_unknown_length_passes(client: httpx.Client) -> None:
    assert ask(client, "GET", "/chunked").content == b"one" + b"two" * 100_000
    assert ask(client, "GET", "/to-the-end").content == BODY


def test_an_old_client_gets_no_chunks(port: int, authority: CertificateAuthority) -> None:
    context = ssl.create_default_context(cadata=authority.pem)
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=HOST) as raw:
        raw.sendall(b"GET /chunked HTTP/1.0\r\nHost: " + HOST.encode() + b"\r\n\r\n")
        received = b""
        while block := raw.recv(65536):
            received += block
    assert received.partition(b"\r\n\r\n")[2] == b"one" + b"two" * 100_000


def test_a_large_upload_passes_as_a_stream(client: httpx.Client, backend: Origin) -> None:
    sent = os.urandom(3_000_000)
    ask(client, "POST", "/upload", content=sent)
    assert backend.seen[0].body == sent


def test_an_answer_that_breaks_off_breaks_off(client: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        ask(client, "GET", "/breaks")


@pytest.mark.parametrize(
    "host", ["pypi.org", "pkg.dev", "us-central1-python.pkg.dev.attacker.example", "127.0.0.1", ""]
)
def test_other_names_are_not_served(client: httpx.Client, backend: Origin, host: str) -> None:
    response = ask(client, "GET", "/", host=host)
    assert response.status_code == 404
    assert response.json()["error"]["status"] == "NOT_FOUND"
    assert not backend.seen


def test_a_wildcard_name_is_served(client: httpx.Client, backend: Origin) -> None:
    assert ask(client, "GET", "/", host="artifactregistry.googleapis.com").status_code == 200
    assert backend.seen[0].header("Host") == "artifactregistry.googleapis.com"


def test_the_guest_cannot_pretend_to_be_forwarded(client: httpx.Client, backend: Origin) -> None:
    ask(
        client,
        "GET",
        "/",
        headers={"X-Forwarded-For": "10.0.0.1", "X-Forwarded-Proto": "http", "Proxy-Authorization": "x"},
    )
    assert backend.seen[0].header("X-Forwarded-For") is None
    assert [value for name, value in backend.seen[0].headers if name.lower() == "x-forwarded-proto"] == [
        "https"
    ]
    assert backend.seen[0].header("Proxy-Authorization") is None


@pytest.mark.parametrize(
    ("framing", "code"),
    [
        (b"Transfer-Encoding: chunked\r\n", b"411"),
        (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"411"),
        (b"Content-Length: 4\r\nContent-Length: 5\r\n", b"400"),
        (b"Content-Length: +4\r\n", b"400"),
        (b"Content-Length: -1\r\n", b"400"),
    ],
)
def test_a_request_with_two_readings_is_refused(
    port: int, authority: CertificateAuthority, backend: Origin, framing: bytes, code: bytes
) -> None:
    context = ssl.create_default_context(cadata=authority.pem)
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=HOST) as raw:
        raw.sendall(
            b"POST /a HTTP/1.1\r\nHost: "
            + HOST.encode()
            + b"\r\n"
            + framing
            + b"\r\n4\r\nGET /b HTTP/1.1\r\n\r\n"
        )
        received = b""
        while block := raw.recv(65536):
            received += block
    assert received.split(b" ")[1] == code
    assert received.count(b"HTTP/1.1 ") == 1
    assert not backend.seen


def test_a_backend_that_is_down_is_bad_gateway(start: Start, authority: CertificateAuthority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    context = ssl.create_default_context(cadata=authority.pem)
    with httpx.Client(verify=context, trust_env=False, base_url=f"https://127.0.0.1:{start(url)}") as client:
        response = ask(client, "GET", "/")
    assert (response.status_code, response.json()["error"]["status"]) == (502, "UNAVAILABLE")


def test_a_backend_may_be_a_unix_socket(
    start: Start, authority: CertificateAuthority, tmp_path: Path
) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.listen()

    def once() -> None:
        connection, _ = server.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.close()

    threading.Thread(target=once, daemon=True).start()
    context = ssl.create_default_context(cadata=authority.pem)
    with httpx.Client(
        verify=context, trust_env=False, base_url=f"https://127.0.0.1:{start(f'unix:{tmp_path}/s')}"
    ) as client:
        assert ask(client, "GET", "/").content == b"ok"
    server.close()


@pytest.mark.parametrize("url", ["https://x", "ftp://x", "", "127.0.0.1:80", "unix:"])
def test_a_backend_that_is_not_understood_is_named(url: str) -> None:
    with pytest.raises(Permanent, match="not understood"):
        Backend(url)


def test_one_vm_cannot_hold_all_threads(port: int, client: httpx.Client) -> None:
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(MAX_CONNECTIONS + 20)]
    time.sleep(0.3)
    closed = 0
    for connection in held[-20:]:
        connection.settimeout(1)
        closed += connection.recv(1) == b""
    assert closed == 20
    for connection in held:
        connection.close()
    deadline = time.monotonic() + 5
    while True:
        try:
            assert ask(client, "GET", "/").status_code == 200
            break
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_vm_downloads_a_large_file_fast(engine: Engine) -> None:
    block = os.urandom(2**20)

    def large(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(137 * len(block)))
        handler.end_headers()
        for _ in range(137):
            handler.wfile.write(block)

    with origin(large) as wheel:
        engine.boot(spec(**{HOST: wheel.url}))
        written = "%{http_code} %{size_download} %{speed_download}"
        done = inside(
            engine, "vm", "curl", "-sS", "-o", "/dev/null", "-w", written, f"https://{HOST}/torch.whl"
        )
    code, size, speed = done.stdout.split()
    assert (code, size) == ("200", str(137 * 2**20))
    assert float(speed) > 100e6  # 600 to 880 MB/s alone on two cores; the machine may be busy
