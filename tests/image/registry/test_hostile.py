"""Registries that lie, and one that resumes: each gets its sentence, none gets what is not its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.errors import DmzError, Permanent, Transient
from shared.image import registry_parallel
from shared.image.registry import Reference, Registry
from shared.image.registry_auth import Login, challenges
from shared.image.registry_logins import known_logins, nobody, with_token
from tests.image.registry.scripted import Handler, Scripted, scripted
from tests.image.registry.support import Image, descriptor, digest_of, encoded, make_image

SECRET = "hunter2-the-password"
MB = 1 << 20


@pytest.fixture
def hostile() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


@pytest.fixture
def other() -> Iterator[Scripted]:
    """Another server, which must learn nothing."""
    with scripted() as running:
        yield running


def place(registry: Scripted) -> Reference:
    return Reference(registry.host, "some/service")


def client(**options: Any) -> Registry:
    return Registry(**{"logins": lambda _: Login("me", lambda: SECRET), "attempts": 3, **options})


def filled(registry: Scripted, image: Image) -> Reference:
    registry.blobs |= image.blobs
    registry.manifests[image.digest] = ("application/vnd.oci.image.manifest.v1+json", image.manifest)
    return place(registry).at(image.digest)


def refused(registry: Registry, reference: Reference, to: Path, words: str) -> None:
    with pytest.raises(DmzError, match=words) as caught:
        registry.pull(reference, to)
    assert "\n" not in str(caught.value)
    assert not to.exists()
    assert not [path for path in to.parent.iterdir() if path.name.startswith(".")]


def test_it_resumes_where_it_can(hostile: Scripted, tmp_path: Path) -> None:
    image = make_image(tmp_path, os.urandom(6 * MB))
    hostile.cut_after = [2 * MB, 3 * MB]
    assert client().push(image.layout, place(hostile)).digest == image.digest
    small = len(image.manifest) + sum(len(blob) for blob in image.blobs.values()) - 6 * MB
    assert hostile.received == 6 * MB + small  # not a byte twice
    assert len(hostile.uploads) == 2


def test_a_registry_that_does_not_go_on(hostile: Scripted, tmp_path: Path) -> None:
    image = make_image(tmp_path, os.urandom(3 * MB))
    hostile.cut_after = [2 * MB]

    @hostile.lie("PATCH", "/blobs/uploads/")
    def _(handler: Handler) -> bool:
        if handler.headers["Content-Range"].startswith("0-"):
            return True
        handler.body()
        handler.say(416)
        return False

    assert client().push(image.layout, place(hostile)).digest == image.digest


@pytest.mark.parametrize("status", [400, 404, 416])
def test_a_session_that_ends_after_it_was_asked_about(hostile: Scripted, tmp_path: Path, status: int) -> None:
    """A registry may notice late that a request broke off, and forget its session only then."""
    image = make_image(tmp_path, os.urandom(900_000))
    hostile.cut_after = [800_000]
    ended: list[str] = []

    @hostile.lie("PUT", "/blobs/uploads/")
    def _(handler: Handler) -> bool:
        resumed = 1000 < int(handler.headers["Content-Length"]) < 900_000
        if ended or not resumed:
            return True
        ended.append(handler.path)
        handler.body()
        handler.say(status)
        return False

    assert client().push(image.layout, place(hostile)).digest == image.digest
    assert len(ended) == 1


def test_an_upload_whose_token_ran_out_goes_on_with_a_new_one(
    hostile: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_parallel, "_PARALLEL", 1)  # no other blob asks for its token just then
    image = make_image(tmp_path, os.urandom(3 * MB))
    hostile.token = "first"

    @hostile.lie("PATCH", "/blobs/uploads/")
    def _(handler: Handler) -> bool:
        if int(handler.headers["Content-Range"].partition("-")[0]) >= MB:
            hostile.token = "second"
        return True

    assert client(chunk=MB).push(image.layout, place(hostile)).digest == image.digest
    assert hostile.asked_with("Bearer second")


def test_a_wrong_digest_header(hostile: Scripted, tmp_path: Path) -> None:
    image = make_image(tmp_path)
    filled(hostile, image)

    @hostile.lie("GET", "/manifests/")
    def _(handler: Handler) -> bool:
        kind = "application/vnd.oci.image.manifest.v1+json"
        headers = {"Docker-Content-Digest": digest_of(b"other"), "Content-Type": kind}
        handler.say(200, image.manifest, headers)
        return False

    refused(
        client(), place(hostile).at(image.digest), tmp_path / "to", "says that it is sha256:.*nothing of it"
    )
    with pytest.raises(Permanent, match=r"and has the Docker-Content-Digest sha256:.* there: it changed the"):
        client().push(image.layout, place(hostile))


def test_other_bytes_than_were_asked_for(hostile: Scripted, tmp_path: Path) -> None:
    image, changed = make_image(tmp_path, name="one"), make_image(tmp_path, name="other")
    reference = filled(hostile, image)
    layer = max(image.blobs, key=lambda digest: len(image.blobs[digest]))
    hostile.blobs[layer] = bytes(len(image.blobs[layer]))
    refused(client(), reference, tmp_path / "to", f"and not the expected {layer}; nothing of it was kept")
    kind = hostile.manifests[image.digest][0]
    hostile.manifests[image.digest] = (kind, changed.manifest)
    refused(client(), reference, tmp_path / "to", f"was asked for {image.digest}; nothing of it was kept")
    hostile.blobs |= image.blobs
    hostile.lie("PUT", "/manifests/")(lambda handler: bool(handler.body()) and handler.say(201) is not None)
    with pytest.raises(Permanent, match="it changed the image, or somebody else pushed over it"):
        client().push(image.layout, place(hostile))


@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
def test_an_endless_body(hostile: Scripted, tmp_path: Path, path: str) -> None:
    image = make_image(tmp_path)
    reference = filled(hostile, image)

    @hostile.lie("GET", path)
    def _(handler: Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        handler.end_headers()
        handler.close_connection = True
        while True:  # until the client hangs up
            handler.wfile.write(bytes(1 << 16))

    refused(
        client(), reference, tmp_path / "to", r"answers with more than \d+ bytes|sends more than \d+ bytes"
    )


def test_an_endless_refusal(hostile: Scripted, tmp_path: Path) -> None:
    @hostile.lie("GET", "/manifests/")
    def _(handler: Handler) -> bool:
        handler.send_response(403)
        handler.end_headers()
        handler.close_connection = True
        while True:
            handler.wfile.write(bytes(1 << 16))

    refused(client(), place(hostile).at(digest_of(b"")), tmp_path / "to", "answers with more than")


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


def test_an_upload_that_leads_elsewhere(hostile: Scripted, other: Scripted, tmp_path: Path) -> None:
    image = make_image(tmp_path)
    location = {"Location": f"http://{other.host}/v2/some/service/blobs/uploads/0"}
    hostile.lie("POST", "/blobs/uploads/")(lambda handler: handler.say(202, headers=location) is not None)
    with pytest.raises(Permanent, match=r"sends an upload on to .* it is not the registry itself"):
        client().push(image.layout, place(hostile))
    assert not other.asked


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass(hostile: Scripted, tmp_path: Path, status: int) -> None:
    image = make_image(tmp_path)
    reference, left = filled(hostile, image), [2]

    @hostile.lie("GET", "/v2/")
    def _(handler: Handler) -> bool:
        left[0] -= 1
        if left[0] >= 0:
            handler.say(status)
        return left[0] < 0

    assert client().pull(reference, tmp_path / "to").manifest == image.digest
    left[0] = 100
    with pytest.raises(Transient, match=rf"did not succeed for now \({status}\)"):
        client().pull(reference, tmp_path / "other")


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", {}, "only images of OCI or Docker"),
        ("text/html", {}, "only images of OCI or Docker"),
        (None, {"schemaVersion": 1}, "no manifest of schema version 2"),
        (None, {"mediaType": "application/vnd.oci.image.index.v1+json"}, "says itself that it is of another"),
        (None, {"layers": []}, "no list of 1 to 500 layers"),
        (None, {"layers": [{}] * 501}, "no list of 1 to 500 layers"),
        (None, {"layers": [{"mediaType": "application/x-foreign"}]}, "layer 1 has the media type"),
        (None, {"config": {"digest": "sha512:00"}}, "configuration has the media type"),
        (None, {"config": None}, "configuration: there is no descriptor"),
    ],
)
def test_manifests_that_are_none(
    hostile: Scripted, tmp_path: Path, kind: str | None, change: dict[str, Any], words: str
) -> None:
    image = make_image(tmp_path)
    body = encoded({**json.loads(image.manifest), **change})
    named = kind or "application/vnd.oci.image.manifest.v1+json"
    hostile.manifests[digest_of(body)] = (named, body)
    refused(client(), place(hostile).at(digest_of(body)), tmp_path / "to", words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"digest": "sha256:XY"}, "has no sha256 digest"),
        ({"digest": "../../etc/passwd"}, "has no sha256 digest"),
        ({"size": -1}, "has no size"),
        ({"size": True}, "has no size"),
        ({"size": "10"}, "has no size"),
    ],
)
def test_descriptors_that_are_none(
    hostile: Scripted, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    manifest = json.loads(make_image(tmp_path).manifest)
    manifest["layers"][0] |= change
    body = encoded(manifest)
    hostile.manifests[digest_of(body)] = ("application/vnd.oci.image.manifest.v1+json", body)
    refused(client(), place(hostile).at(digest_of(body)), tmp_path / "to", words)


def test_two_sizes_of_one_blob(hostile: Scripted, tmp_path: Path) -> None:
    manifest = json.loads(make_image(tmp_path).manifest)
    manifest["layers"].append({**manifest["layers"][0], "size": 5})
    body = encoded(manifest)
    hostile.manifests[digest_of(body)] = ("application/vnd.oci.image.manifest.v1+json", body)
    refused(client(), place(hostile).at(digest_of(body)), tmp_path / "to", "two sizes")


def test_an_index_that_misstates_its_manifest(hostile: Scripted, tmp_path: Path) -> None:
    image = make_image(tmp_path)
    filled(hostile, image)
    entry = {
        **descriptor(image.manifest, "application/vnd.oci.image.manifest.v1+json"),
        "size": 5,
        "platform": {"os": "linux", "architecture": "amd64"},
    }
    kind = "application/vnd.oci.image.index.v1+json"
    body = encoded({"schemaVersion": 2, "mediaType": kind, "manifests": [entry]})
    hostile.manifests["multi"] = (kind, body)
    refused(
        client(),
        Reference(hostile.host, "some/service", tag="multi"),
        tmp_path / "to",
        "not the size and type",
    )


def test_a_damaged_blob_in_the_registry_is_seen_by_its_size(hostile: Scripted, tmp_path: Path) -> None:
    image = make_image(tmp_path)
    hostile.blobs |= {digest: data[:-1] for digest, data in image.blobs.items()}
    with pytest.raises(Permanent, match="its copy is damaged"):
        client().push(image.layout, place(hostile))


def test_a_failure_ends_the_other_blobs(hostile: Scripted, tmp_path: Path) -> None:
    """Four at once, one refused: what drips is not waited for."""
    image = make_image(tmp_path, *(os.urandom(1000 + n) for n in range(6)))
    reference = filled(hostile, image)
    bad = next(iter(image.blobs))

    @hostile.lie("GET", "/blobs/")
    def _(handler: Handler) -> bool:
        if handler.path.endswith(bad):
            handler.say(403)
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", "2000")
        handler.end_headers()
        for _ in range(2000):
            time.sleep(0.01)
            handler.wfile.write(b"x")
        return False

    refused(client(), reference, tmp_path / "to", "403")
    assert len({path for _, path, _ in hostile.asked if "/blobs/" in path}) <= 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("service:v1", "host of the image"),
        ("team/service", "host of the image"),
        ("Registry.example/service", "host"),
        ("registry.example:0/service", "host"),
        ("registry.example:99999/service", "host"),
        ("registry.example/Service", "repository"),
        ("registry.example/a//b", "repository"),
        ("registry.example/../b", "repository"),
        ("registry.example/b:", "tag"),
        ("registry.example/b:-x", "tag"),
        ("registry.example/b@sha256:12", "digest"),
        ("registry.example/b@", "digest"),
        ("https://registry.example/b", "host"),
        ("registry.example/b?x=y", "repository"),
        ("x" * 600, "at most 512"),
        ("", "host"),
    ],
)
def test_references_that_are_none(text: str, words: str) -> None:
    with pytest.raises(Permanent, match=f"(?i){words}") as caught:
        Reference.parse(text)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("us-docker.pkg.dev/p/r/i:v1", "https://us-docker.pkg.dev"),
        ("registry.example:5000/a_b/c__d-e.f", "https://registry.example:5000"),
        ("localhost:5000/x:y", "http://localhost:5000"),
        ("127.0.0.1:80/x", "http://127.0.0.1:80"),
        ("[::1]:80/x", "http://[::1]:80"),
        ("10.0.0.1:80/x", "https://10.0.0.1:80"),
        ("localhost.example/x", "https://localhost.example"),
        (f"registry.example/x:t@{digest_of(b'')}", "https://registry.example"),
    ],
)
def test_references(text: str, base: str) -> None:
    reference = Reference.parse(text)
    assert (str(reference), reference.base) == (text, base)


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
