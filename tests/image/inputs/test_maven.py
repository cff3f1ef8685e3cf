"""Jars of a Maven repository on loopback."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from shared.errors import Permanent, Transient
from shared.image import maven
from shared.upstream import http
from tests.upstream.support import Reply, Web

JAR = b"PK\x03\x04 a jar"
PATH = "/maven2/com/google/code/gson/gson/2.11.0/gson-2.11.0.jar"
COORDINATE = "com.google.code.gson:gson:2.11.0"


def sums(algorithm: str, data: bytes = JAR, form: str = "{}") -> Reply:
    return Reply(form.format(hashlib.new(algorithm, data).hexdigest()).encode())


def jar(web: Web) -> tuple[str, bytes]:
    return maven.jar(http.client(), f"{web.url}/maven2/", COORDINATE)


@pytest.mark.parametrize(
    "form", ["{}", "{}\n", "{}  gson-2.11.0.jar\n", "SHA(gson-2.11.0.jar)= {}", "  {}  "]
)
@pytest.mark.parametrize("algorithm", ["sha256", "sha1"])
def test_a_jar_and_its_sum(algorithm: str, form: str, web: Web) -> None:
    web.routes[PATH] = Reply(JAR)
    web.routes[f"{PATH}.{algorithm}"] = sums(algorithm, form=form)
    assert jar(web) == (f"{web.url}{PATH}", JAR)


BROKEN: dict[str, tuple[Callable[[Web], object], str]] = {
    "no jar": (lambda web: web.routes.pop(PATH), "is not there; correct the coordinate"),
    "no sum": (lambda web: web.routes.pop(f"{PATH}.sha1"), "neither a .sha256 nor a .sha1"),
    "other sum": (lambda web: web.routes.update({f"{PATH}.sha1": sums("sha1", b"x")}), "is not what"),
    "a better sum that is wrong": (
        lambda web: web.routes.update({f"{PATH}.sha256": sums("sha256", b"x")}),
        "is not what .*sha256 says",
    ),
    "no sum in it": (lambda web: web.routes.update({f"{PATH}.sha1": Reply(b"<html>")}), "holds no sha1"),
    "a cut sum": (
        lambda web: web.routes.update({f"{PATH}.sha1": Reply(hashlib.sha1(JAR).hexdigest()[:39].encode())}),  # noqa: S324 - what repositories publish
        "holds no sha1",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_refused(case: str, web: Web) -> None:
    spoil, words = BROKEN[case]
    web.routes[PATH], web.routes[f"{PATH}.sha1"] = Reply(JAR), sums("sha1")
    spoil(web)
    with pytest.raises(Permanent, match=words):
        jar(web)


def test_a_repository_that_is_away(web: Web) -> None:
    web.routes[PATH] = Reply(status=503)
    with pytest.raises(Transient):
        jar(web)


@pytest.mark.parametrize(
    "coordinate", ["a:b", "a:b:c:d", "a:..:1", "a:b:1/../2", "a::1", ".a:b:1", "a:b:1..2", "a b:c:1", "ä:b:1"]
)
def test_odd_coordinates_are_refused(coordinate: str) -> None:
    with pytest.raises(Permanent, match="no Maven coordinate"):
        maven.url("https://repo.example.org", coordinate)


def test_snapshots_are_refused() -> None:
    with pytest.raises(Permanent, match="snapshot, whose bytes change"):
        maven.url("https://repo.example.org", "a:b:1.0-SNAPSHOT")
