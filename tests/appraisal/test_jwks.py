"""Keys over loopback: rotation, caching, and an attacker who cannot make us hammer the issuer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from shared.appraisal.appraise import appraise
from shared.appraisal.token import peek
from shared.errors import Permanent, Transient
from shared.upstream import http
from shared.upstream.jwks import (
    DEFAULT_FRESH,
    MAX_FRESH,
    MAX_STALE,
    MIN_FRESH,
    MIN_INTERVAL,
    JwksClient,
    freshness,
)
from tests.appraisal import forge
from tests.upstream.support import Reply, Request, Web

PATH = "/jwks"
OTHER = forge.keys().oidc[1].kid


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def web() -> Iterator[Web]:
    found = Web()
    yield found
    found.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr("shared.patience.time.sleep", lambda _: None)
    return Clock()


def key_set(*kids: str) -> bytes:
    moduli = {key.kid: key.n for key in forge.keys().oidc}
    keys = [
        {"kid": kid, "kty": "RSA", "use": "sig", "alg": "RS256", "n": moduli[kid], "e": "AQAB"}
        for kid in kids
    ]
    return json.dumps({"keys": keys}).encode()


def reply(*kids: str, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(key_set(*kids), content_type="application/json", headers=named)


def client(web: Web, clock: Clock) -> JwksClient:
    return JwksClient(http.client(), web.url + PATH, clock)


def kids(keys: Any) -> list[str]:
    return sorted(keys.by_kid)


def test_a_token_is_appraised_with_fetched_keys(web: Web, clock: Clock) -> None:
    web.routes[PATH] = reply(forge.KID)
    token = forge.oidc()
    kind, kid = peek(token)
    assert (kind, kid) == ("OIDC", forge.KID)
    keys = client(web, clock).keys(kid)
    assert appraise(*forge.good(token, keys=keys).all()).decision == "accepted"


def test_fresh_keys_are_not_fetched_again(web: Web, clock: Clock) -> None:
    web.routes[PATH] = reply(forge.KID, cache_control="public, max-age=600, must-revalidate")
    found = client(web, clock)
    for clock.now in (1000.0, 1300.0, 1599.0):
        assert kids(found.keys(forge.KID)) == [forge.KID]
    assert len(web.requests) == 1
    clock.now = 1600.0
    found.keys(forge.KID)
    assert len(web.requests) == 2


def test_a_new_key_is_found(web: Web, clock: Clock) -> None:
    web.routes[PATH] = reply(forge.KID, cache_control="max-age=86400")
    found = client(web, clock)
    found.keys(forge.KID)
    web.routes[PATH] = reply(forge.KID, OTHER, cache_control="max-age=86400")
    clock.now += MIN_INTERVAL
    assert OTHER in found.keys(OTHER).by_kid


def test_a_withdrawn_key_ends_with_the_next_fetch(web: Web, clock: Clock) -> None:
    web.routes[PATH] = reply(forge.KID, OTHER, cache_control="max-age=100")
    found = client(web, clock)
    found.keys(OTHER)
    web.routes[PATH] = reply(forge.KID, cache_control="max-age=100")
    clock.now += 100
    assert kids(found.keys(OTHER)) == [forge.KID]


def test_unknown_key_ids_ask_once_in_an_interval(web: Web, clock: Clock) -> None:
    web.routes[PATH] = reply(forge.KID, cache_control="max-age=86400")
    found = client(web, clock)
    found.keys(forge.KID)
    for number in range(500):
        clock.now += 0.5
        assert kids(found.keys(f"unknown {number}")) == [forge.KID]
    assert len(web.requests) <= 1 + 250 / MIN_INTERVAL
    assert len(web.requests) >= 4


def test_many_threads_ask_once(web: Web, clock: Clock) -> None:
    web.routes[PATH] = reply(forge.KID)
    found = client(web, clock)
    threads = [threading.Thread(target=found.keys, args=(forge.KID,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(web.requests) == 1


@pytest.mark.parametrize(
    "failure",
    [
        Reply(status=503),
        Reply(status=404),
        Reply(status=403),
        Reply(b"<html>", content_type="text/html"),
        Reply(b'{"keys":[]}'),
        Reply(key_set(forge.KID).replace(b"RS256", b"none")),
        Reply(b" " * 100_000),
        Reply(key_set(forge.KID), cut=40),
    ],
    ids=["503", "404", "403", "no JSON", "no keys", "another algorithm", "large", "cut"],
)
def test_stale_keys_serve_on_for_a_while_and_then_end(web: Web, clock: Clock, failure: Reply) -> None:
    web.routes[PATH] = reply(forge.KID, cache_control="max-age=100")
    found = client(web, clock)
    found.keys(forge.KID)
    web.routes[PATH] = failure
    clock.now += 100
    assert kids(found.keys(forge.KID)) == [forge.KID]
    clock.now += MAX_STALE - 1
    assert kids(found.keys(forge.KID)) == [forge.KID]
    clock.now += 1
    with pytest.raises(Transient, match=r"too old|no current keys"):
        found.keys(forge.KID)
    web.routes[PATH] = reply(OTHER)
    clock.now += MIN_INTERVAL
    assert kids(found.keys(OTHER)) == [OTHER]


def test_an_issuer_that_is_away_is_not_hammered_either(web: Web, clock: Clock) -> None:
    web.routes[PATH] = Reply(status=404)
    found = client(web, clock)
    for _ in range(50):
        clock.now += 1
        with pytest.raises(Transient):
            found.keys(forge.KID)
    assert len(web.requests) == 1


def test_a_stale_set_whose_issuer_is_away_is_asked_for_once_in_an_interval(web: Web, clock: Clock) -> None:
    web.routes[PATH] = reply(forge.KID, cache_control="max-age=100")
    found = client(web, clock)
    found.keys(forge.KID)
    web.routes[PATH] = Reply(status=404)
    clock.now += 100
    for _ in range(120):
        clock.now += 1
        found.keys(forge.KID)
    assert len(web.requests) == 1 + 2


def test_what_is_in_the_answer_is_asked_for_as_json(web: Web, clock: Clock) -> None:
    def answer(request: Request) -> Reply:
        assert request.headers["accept"] == "application/json"
        return reply(forge.KID)

    web.routes[PATH] = answer
    assert client(web, clock).keys().by_kid


def test_only_over_tls(clock: Clock) -> None:
    with pytest.raises(Permanent, match="must be https"):
        JwksClient(http.client(), "http://keys.example.com/jwks", clock)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, DEFAULT_FRESH),
        ({"cache-control": "public, max-age=19800, must-revalidate, no-transform"}, 19800),
        ({"cache-control": "max-age=19800", "age": "800"}, 19000),
        ({"cache-control": "max-age=19800", "age": "soon"}, 19800),
        ({"cache-control": 'MAX-AGE="700"'}, 700),
        ({"cache-control": "s-maxage=700"}, DEFAULT_FRESH),
        ({"cache-control": "max-age=0"}, MIN_FRESH),
        ({"cache-control": "max-age=100", "age": "500"}, MIN_FRESH),
        ({"cache-control": "no-store, max-age=700"}, MIN_FRESH),
        ({"cache-control": "private, no-cache"}, MIN_FRESH),
        ({"cache-control": "max-age=9999999999"}, MAX_FRESH),
        ({"cache-control": "max-age=-5"}, DEFAULT_FRESH),
        ({"cache-control": "max-age=banana"}, DEFAULT_FRESH),
    ],
    ids=str,
)
def test_freshness(headers: dict[str, str], seconds: float) -> None:
    assert freshness(headers) == seconds
