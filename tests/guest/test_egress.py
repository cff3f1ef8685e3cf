"""The probes: they see a way out where there is one, and none in a network without a route."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shared.guest import egress

_ROOT = Path(__file__).parents[2]


def test_a_sealed_network_is_denied_by_every_probe() -> None:
    code = "import json; from shared.guest import egress; print(json.dumps(egress.summary(egress.probe())))"
    sealed = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", code]
    done = subprocess.run(sealed, capture_output=True, text=True, check=True, cwd=_ROOT, env=dict(os.environ))
    found = json.loads(done.stdout)
    assert found["egress"] == "denied"
    assert len(found["egress_probes"]) == len(egress.PROBES)
    assert all(each["outcome"].startswith("denied: ") for each in found["egress_probes"])
    assert [each["open"] for each in found["egress_probes"]] == [False] * len(egress.PROBES)


def test_one_open_way_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_server(("127.0.0.1", 0)) as closed,
    ):
        way = f"127.0.0.1:{listening.getsockname()[1]}"
        shut = f"127.0.0.1:{closed.getsockname()[1]}"
        closed.close()
        monkeypatch.setattr(egress, "PROBES", (("tcp", shut, egress._connect), ("tcp", way, egress._connect)))
        found = egress.summary(egress.probe())
    assert found["egress"] == "open"
    assert [each["outcome"] for each in found["egress_probes"]] == [
        "denied: Connection refused",
        "open: connected",
    ]
    assert [each["open"] for each in found["egress_probes"]] == [False, True]


def test_an_answer_to_a_name_counts_unless_it_is_a_sinkhole(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolved(address: str) -> bool:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (address, 443))])
        return egress._resolve("pypi.org").open

    assert resolved("151.101.0.223")
    assert resolved("2a04:4e42::223")
    assert not resolved("127.0.0.1")
    assert not resolved("10.1.2.3")


def test_udp_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []

    class Socket:
        def __enter__(self) -> Socket:
            return self

        def __exit__(self, *_: object) -> None: ...

        def settimeout(self, seconds: float) -> None: ...

        def connect(self, address: tuple[str, int]) -> None:
            assert address == ("8.8.8.8", 53)

        def send(self, data: bytes) -> None:
            sent.append(data)

        def recv(self, size: int) -> bytes:
            return b"answer"

    monkeypatch.setattr(socket, "socket", lambda *_: Socket())
    assert egress._udp("8.8.8.8").open
    assert sent[0].endswith(b"\x07example\x03com\x00\x00\x01\x00\x01")


def test_what_nobody_tried_counts_as_open() -> None:
    assert egress.summary(egress.NOT_PROBED)["egress"] == "open"


def test_an_icmp_echo_has_a_right_checksum() -> None:
    # RFC 1071, section 3: the sum of this example is ddf2, its complement 220d.
    assert egress._checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D
