"""The real google-cloud-artifact-registry client, over REST."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import BadRequest, Forbidden, NotFound
from google.auth.credentials import Credentials
from google.auth.exceptions import RefreshError
from google.cloud import artifactregistry_v1 as ar
from google.oauth2.credentials import Credentials as Token

from shared.emulators.registry.store import NewFile
from tests.emulators.registry.support import (
    ADMIN,
    LOCATION,
    NOBODY,
    PARENT,
    READER,
    WRITER,
    Registry,
    make_deb,
    make_wheel,
    repository,
    upload_deb,
    upload_generic,
    upload_wheel,
)


def api(
    registry: Registry, email: str = ADMIN, credentials: Credentials | None = None
) -> ar.ArtifactRegistryClient:
    return ar.ArtifactRegistryClient(
        credentials=credentials or Token(registry.token(email)),
        transport="rest",
        client_options=ClientOptions(api_endpoint=registry.url),
    )


@pytest.fixture
def filled(registry: Registry, tmp_path: Path) -> Registry:
    client = registry.client(WRITER)
    for version in ("1.0", "1.1", "2.0"):
        assert upload_wheel(client, make_wheel(tmp_path, version=version)).status_code == 200
    assert upload_wheel(client, make_wheel(tmp_path, "other", "1.0+cpu")).status_code == 200
    upload_deb(client, make_deb(tmp_path, "libx++1", "1:2.0+b1").read_bytes())
    upload_generic(client, "archive", "1.0", "folder/a.txt", b"content")
    return registry


def names(pager: Any) -> list[str]:
    return [item.name.removeprefix(f"{PARENT}/repositories/") for item in pager]


def test_repositories(filled: Registry) -> None:
    client = api(filled)
    assert names(client.list_repositories(parent=PARENT)) == ["files", "images", "py", "trixie"]
    found = client.get_repository(name=repository("trixie"))
    assert found.format_ == ar.Repository.Format.APT
    assert found.size_bytes > 0
    with pytest.raises(NotFound):
        client.get_repository(name=repository("absent"))


def test_packages_versions_files(filled: Registry) -> None:
    client = api(filled, READER)
    assert names(client.list_packages(parent=repository("py"))) == [
        "py/packages/dmz-demo",
        "py/packages/other",
    ]
    package = client.get_package(name=f"{repository('trixie')}/packages/libx%2B%2B1")
    assert package.name.endswith("/packages/libx%2B%2B1")
    assert names(client.list_versions(parent=f"{repository('py')}/packages/dmz-demo")) == [
        f"py/packages/dmz-demo/versions/{version}" for version in ("1.0", "1.1", "2.0")
    ]
    version = f"{repository('trixie')}/packages/libx%2B%2B1/versions/1:2.0%2Bb1"
    assert client.get_version(name=version).name == version
    (deb,) = client.list_files(parent=repository("trixie"))
    assert deb.owner == version
    assert "files/pool%2Flibx%2B%2B1_2.0%2Bb1_all_" in deb.name
    assert client.get_file(name=deb.name) == deb


def test_hashes_are_of_the_bytes(filled: Registry, tmp_path: Path) -> None:
    wheel = tmp_path / "dmz_demo-1.1-py3-none-any.whl"
    name = f"{repository('py')}/files/dmz-demo%2F{wheel.name}"
    found = api(filled).get_file(name=name)
    digests = {hashed.type_.name: hashed.value for hashed in found.hashes}
    assert digests["SHA256"] == hashlib.sha256(wheel.read_bytes()).digest()
    assert found.size_bytes == wheel.stat().st_size


def test_pages(filled: Registry) -> None:
    client = api(filled)
    request = ar.ListFilesRequest(parent=repository("py"), page_size=3)
    pages = [len(page.files) for page in client.list_files(request=request).pages]
    assert pages == [3, 1]
    assert len(list(client.list_files(request=request))) == 4
    with pytest.raises(BadRequest):
        list(client.list_files(request=ar.ListFilesRequest(parent=repository("py"), page_token="!")))


def test_a_page_holds_at_most_1000(registry: Registry) -> None:
    assert registry.app
    store = registry.app.store
    for number in range(1005):
        with store.stage() as staging:
            store.add("files", NewFile(f"p:1:{number:04}", "p", "1", {}), staging.finish())
    request = ar.ListFilesRequest(parent=repository("files"), page_size=5000)
    assert [len(page.files) for page in api(registry).list_files(request=request).pages] == [1000, 5]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (f'name="{repository("py")}/files/dmz-demo%2F*"', 3),
        (f'name="{repository("py")}/files/dmz-demo/*"', 3),
        (f'name="{repository("PY")}/files/*1.0-py3*"', 1),
        (f'owner="{repository("py")}/packages/dmz-demo/versions/2.0"', 1),
        (f'owner="{repository("py")}/packages/dmz-demo"', 3),
        (f'owner="{repository("py")}/packages/dmz"', 0),
    ],
)
def test_filters(filled: Registry, text: str, count: int) -> None:
    request = ar.ListFilesRequest(parent=repository("py"), filter=text)
    assert len(list(api(filled).list_files(request=request))) == count


def test_an_unknown_filter_is_refused(filled: Registry) -> None:
    with pytest.raises(BadRequest):
        list(api(filled).list_files(request=ar.ListFilesRequest(parent=repository("py"), filter="size>3")))


def test_delete(filled: Registry) -> None:
    client = api(filled)
    package = f"{repository('py')}/packages/dmz-demo"
    client.delete_version(name=f"{package}/versions/1.0").result(timeout=20)
    assert names(client.list_versions(parent=package)) == [
        f"py/packages/dmz-demo/versions/{v}" for v in ("1.1", "2.0")
    ]
    client.batch_delete_versions(
        request=ar.BatchDeleteVersionsRequest(parent=package, names=[f"{package}/versions/1.1"])
    ).result(timeout=20)
    client.delete_package(name=package).result(timeout=20)
    assert names(client.list_packages(parent=repository("py"))) == ["py/packages/other"]
    with pytest.raises(NotFound):
        client.delete_package(name=package)
    with pytest.raises(NotFound):
        client.get_package(name=package)


def test_only_generic_files_can_be_deleted(filled: Registry) -> None:
    client = api(filled)
    (wheel, *_) = client.list_files(parent=repository("py"))
    with pytest.raises(BadRequest, match="delete the version"):
        client.delete_file(name=wheel.name)
    (file,) = client.list_files(parent=repository("files"))
    assert file.name.endswith("/files/archive:1.0:folder%2Fa.txt")
    client.delete_file(name=file.name).result(timeout=20)
    assert not list(client.list_files(parent=repository("files")))


def test_roles(filled: Registry) -> None:
    package = f"{repository('py')}/packages/dmz-demo"
    with pytest.raises(Forbidden, match=r"artifactregistry\.packages\.delete"):
        api(filled, WRITER).delete_package(name=package)
    with pytest.raises(Forbidden):
        list(api(filled, NOBODY).list_files(parent=repository("py")))
    with pytest.raises(Forbidden):
        list(api(filled, NOBODY).list_repositories(parent=PARENT))
    with pytest.raises(Forbidden):
        list(api(filled).list_packages(parent=f"projects/another/locations/{LOCATION}/repositories/py"))
    with pytest.raises(RefreshError):  # what the client makes of 401: it tries to fetch another token
        api(filled, credentials=Token("ya29.forged.forged")).get_repository(name=repository("py"))


def test_a_missing_operation(registry: Registry) -> None:
    with pytest.raises(NotFound):
        api(registry).transport.operations_client.get_operation(f"{PARENT}/operations/none")
