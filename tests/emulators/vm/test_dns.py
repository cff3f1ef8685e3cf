"""The VM's name server, message by message."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.emulators.vm import dns

ZONE = dns.Zone(
    {"metadata.google.internal": ("169.254.169.254",), "*.pkg.dev": ("199.36.153.4", "199.36.153.5")}
)
A, AAAA, HTTPS = 1, 28, 65


def query(name: str, kind: int = A, flags: int = 0x0100) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!HHHHHH", 7, flags, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def header(response: bytes | None) -> tuple[int, int, int]:
    """Id, response code, answers."""
    assert response
    assert response[2] & 0x80
    identity, flags, _, answers = struct.unpack_from("!HHHH", response)
    return identity, flags & 15, answers


@pytest.mark.parametrize("name", ["metadata.google.internal", "METADATA.Google.Internal"])
def test_a_known_name_has_its_address(name: str) -> None:
    response = dns.answer(ZONE, query(name))
    assert header(response) == (7, 0, 1)
    assert response
    assert response.endswith(bytes([169, 254, 169, 254]))


def test_a_wildcard_covers_any_depth_and_not_its_own_apex() -> None:
    assert header(dns.answer(ZONE, query("us-central1-python.pkg.dev"))) == (7, 0, 2)
    assert header(dns.answer(ZONE, query("a.b.pkg.dev"))) == (7, 0, 2)
    assert header(dns.answer(ZONE, query("pkg.dev"))) == (7, 3, 0)
    assert header(dns.answer(ZONE, query("evilpkg.dev"))) == (7, 3, 0)


@pytest.mark.parametrize("kind", [AAAA, HTTPS])
def test_a_known_name_has_no_other_records(kind: int) -> None:
    assert header(dns.answer(ZONE, query("metadata.google.internal", kind))) == (7, 0, 0)


@pytest.mark.parametrize("name", ["pypi.org", "google.internal", "internal", "pkg.dev.attacker.example"])
def test_other_names_do_not_exist(name: str) -> None:
    assert header(dns.answer(ZONE, query(name))) == (7, 3, 0)


def test_a_resolver_that_does_not_answer_is_a_failure() -> None:
    zone = dns.Zone({}, ("127.0.0.254",))
    assert header(dns.answer(zone, query("pypi.org"))) == (7, 2, 0)


def test_a_response_is_not_answered() -> None:
    assert dns.answer(ZONE, query("pypi.org", flags=0x8180)) is None


@given(st.binary(max_size=80))
def test_any_bytes_get_a_response_or_none(message: bytes) -> None:
    response = dns.answer(ZONE, message)
    assert response is None or response[:2] == message[:2]


@given(st.binary(max_size=60))
def test_no_question_of_a_sealed_zone_is_forwarded(rest: bytes) -> None:
    response = dns.answer(ZONE, struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + rest)
    assert header(response)[1] in (0, 1, 3)


def test_the_hosts_resolvers_are_read_from_resolv_conf(tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text(
        "# nameserver 1.1.1.1\nsearch example\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\nnameserver\n"
    )
    assert dns.host_resolvers(conf) == ("10.0.0.53",)
    assert dns.host_resolvers(tmp_path / "absent") == ()
