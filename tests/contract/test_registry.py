"""Deletion in the private repositories: the twin and the real client against the emulator behave alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.oauth2.credentials import Credentials

from shared.emulators.registry.openpgp import SigningKey
from shared.errors import Permanent
from shared.gcp.registry import ArtifactRegistry
from shared.memory.machines import MemoryRegistry
from shared.model.lock import LockedArchive, LockedPython
from shared.model.value import sha256
from shared.ports.registry import NotPermitted, Registry
from shared.settings import Settings
from tests.contract.conftest import BOTH
from tests.emulators.registry.support import LOCATION, PROJECT, WRITER, in_process
from tests.support import built


@dataclass(frozen=True)
class Shop:
    """A registry as sync has it, and the same without the right to delete."""

    registry: Registry
    tied: Registry


def _client(url: str, token: str) -> ArtifactRegistry:
    made = ArtifactRegistry(
        Settings(project=PROJECT, location=LOCATION, generic_repository="files", registry_endpoint=url)
    )
    made.__dict__["_credentials"] = Credentials(token)  # type: ignore[no-untyped-call]  # as google.auth.default
    return made


@pytest.fixture(params=BOTH)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    if request.param == "memory":
        yield _memory()
        return
    key = tmp_path / "signing-key.json"
    SigningKey.load(key, "test")
    sync = "sync@x.test"
    iam = {"*": {"writer": [sync, WRITER], "packageDmzEvictor": [sync]}}
    with in_process(tmp_path, key, iam=iam) as running:
        yield Shop(_client(running.url, running.token(sync)), _client(running.url, running.token(WRITER)))


def _memory() -> Shop:
    registry = MemoryRegistry()
    tied = MemoryRegistry()
    tied.__dict__.update(registry.__dict__)  # the same files
    tied.sealed = True
    return Shop(registry, tied)


def _python(registry: Registry, folder: Path, name: str, version: str, tag: str = "py3-none-any") -> None:
    made = built.wheel(name, version, tag=tag)
    path = folder / made.filename
    path.write_bytes(made.content)
    url = f"https://files.test/{made.filename}"
    file = LockedPython(
        name=name, version=version, filename=made.filename, sha256=made.sha256, url=url, record=None
    )
    registry.upload_python("py", file, path)


def _archive(registry: Registry, folder: Path, name: str, version: str, architecture: str) -> None:
    made = built.deb(name, version, architecture, name, version, "")
    path = folder / made.filename
    path.write_bytes(made.content)
    file = LockedArchive(
        name=name,
        version=version,
        architecture=architecture,
        source_name=name,
        source_version=version,
        filename=made.filename,
        url=f"https://deb.test/{made.filename}",
        sha256=made.sha256,
        size=len(made.content),
        suite="trixie",
    )
    registry.upload_apt("trixie", file, path)


def _owners(registry: Registry, repository: str) -> list[str]:
    return sorted({file.owner for file in registry.stored(repository)})


def test_a_version_is_deleted_as_a_whole_and_nothing_beside_it(shop: Shop, tmp_path: Path) -> None:
    for version, tag in (
        ("1.0", "py3-none-any"),
        ("1.0", "cp313-cp313-linux_x86_64"),
        ("1.0+cpu", "py3-none-any"),
    ):
        _python(shop.registry, tmp_path, "lib", version, tag)
    owner = next(one.owner for one in shop.registry.stored("py") if "+" not in one.name)
    assert len([one for one in shop.registry.stored("py") if one.owner == owner]) == 2
    shop.registry.delete_version(owner)
    assert [one.name for one in shop.registry.stored("py")] == ["lib-1.0+cpu-py3-none-any.whl"]
    shop.registry.delete_version(owner)  # gone is gone
    shop.registry.delete_version(_owners(shop.registry, "py")[0])
    assert shop.registry.stored("py") == []


def test_files_are_found_by_their_versions_alone(shop: Shop, tmp_path: Path) -> None:
    """However a version is written, and whatever else is there."""
    for version in ("1.0", "1.0+cpu", "1.00"):
        _python(shop.registry, tmp_path, "lib", version)
    _python(shop.registry, tmp_path, "lib2", "1.0")
    for version, architecture in (("1:2.0+b1", "amd64"), ("1:2.0+b1", "arm64"), ("1:2.0+b2", "amd64")):
        _archive(shop.registry, tmp_path, "libx++1", version, architecture)
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    shop.registry.upload_generic("files", "generic", sha256(b"bytes")[7:], "file", path)

    def found(repository: str, *versions: tuple[str, str]) -> list[str]:
        some = shop.registry.find(repository, versions)
        assert set(some) <= set(shop.registry.stored(repository))
        return sorted(one.name for one in some)

    assert found("py", ("lib", "1.0+cpu"), ("lib2", "1.0"), ("lib3", "1.0")) == [
        "lib-1.0+cpu-py3-none-any.whl",
        "lib2-1.0-py3-none-any.whl",
    ]
    assert len(found("trixie", ("libx++1", "1:2.0+b1"))) == 2
    assert found("trixie", ("libx++1", "1:2.0")) == found("py") == []
    (held,) = shop.registry.find("files", [("generic", sha256(b"bytes")[7:])])
    assert (held.sha256, held.size) == (sha256(b"bytes"), 5)


def test_archives_of_all_architectures_are_one_version(shop: Shop, tmp_path: Path) -> None:
    for name, version, architecture in (
        ("libx++1", "1:2.0+b1", "amd64"),
        ("libx++1", "1:2.0+b1", "arm64"),
        ("libx++1", "1:2.0+b2", "amd64"),
    ):
        _archive(shop.registry, tmp_path, name, version, architecture)
    first, second = _owners(shop.registry, "trixie")
    shop.registry.delete_version(first)
    assert _owners(shop.registry, "trixie") == [second]
    assert len(shop.registry.stored("trixie")) == 1


def test_a_file_comes_back_after_its_deletion(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    version = sha256(b"bytes")[7:]
    for _ in range(2):
        shop.registry.upload_generic("files", "generic", version, "file", path)
        (held,) = shop.registry.stored("files")
        assert (held.name, held.sha256) == (f"generic:{version}:file", sha256(b"bytes"))
        shop.registry.delete_version(held.owner)
        assert shop.registry.stored("files") == []


def test_who_may_not_delete_is_told_so(shop: Shop, tmp_path: Path) -> None:
    _python(shop.registry, tmp_path, "lib", "1.0")
    (owner,) = _owners(shop.registry, "py")
    with pytest.raises(NotPermitted, match="not permitted"):
        shop.tied.delete_version(owner)
    assert _owners(shop.registry, "py") == [owner]


def test_of_a_file_with_more_bytes_than_the_limit_none_is_believed(shop: Shop, tmp_path: Path) -> None:
    """The repository in which a VM leaves its own wheels is filled by whom nobody believes."""
    (tmp_path / "file").write_bytes(b"bytes")
    shop.registry.upload_generic("files", "wheels", "1", "file", tmp_path / "file")
    to = tmp_path / "to"
    shop.registry.download_generic("files", "wheels", "1", "file", to, 5)
    assert to.read_bytes() == b"bytes"
    with pytest.raises(Permanent, match="file in files has more than 4 bytes, which is refused"):
        shop.registry.download_generic("files", "wheels", "1", "file", to, 4)
