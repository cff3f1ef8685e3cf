"""Registries that want credentials which are not theirs: by redirects, by token servers, without TLS."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from shared.errors import Permanent
from shared.image.registry import Reference
from shared.image.registry_auth import challenges
from shared.image.registry_logins import known_logins, nobody, with_token
from tests.image.registry.hostile import SECRET, client, filled, place, refused
from tests.image.registry.scripted import Handler, Scripted
from tests.image.registry.support import digest_of, make_image


def test_a_redirect_shows_no_credentials(hostile: Scripted, other: Scripted, tmp_path: Path) -> None:
    """Blob stores live elsewhere: they get the request, and nothing that says who asks."""
    image = make_image(tmp_path)
    reference = filled(hostile, image)
    hostile.token = "the-bearer-token"
    other.blobs |= image.blobs

    @hostile.lie("GET", "/blobs/")
    def _(handler: Handler) -> bool:
        handler.say(307, headers={"Location": f"http://{other.host}{handler.path}"})
        return False

    assert client().pull(reference, tmp_path / "to").manifest == image.digest
    assert len(other.asked) == len(image.blobs)
    assert {given for _, _, given in other.asked} == {""}
    assert hostile.asked_with("Bearer the-bearer-token")


def test_redirects_that_lead_astray(hostile: Scripted, tmp_path: Path) -> None:
    reference = filled(hostile, make_image(tmp_path))
    target = ["http://metadata.example/computeMetadata"]
    hostile.lie("GET", "/blobs/")(
        lambda handler: handler.say(302, headers={"Location": target[0]}) is not None
    )
    for address, words in (
        ("http://169.254.169.254/computeMetadata", "redirects to the bare address 169.254.169.254"),
        (f"http://{hostile.host}/v2/blobs/again", "redirects more than"),
        ("file:///etc/passwd", "without TLS"),
    ):
        target[0] = address
        refused(client(), reference, tmp_path / "to", words)


@pytest.mark.parametrize(
    ("realm", "words"),
    [
        ("http://{other}/token", "must be the registry itself, or a host with a name and TLS"),
        ("https://169.254.169.254/token", "must be the registry itself"),
        (
            "https://tokens.example/token",
            "wants its user's password shown to tokens.example, which is refused",
        ),
        ("file:///etc/passwd", "names a token server that is no address"),
        ("https://user:pw@tokens.example/", "names a token server that is no address"),
        ("", "names a token server that is no address"),
    ],
)
def test_a_token_server_elsewhere(
    hostile: Scripted, other: Scripted, tmp_path: Path, realm: str, words: str
) -> None:
    challenge = f'Bearer realm="{realm.format(other=other.host)}",service="x"'
    hostile.lie("GET", "/v2/")(
        lambda handler: handler.say(401, headers={"WWW-Authenticate": challenge}) is not None
    )
    refused(client(), place(hostile).at(digest_of(b"")), tmp_path / "to", words)
    assert not other.asked
    assert not hostile.asked_with(SECRET)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"no json", "something that holds none"),
        (b"[]", "something that holds none"),
        (b'{"token": 3}', "something that holds none"),
        (json.dumps({"token": "a\r\nX-Other: b"}).encode(), "something that holds none"),
        (b'{"token": "' + b"x" * 300_000 + b'"}', "answers with more than"),
    ],
)
def test_what_a_token_server_may_say(hostile: Scripted, tmp_path: Path, answer: bytes, words: str) -> None:
    hostile.token = "x"
    hostile.lie("GET", "^/token")(lambda handler: handler.say(200, answer) is not None)
    refused(client(), place(hostile).at(digest_of(b"")), tmp_path / "to", words)


def test_a_token_server_that_redirects(hostile: Scripted, other: Scripted, tmp_path: Path) -> None:
    hostile.token = "x"
    elsewhere = {"Location": f"http://{other.host}/token"}
    hostile.lie("GET", "^/token")(lambda handler: handler.say(302, headers=elsewhere) is not None)
    refused(client(), place(hostile).at(digest_of(b"")), tmp_path / "to", "answers with HTTP status 302")
    assert not other.asked


def test_a_registry_that_never_takes_the_token(hostile: Scripted, tmp_path: Path) -> None:
    """It is asked twice, not for ever."""
    hostile.token = "x"
    challenge = f'Bearer realm="http://{hostile.host}/token"'
    hostile.lie("GET", "/v2/")(
        lambda handler: handler.say(401, headers={"WWW-Authenticate": challenge}) is not None
    )
    refused(client(), place(hostile).at(digest_of(b"")), tmp_path / "to", "does not accept our credentials")
    assert [path for _, path, _ in hostile.asked if path.startswith("/v2/")] == [
        f"/v2/some/service/manifests/{digest_of(b'')}"
    ] * 2


def test_no_way_without_tls(tmp_path: Path) -> None:
    registry = client(endpoints={"registry.example": "http://registry.example"})
    with pytest.raises(Permanent, match="without TLS and is not on this machine"):
        registry.pull(Reference("registry.example", "x", tag="y"), tmp_path / "to")


def test_challenges() -> None:
    assert challenges(['Basic realm="a, b", Bearer realm="https://t/x",service="s\\"q",scope=plain']) == {
        "basic": {"realm": "a, b"},
        "bearer": {"realm": "https://t/x", "service": 's"q', "scope": "plain"},
    }
    assert challenges(["", "nonsense=", "Negotiate"]) == {"negotiate": {}}


def test_whose_credentials_go_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    google = with_token(lambda: "ya29")
    for host in ("us-central1-docker.pkg.dev", "eu.gcr.io", "gcr.io"):
        login = google(host)
        assert login
        assert (login.user, login.password()) == ("oauth2accesstoken", "ya29")
    for host in ("docker.pkg.dev.evil.example", "evilgcr.io", "127.0.0.1:5000"):
        assert google(host) is None
    assert nobody("gcr.io") is None
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert known_logins("registry.example") is None
    (tmp_path / "config.json").write_text('{"auths": {"registry.example": {"auth": "bWU6cHc="}, "x": {}}}')
    login = known_logins("registry.example")
    assert login
    assert (login.user, login.password()) == ("me", "pw")
    assert known_logins("x") is None
    assert known_logins("other.example") is None
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(Permanent, match="has no readable login"):
        known_logins("registry.example")


def test_a_token_server_in_the_domain_above_may_know_who_asks() -> None:
    from shared.image.registry_auth import RegistryClient

    def may_know(registry: str, realm: str) -> bool:
        with RegistryClient(registry, None, "") as one:
            return one._may_know(httpx.URL(realm))

    assert may_know("https://registry.gitlab.example", "https://gitlab.example/jwt/auth")
    assert may_know("https://registry-1.docker.io", "https://auth.docker.io/token")
    assert may_know("https://registry.example:5000", "https://registry.example/token")
    for realm in (
        "https://evilgitlab.example",
        "https://other.gitlab.example",
        "https://example",
        "http://gitlab.example",
    ):
        assert not may_know("https://registry.gitlab.example", realm), realm
