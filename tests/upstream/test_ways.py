"""How requests get out: one question to the DNS for many connections, and the operator's proxy."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpcore
import pytest

from shared.errors import Permanent, Transient
from shared.upstream import http, ways
from tests.chain.proxy import Proxy
from tests.upstream.support import Reply, Web

NAME = "index.pkg.dev"
MANY = 24


class Dns:
    """Answers slowly, so that whoever asks at the same time does ask at the same time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, address: str = "127.0.0.1") -> None:
        self.asked: list[str] = []
        self.address = address
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host != NAME:
            return self._real(host, port, *args, **kwargs)
        self.asked.append(host)
        time.sleep(0.1)
        if not self.address:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self._real(self.address, port, *args, **kwargs)


def at_once(what: Any) -> list[Any]:
    """What it returns or raises for each of many threads that begin together."""
    begin = threading.Barrier(MANY)

    def one(_: int) -> Any:
        begin.wait()
        try:
            return what()
        except Exception as error:
            return error

    with ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(one, range(MANY)))


def test_many_connections_ask_the_dns_once(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    dns = Dns(monkeypatch)
    web.routes["/p"] = Reply(b"page")
    url = f"http://{NAME}:{web.url.rsplit(':', 1)[1]}/p"
    with http.client() as client:
        found = at_once(lambda: http.get(client, url, 100))
    assert [each.body for each in found] == [b"page"] * MANY
    assert dns.asked == [NAME]
    assert {request.headers["host"] for request in web.requests} == {url.split("/")[2]}


def test_one_failure_is_the_failure_of_all_who_waited_and_of_nobody_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dns, names = Dns(monkeypatch, address=""), ways.Names()
    found = at_once(lambda: names.addresses(NAME, 443))
    assert {type(each) for each in found} == {httpcore.ConnectError}
    assert dns.asked == [NAME]
    dns.address = "127.0.0.1"
    assert names.addresses(NAME, 443) == ["127.0.0.1"]


def test_addresses_are_looked_up_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    dns, names = Dns(monkeypatch), ways.Names()
    now = [1000.0]
    monkeypatch.setattr("shared.upstream.ways.time.monotonic", lambda: now[0])
    assert names.addresses(NAME, 443) == ["127.0.0.1"]
    dns.address = "127.0.0.2"
    now[0] += 29
    assert names.addresses(NAME, 443) == ["127.0.0.1"]
    now[0] += 2
    assert names.addresses(NAME, 443) == ["127.0.0.2"]


def test_a_name_without_an_address_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    Dns(monkeypatch, address="")
    with http.client() as client, pytest.raises(Transient, match=f"the name {NAME} cannot be resolved"):
        http.get(client, f"https://{NAME}/", 100, attempts=1)


def test_an_index_is_reached_by_the_operators_proxy(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy resolves the name: nobody here asks for it."""
    dns = Dns(monkeypatch)
    web.routes["/simple/"] = Reply(b"page")
    proxy = Proxy(NAME, web)
    (tmp_path / "pem").write_text(proxy.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "pem"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with suppress(OSError), http.client() as client:
        answer = http.get(client, f"https://{NAME}/simple/", 100)
    proxy.close()
    assert answer is not None
    assert (answer.body, proxy.passed, dns.asked) == (b"page", 1, [])


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_of_another_kind_is_a_sentence(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for each in ("https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(each, raising=False)
        monkeypatch.delenv(each.upper(), raising=False)
    monkeypatch.setenv(name, "socks5://user:secret@proxy.corp:1080")
    with (
        http.client() as client,
        pytest.raises(Permanent, match=r"The proxy proxy\.corp speaks socks5") as found,
    ):
        http.get(client, f"https://{NAME}/", 100)
    assert "secret" not in str(found.value)
