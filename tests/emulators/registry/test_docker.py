"""Docker repositories of the emulator on the wire; pushes and pulls by our own client are in tests/image/registry."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import artifactregistry_v1 as ar

from tests.emulators.registry.support import (
    ADMIN,
    NOBODY,
    PROJECT,
    READER,
    WRITER,
    Process,
    Registry,
    need,
    repository,
)

BASE = f"/v2/{PROJECT}/images/team/service"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG, LAYER = b'{"os":"linux"}', b"a layer" * 1000


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def described(data: bytes) -> dict[str, Any]:
    return {"mediaType": "application/octet-stream", "digest": digest_of(data), "size": len(data)}


def manifest(*layers: bytes, **changes: Any) -> bytes:
    content = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(CONFIG),
        "layers": [described(layer) for layer in layers],
    }
    return json.dumps({**content, **changes}).encode()


def put_blob(client: httpx.Client, data: bytes, base: str = BASE, digest: str = "") -> httpx.Response:
    begun = client.post(f"{base}/blobs/uploads/")
    assert (begun.status_code, begun.headers["Range"]) == (202, "0-0")
    location = begun.headers["Location"]
    return client.put(location, params={"digest": digest or digest_of(data)}, content=data)


def put_manifest(
    client: httpx.Client, body: bytes, name: str = "", kind: str = MANIFEST, base: str = BASE
) -> httpx.Response:
    place = f"{base}/manifests/{name or digest_of(body)}"
    return client.put(place, content=body, headers={"Content-Type": kind})


def image(client: httpx.Client, name: str = "", base: str = BASE) -> str:
    for blob in (CONFIG, LAYER):
        assert put_blob(client, blob, base).status_code == 201
    body = manifest(LAYER)
    assert put_manifest(client, body, name, base=base).status_code == 201
    return digest_of(body)


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status, and the code in the specification's form of an error."""
    (error,) = answer.json()["errors"]
    assert error["message"]
    assert set(answer.json()) == {"errors"}
    return answer.status_code, error["code"]


def test_an_image_by_digest_and_by_tag(registry: Registry) -> None:
    writer, reader = registry.client(WRITER), registry.client(READER)
    digest = image(writer, "v1")
    for name in (digest, "v1"):
        answer = reader.get(f"{BASE}/manifests/{name}")
        assert answer.content == manifest(LAYER)
        assert (answer.headers["Docker-Content-Digest"], answer.headers["Content-Type"]) == (digest, MANIFEST)
        head = reader.head(f"{BASE}/manifests/{name}")
        assert (head.headers["Docker-Content-Digest"], head.content) == (digest, b"")
    assert reader.get(f"{BASE}/blobs/{digest_of(LAYER)}").content == LAYER
    part = reader.get(f"{BASE}/blobs/{digest_of(LAYER)}", headers={"Range": "bytes=7-13"})
    assert (part.status_code, part.content) == (206, b"a layer")
    assert reader.get(f"{BASE}/tags/list").json() == {"name": BASE[4:], "tags": ["v1"]}
    assert reader.get("/v2/").json() == {}


def test_a_blob_belongs_to_its_image(registry: Registry) -> None:
    writer = registry.client(WRITER)
    image(writer)
    other = BASE.replace("team", "other")
    assert code(writer.get(f"{other}/blobs/{digest_of(LAYER)}")) == (404, "BLOB_UNKNOWN")
    assert code(put_manifest(writer, manifest(LAYER), base=other)) == (404, "MANIFEST_BLOB_UNKNOWN")
    mounted = writer.post(f"{other}/blobs/uploads/", params={"mount": digest_of(LAYER), "from": BASE[4:]})
    assert mounted.status_code == 202  # an upload: the specification's answer of who does not mount


def test_content_that_is_not_what_its_name_says(registry: Registry) -> None:
    writer = registry.client(WRITER)
    assert code(put_blob(writer, LAYER, digest=digest_of(CONFIG))) == (400, "DIGEST_INVALID")
    assert code(put_blob(writer, LAYER, digest="md5:0")) == (400, "DIGEST_INVALID")
    assert code(writer.get(f"{BASE}/blobs/{digest_of(LAYER)}")) == (404, "BLOB_UNKNOWN")
    image(writer)
    assert code(put_manifest(writer, manifest(LAYER), digest_of(b""))) == (400, "DIGEST_INVALID")
    assert registry.app
    assert not list(registry.app.store.blobs._staging.iterdir())


@pytest.mark.parametrize(
    ("body", "kind", "wanted"),
    [
        (b"{", MANIFEST, (400, "MANIFEST_INVALID")),
        (b"[]", MANIFEST, (400, "MANIFEST_INVALID")),
        (manifest(LAYER, schemaVersion=1), MANIFEST, (400, "MANIFEST_INVALID")),
        (manifest(LAYER), INDEX, (400, "MANIFEST_INVALID")),
        (manifest(LAYER), "application/json", (400, "MANIFEST_INVALID")),
        (manifest(LAYER, layers=[{**described(LAYER), "size": 3}]), MANIFEST, (400, "MANIFEST_INVALID")),
        (manifest(LAYER, layers=[{}]), MANIFEST, (400, "MANIFEST_INVALID")),
        (manifest(LAYER, b"not there"), MANIFEST, (404, "MANIFEST_BLOB_UNKNOWN")),
        (b" " * (5 << 20), MANIFEST, (413, "SIZE_INVALID")),
    ],
)
def test_manifests_that_are_refused(
    registry: Registry, body: bytes, kind: str, wanted: tuple[int, str]
) -> None:
    writer = registry.client(WRITER)
    image(writer)
    assert code(put_manifest(writer, body, "bad", kind)) == wanted
    assert code(writer.get(f"{BASE}/manifests/bad")) == (404, "MANIFEST_UNKNOWN")


def test_an_index_names_what_is_there(registry: Registry) -> None:
    writer = registry.client(WRITER)
    image(writer)
    entry = {**described(manifest(LAYER)), "mediaType": MANIFEST}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    assert put_manifest(writer, index, "multi", INDEX).status_code == 201
    entry["digest"] = digest_of(b"absent")
    absent = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    assert code(put_manifest(writer, absent, "multi", INDEX)) == (404, "MANIFEST_BLOB_UNKNOWN")


def test_a_tag_moves_and_contents_stay(registry: Registry) -> None:
    writer = registry.client(WRITER)
    first = image(writer, "latest")
    put_blob(writer, b"other")
    second = manifest(b"other")
    assert put_manifest(writer, second, "latest").status_code == 201
    assert writer.get(f"{BASE}/manifests/latest").content == second
    assert writer.get(f"{BASE}/manifests/{first}").content == manifest(LAYER)


def test_who_may_do_what(registry: Registry) -> None:
    digest = image(registry.client(WRITER))
    reader, nobody, anonymous = (registry.client(who) for who in (READER, NOBODY, None))
    assert code(reader.post(f"{BASE}/blobs/uploads/")) == (403, "DENIED")
    assert code(put_manifest(reader, manifest(LAYER), "v9")) == (403, "DENIED")
    assert code(nobody.get(f"{BASE}/manifests/{digest}")) == (403, "DENIED")
    assert code(registry.client(WRITER).delete(f"{BASE}/manifests/{digest}")) == (403, "DENIED")
    assert code(reader.get(f"/v2/other-project/images/x/manifests/{digest}")) == (403, "DENIED")
    assert code(anonymous.get(f"{BASE}/manifests/{digest}")) == (401, "UNAUTHORIZED")
    for name in ("files", "absent"):  # another format, and none
        assert code(reader.get(f"/v2/{PROJECT}/{name}/x/manifests/{digest}")) == (404, "NAME_UNKNOWN")


def test_the_challenge_and_the_token(registry: Registry) -> None:
    anonymous = registry.client(None)
    realm = f'Bearer realm="http://127.0.0.1:{registry.port}/v2/token"'
    assert anonymous.get("/v2/").headers["WWW-Authenticate"] == realm
    below = anonymous.post(f"{BASE}/blobs/uploads/").headers["WWW-Authenticate"]
    assert below == f'{realm},service="127.0.0.1:{registry.port}",scope="repository:{BASE[4:]}:push,pull"'
    google = anonymous.get("/v2/", headers={"Host": "us-central1-docker.pkg.dev"})
    assert google.headers["WWW-Authenticate"] == 'Bearer realm="https://us-central1-docker.pkg.dev/v2/token"'
    assert code(anonymous.get("/v2/token")) == (401, "UNAUTHORIZED")
    basic = ("oauth2accesstoken", registry.token(WRITER))
    token = anonymous.get("/v2/token", auth=basic).raise_for_status().json()["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert anonymous.post(f"{BASE}/blobs/uploads/", headers=bearer).status_code == 202
    assert anonymous.post(f"{BASE}/blobs/uploads/", auth=basic).status_code == 202


def test_the_host_serves_docker_alone(registry: Registry) -> None:
    client = registry.client(READER)
    host = {"Host": "us-central1-docker.pkg.dev"}
    assert client.get("/v2/", headers=host).status_code == 200
    assert code(client.get(f"/{PROJECT}/py/simple/", headers=host)) == (404, "NAME_INVALID")
    assert client.get("/v2/", headers={"Host": "us-central1-python.pkg.dev"}).status_code == 404


def test_upload_sessions(registry: Registry) -> None:
    writer = registry.client(WRITER)
    location = writer.post(f"{BASE}/blobs/uploads/").headers["Location"]
    patched = writer.patch(location, content=LAYER)
    assert (patched.status_code, patched.headers["Range"]) == (202, f"0-{len(LAYER) - 1}")
    assert writer.get(location).headers["Range"] == f"0-{len(LAYER) - 1}"
    assert code(writer.patch(location, content=b"more")) == (416, "UNSUPPORTED")
    elsewhere = location.replace("/team/", "/other/")
    assert code(writer.put(elsewhere, params={"digest": digest_of(LAYER)})) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert writer.put(location, params={"digest": digest_of(LAYER)}).status_code == 201
    assert code(writer.get(location)) == (404, "BLOB_UPLOAD_UNKNOWN")
    second = writer.post(f"{BASE}/blobs/uploads/").headers["Location"]
    assert writer.delete(second).status_code == 204
    assert code(writer.patch(second, content=b"x")) == (404, "BLOB_UPLOAD_UNKNOWN")
    single = writer.post(f"{BASE}/blobs/uploads/", params={"digest": digest_of(CONFIG)}, content=CONFIG)
    assert single.status_code == 201
    assert writer.get(f"{BASE}/blobs/{digest_of(CONFIG)}").content == CONFIG


@pytest.mark.parametrize("name", ["-x", "a" * 129, "a b", "sha256:short"])
def test_names_that_are_none(registry: Registry, name: str) -> None:
    writer = registry.client(WRITER)
    image(writer)
    status, said = code(put_manifest(writer, manifest(LAYER), name))
    assert (status, said) in ((400, "TAG_INVALID"), (400, "DIGEST_INVALID"), (404, "NAME_INVALID"))


def test_deleting(registry: Registry) -> None:
    admin = registry.client(ADMIN)
    digest = image(admin, "v1")
    assert code(admin.delete(f"{BASE}/manifests/{digest}")) == (400, "DENIED")  # a tag names it
    assert admin.delete(f"{BASE}/manifests/v1").status_code == 202
    assert code(admin.get(f"{BASE}/manifests/v1")) == (404, "MANIFEST_UNKNOWN")
    assert admin.delete(f"{BASE}/manifests/{digest}").status_code == 202
    assert code(admin.get(f"{BASE}/manifests/{digest}")) == (404, "MANIFEST_UNKNOWN")


def test_a_version_that_the_api_deletes_takes_its_tags_along(registry: Registry) -> None:
    admin = registry.client(ADMIN)
    digest = image(admin, "v1")
    place = f"/v1/{repository('images')}/packages/team%252Fservice/versions/{digest}"
    assert admin.get(place).status_code == 200
    assert admin.delete(place).status_code == 200
    assert put_manifest(admin, manifest(LAYER)).status_code == 201
    assert admin.get(f"{BASE}/tags/list").json()["tags"] == []


def test_the_api_lists_images(registry: Registry) -> None:
    digest = image(registry.client(WRITER), "v1")
    put_manifest(registry.client(WRITER), manifest(LAYER), "v2")
    client = ar.ArtifactRegistryClient(
        credentials=_Credentials(registry.token(READER)),
        transport="rest",
        client_options={"api_endpoint": registry.url},
    )
    (found,) = client.list_docker_images(parent=repository("images"))
    assert found.uri == f"us-central1-docker.pkg.dev/{BASE[4:]}@{digest}"
    assert list(found.tags) == ["v1", "v2"]
    assert (found.media_type, found.image_size_bytes) == (
        MANIFEST,
        len(CONFIG) + len(LAYER) + len(manifest(LAYER)),
    )
    assert client.get_docker_image(name=found.name) == found
    kept = client.get_repository(name=repository("images"))
    assert (kept.format_, kept.size_bytes) == (ar.Repository.Format.DOCKER, found.image_size_bytes)
    assert [each.name.rpartition("/")[2] for each in client.list_packages(parent=repository("images"))] == [
        "team%2Fservice"
    ]


class _Credentials(AnonymousCredentials):
    def __init__(self, token: str) -> None:
        super().__init__()
        self._bearer = token

    def apply(self, headers: dict[str, str], token: str | None = None) -> None:
        headers["Authorization"] = f"Bearer {self._bearer}"

    def before_request(self, _request: object, _method: str, _url: str, headers: Mapping[str, str]) -> None:
        self.apply(headers)  # type: ignore[arg-type]


def test_images_survive_a_kill(process: Process) -> None:
    registry = process.start()
    digest = image(registry.client(WRITER), "v1")
    process.end()
    again = process.start()
    reader = again.client(READER)
    assert reader.get(f"{BASE}/manifests/v1").headers["Docker-Content-Digest"] == digest
    assert reader.get(f"{BASE}/blobs/{digest_of(LAYER)}").content == LAYER
    process.end()


def test_skopeo_pushes_and_reads(registry: Registry, tmp_path: Path) -> None:
    """Somebody else's client."""
    from tests.image.registry.support import make_image

    skopeo = need("skopeo", "skopeo")
    made = make_image(tmp_path, gzip.compress(b"a layer", mtime=0))
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    place = f"docker://127.0.0.1:{registry.port}{BASE[3:]}:v1"
    login = f"oauth2accesstoken:{registry.token(WRITER)}"
    common = [skopeo, "--policy", str(policy)]
    pushed = [
        *common,
        "copy",
        "--preserve-digests",
        "--dest-tls-verify=false",
        "--dest-creds",
        login,
        f"oci:{made.layout}",
        place,
    ]
    done = subprocess.run(pushed, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    reader = registry.client(READER)
    assert reader.get(f"{BASE}/manifests/v1").content == made.manifest
    inspect = [*common, "inspect", "--raw", "--tls-verify=false", "--creds", login, place]
    assert subprocess.run(inspect, capture_output=True, check=True, timeout=60).stdout == made.manifest
