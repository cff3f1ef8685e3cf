"""The launcher's socket: what it answers, what it refuses."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.emulators.confidential_space.claims import DEFAULT_AUDIENCE
from shared.emulators.confidential_space.tee import SOCKET, TeeServer

GOOD: dict[str, Any] = {"audience": "https://x.example", "token_type": "OIDC", "nonces": ["0123456789"]}
INVALID = "failed to retrieve custom attestation service token: rpc error: code = InvalidArgument desc = "


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    deep = tmp_path / ("d" * 100) / ("e" * 100)  # longer than a socket's path may be
    deep.mkdir(parents=True)
    server = TeeServer(deep, lambda *asked: json.dumps(asked), lambda _: None)
    yield deep
    server.close()


def ask(
    place: Path, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    held = os.open(place, os.O_PATH)
    connection.sock.connect(f"/proc/self/fd/{held}/{SOCKET}")
    os.close(held)
    connection.request(method, path, body=body, headers=headers or {})
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["Content-Type"], said


def post(place: Path, **fields: Any) -> tuple[int, str]:
    status, _, said = ask(place, "POST", "/v1/token", json.dumps(GOOD | fields).encode())
    return status, said


def test_the_default_token_is_got(place: Path) -> None:
    status, kind, said = ask(place, "GET", "/v1/token")
    assert (status, kind) == (200, "text/html")
    assert json.loads(said) == [DEFAULT_AUDIENCE, [], "OIDC"]


@pytest.mark.parametrize("kind", ["OIDC", "PKI"])
@pytest.mark.parametrize("nonces", [[], ["n" * 10], ["é" * 37], ["n" * 74] * 6, None])
def test_a_custom_token_is_posted_for(place: Path, kind: str, nonces: list[str] | None) -> None:
    status, said = post(place, token_type=kind, nonces=nonces, audience="a" * 512)
    assert status == 200
    assert json.loads(said) == ["a" * 512, nonces or [], kind]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"audience": ""}, "use GET request for the default identity token"),
        ({"audience": None}, "use GET request for the default identity token"),
        ({"token_type": ""}, "token_type is a required parameter"),
        ({"token_type": "LIMITED_AWS"}, INVALID),
        ({"token_type": "oidc"}, INVALID),
        ({"nonces": ["n" * 9]}, f"{INVALID}each nonce must be between 10 and 74 bytes"),
        ({"nonces": ["n" * 75]}, f"{INVALID}each nonce must be between 10 and 74 bytes"),
        ({"nonces": ["é" * 38]}, f"{INVALID}each nonce must be between 10 and 74 bytes"),
        ({"nonces": ["n" * 10] * 7}, f"{INVALID}7 nonces are given; the maximum is 6"),
        ({"audience": "a" * 513}, f"{INVALID}the audience is longer than 512 bytes"),
        ({"nonce": ["n" * 10]}, 'unknown field "nonce"'),
        ({"nonces": "0123456789"}, "cannot unmarshal"),
        ({"nonces": [1234567890]}, "cannot unmarshal"),
        ({"audience": 1}, "cannot unmarshal"),
        ({"token_type": True}, "cannot unmarshal"),
        ({"audience": "\ud800"}, "invalid character"),
    ],
)
def test_refused(place: Path, fields: dict[str, Any], said: str) -> None:
    status, answer = post(place, **fields)
    assert status == 400
    assert said in answer


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000])
def test_bodies_that_are_no_options(place: Path, body: bytes) -> None:
    status, _, said = ask(place, "POST", "/v1/token", body)
    assert status == 400
    assert said.startswith("failed to parse POST body as TokenOptions")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/v1/token", 400),
        ("DELETE", "/v1/token", 400),
        ("POST", "/v1/intel/token", 500),
        ("POST", "/v1/evidence", 500),
        ("POST", "/v1/keys:getEndorsement", 403),
        ("POST", "/v1/hostAttestation", 403),
        ("GET", "/", 404),
        ("GET", "/v1/token/", 404),
    ],
)
def test_other_endpoints(place: Path, method: str, path: str, status: int) -> None:
    assert ask(place, method, path, b"{}" if method == "POST" else None)[0] == status


def test_a_body_that_is_too_long_is_refused(place: Path) -> None:
    length = {"Content-Length": str(2**20 + 1)}
    assert ask(place, "POST", "/v1/token", headers=length)[0] == 413


def test_the_socket_is_open_to_every_user(place: Path) -> None:
    assert (place / SOCKET).stat().st_mode & 0o777 == 0o777
