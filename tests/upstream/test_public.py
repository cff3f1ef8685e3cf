"""Where the sync stage may go: redirects are checked before they are asked, and a workload's URL is a public one."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.emulators.ca import CertificateAuthority
from shared.errors import Permanent, Transient
from shared.settings import Settings
from shared.upstream import connect, http, public
from shared.upstream.download import Downloader
from tests.chain.proxy import Proxy
from tests.upstream.support import Reply, Web, digest

NAME = "files.pkg.dev"
CONTENT = b"a file by URL"


@pytest.fixture(autouse=True)
def _without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def other() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What the DNS says; every question is noted, and each has the next of the answers, the last for ever."""
    real = socket.getaddrinfo

    def to(name: str, *answers: list[str]) -> list[str]:
        asked: list[str] = []

        def lookup(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if host != name:
                return real(host, port, *args, **kwargs)
            asked.append(host)
            found = answers[min(len(asked), len(answers)) - 1]
            return [each for address in found for each in real(address, port, *args, **kwargs)]

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        return asked

    return to


# --- redirects ---


def test_a_redirect_is_followed(web: Web, other: Web) -> None:
    web.routes["/f"] = Reply(status=302, headers={"Location": f"{other.url}/g"})
    other.routes["/g"] = Reply(CONTENT)
    answer = http.get(http.client(), f"{web.url}/f", 100)
    assert answer
    assert (answer.body, answer.url) == (CONTENT, f"{other.url}/g")


def test_a_redirect_to_a_bare_address_elsewhere_is_not_asked(web: Web, other: Web, tmp_path: Path) -> None:
    port = other.url.rsplit(":", 1)[1]
    for there in (
        f"http://127.0.0.2:{port}/g",
        f"http://2130706433:{port}/g",
        f"http://0x7f.1:{port}/g",
        f"http://[::1]:{port}/g",
        "http://169.254.169.254/",
    ):
        web.routes["/f"] = Reply(status=307, headers={"Location": there})
        with pytest.raises(Permanent, match="redirects to the bare address"):
            http.get(http.client(), f"{web.url}/f", 100)
        with pytest.raises(Permanent, match="redirects to the bare address"):
            Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f")
    assert other.requests == []


@pytest.mark.parametrize("there", ["http://elsewhere.example/f", "ftp://index.example/f"])
def test_a_way_out_of_tls_is_not_asked(there: str) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(302, headers={"Location": there})

    client = httpx.Client(transport=httpx.MockTransport(answer), follow_redirects=True)
    with pytest.raises(Permanent, match="without TLS"):
        http.get(client, "https://index.example/f", 1 << 20)
    assert asked == ["https://index.example/f"]


def test_a_circle_of_redirects_ends(web: Web) -> None:
    web.routes["/f"] = Reply(status=302, headers={"Location": "/f"})
    with pytest.raises(Permanent, match="redirects more than 5 times"):
        http.get(http.client(), f"{web.url}/f", 100)
    assert len(web.requests) == 6


# --- addresses ---


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "10.0.0.5", "0", "2130706433", "0x7f000001", "127.1", "0177.0.0.1", "127.0.0.1.", "[::1]",
        "8.8.8.8", "localhost", "localhost.", "metadata", "metadata.google.internal", "printer.local", "a..b",
    ],
)  # fmt: skip
def test_what_is_no_public_name_is_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match=r"; refused\.$|is no URL|cannot be fetched"):
        Downloader().fetch(f"https://{host}/f", digest(CONTENT), tmp_path / "f", by_workload=True)


@pytest.mark.parametrize(
    "host", ["files.pythonhosted.org", "github.com", "a.b.example.org.", "xn--bcher-kva.example"]
)
def test_a_public_name_is_one(host: str) -> None:
    public.check_name(host)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("151.101.0.223", True),
        ("2a04:4e42::223", True),
        ("::ffff:151.101.0.223", True),
        ("64:ff9b::9765:df", True),
        ("127.0.0.1", False),
        ("10.0.0.5", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - an address to be refused
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("203.0.113.80", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::7f00:1", False),
        ("fd00:ec2::254", False),
        ("fe80::1%lo", False),
        ("ff02::1", False),
    ],
)  # fmt: skip
def test_public_addresses(address: str, expected: bool) -> None:
    assert public.is_public(address) is expected


@pytest.mark.parametrize(
    "answer", [["127.0.0.1"], ["151.101.0.223", "127.0.0.1"], ["::1"], ["169.254.169.254"]]
)
def test_a_name_that_leads_inside_is_not_asked(
    web: Web, tmp_path: Path, resolves: Callable[..., list[str]], answer: list[str]
) -> None:
    web.routes["/f"] = Reply(CONTENT)
    resolves(NAME, answer)
    url = f"http://{NAME}:{web.url.rsplit(':', 1)[1]}/f"
    with pytest.raises(Permanent, match=f"{NAME} is at .*; refused"):
        Downloader().fetch(url, digest(CONTENT), tmp_path / "f", by_workload=True)
    assert web.requests == []
    # The operator's index may name it all the same.
    if answer == ["127.0.0.1"]:
        assert Downloader().fetch(url, digest(CONTENT), tmp_path / "f") == len(CONTENT)


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    web: Web, tmp_path: Path, resolves: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is public when it is looked up and private when it is connected to (DNS rebinding)."""
    web.routes["/f"] = Reply(CONTENT)
    asked = resolves(NAME, ["127.0.0.1"], ["127.0.0.2"])
    monkeypatch.setattr(public, "is_public", lambda address: address == "127.0.0.1")
    url = f"http://{NAME}:{web.url.rsplit(':', 1)[1]}/f"
    assert Downloader().fetch(url, digest(CONTENT), tmp_path / "f", by_workload=True) == len(CONTENT)
    assert asked == [NAME]
    assert web.requests[0].headers["host"] == url.split("/")[2]


def test_a_hop_to_the_inside_is_not_asked(web: Web, other: Web, tmp_path: Path) -> None:
    there = f"http://localhost:{other.url.rsplit(':', 1)[1]}/g"
    web.routes["/f"] = Reply(status=302, headers={"Location": there})
    downloads = Downloader(trusted=[public.origin(web.url)])
    with pytest.raises(Permanent, match="localhost is a private name; refused"):
        downloads.fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f", by_workload=True)
    assert (len(web.requests), other.requests) == (1, [])


def test_an_address_that_does_not_answer_is_passed_over(
    web: Web, tmp_path: Path, resolves: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    web.routes["/f"] = Reply(CONTENT)
    resolves(NAME, ["127.0.0.9", "127.0.0.1"])
    monkeypatch.setattr(public, "is_public", lambda _: True)
    url = f"http://{NAME}:{web.url.rsplit(':', 1)[1]}/f"
    assert Downloader().fetch(url, digest(CONTENT), tmp_path / "f", by_workload=True) == len(CONTENT)


def test_an_unknown_name_is_transient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Transient, match="cannot be resolved"):
        Downloader(attempts=1).fetch(f"https://{NAME}/f", digest(b""), tmp_path / "f", by_workload=True)


def test_the_certificate_is_held_to_the_name(
    tmp_path: Path, resolves: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    web, now = Web(), datetime.datetime.now(datetime.UTC)
    web.routes["/f"] = Reply(CONTENT)
    authority = CertificateAuthority.create(now)
    (tmp_path / "pem").write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "pem"))
    monkeypatch.setattr(public, "is_public", lambda _: True)
    secured = _secured(web, authority.server_context([NAME], now))
    try:
        for name, fails in ((NAME, False), ("other.pkg.dev", True)):
            resolves(name, ["127.0.0.1"])
            url = f"https://{name}:{secured}/f"
            if fails:
                with pytest.raises(Transient, match="certificate"):
                    Downloader(attempts=1).fetch(url, digest(CONTENT), tmp_path / "f", by_workload=True)
            else:
                got = Downloader().fetch(url, digest(CONTENT), tmp_path / "f", by_workload=True)
                assert got == len(CONTENT)
    finally:
        web.close()


def _secured(web: Web, context: ssl.SSLContext) -> int:
    """A second port of the same server, with TLS."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), web._server.RequestHandlerClass)  # type: ignore[arg-type]
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return int(server.server_address[1])


def test_the_operators_proxy_is_the_way_out(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.routes["/f"] = Reply(CONTENT)
    proxy = Proxy(NAME, web)
    (tmp_path / "pem").write_text(proxy.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "pem"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with suppress(OSError):
        got = Downloader().fetch(f"https://{NAME}/f", digest(CONTENT), tmp_path / "f", by_workload=True)
    with pytest.raises(Permanent, match="not from the address"):
        Downloader().fetch("https://10.0.0.5/f", digest(CONTENT), tmp_path / "g", by_workload=True)
    proxy.close()
    assert (got, proxy.passed, proxy.refused) == (len(CONTENT), 1, [])


# --- who chose the server ---


def test_the_operators_servers_are_hers() -> None:
    usual = connect._configured(Settings(project="p"))
    assert ("pypi.org", 443) in usual
    assert ("files.pythonhosted.org", 443) in usual
    assert ("deb.debian.org", 443) in usual
    own = connect._configured(Settings(project="p", python_index="https://mirror.corp:8443/simple/"))
    assert ("mirror.corp", 8443) in own
    assert ("mirror.corp", 443) not in own
    assert ("files.pythonhosted.org", 443) not in own


def test_the_operators_server_may_be_inside(web: Web, tmp_path: Path) -> None:
    web.routes["/f"] = Reply(CONTENT)
    with pytest.raises(Permanent, match="refused"):
        Downloader().fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f", by_workload=True)
    chosen = Downloader(trusted=[public.origin(web.url)])
    assert chosen.fetch(f"{web.url}/f", digest(CONTENT), tmp_path / "f", by_workload=True) == len(CONTENT)
