"""The real gcloud command line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.registry.support import (
    ADMIN,
    LOCATION,
    PROJECT,
    READER,
    WRITER,
    Registry,
    make_deb,
    make_wheel,
    need,
    run,
    upload_deb,
    upload_wheel,
)


class Gcloud:
    """`gcloud artifacts`, with a configuration of its own."""

    def __init__(self, registry: Registry, folder: Path, email: str) -> None:
        self._tool = need("gcloud", "google-cloud-cli")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CLOUDSDK_CONFIG": str(folder / "gcloud"),
            "CLOUDSDK_CORE_PROJECT": PROJECT,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
            "CLOUDSDK_AUTH_ACCESS_TOKEN": registry.token(email),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_ARTIFACTREGISTRY": f"{registry.url}/",
        }

    def __call__(
        self, *arguments: str, status: int = 0, repository: str | None = "py", location: str | None = LOCATION
    ) -> str:
        flags = [f"--location={location}"] if location else []
        flags += [f"--repository={repository}"] if repository else []
        done = run(self._tool, "artifacts", *arguments, *flags, env=self._environment)
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    def names(self, *arguments: str, repository: str = "py") -> list[str]:
        said: list[dict[str, Any]] = json.loads(
            self(*arguments, "--format=json(name)", repository=repository).split("Listing items")[0]
        )
        return [item["name"].rpartition("/")[2] for item in said]


@pytest.fixture
def gcloud(registry: Registry, tmp_path: Path) -> Gcloud:
    return Gcloud(registry, tmp_path, ADMIN)


def test_lists_and_deletes(registry: Registry, gcloud: Gcloud, tmp_path: Path) -> None:
    for version in ("1.0", "1.1"):
        upload_wheel(registry.client(WRITER), make_wheel(tmp_path, version=version))
    assert gcloud.names("packages", "list") == ["dmz-demo"]
    assert gcloud.names("versions", "list", "--package=dmz-demo") == ["1.0", "1.1"]
    files = gcloud.names("files", "list", "--package=dmz-demo", "--version=1.1")
    assert files == ["dmz-demo%2Fdmz_demo-1.1-py3-none-any.whl"]
    gcloud("versions", "delete", "1.0", "--package=dmz-demo")
    assert gcloud.names("versions", "list", "--package=dmz-demo") == ["1.1"]
    gcloud("packages", "delete", "dmz-demo")
    assert gcloud.names("packages", "list") == []


def test_repositories(gcloud: Gcloud) -> None:
    found = json.loads(
        gcloud("repositories", "list", "--format=json(name,format)", repository=None).split("Listing")[0]
    )
    assert {item["name"].rpartition("/")[2]: item["format"] for item in found} == {
        "files": "GENERIC",
        "images": "DOCKER",
        "py": "PYTHON",
        "trixie": "APT",
    }
    assert "us-central1-apt.pkg.dev/dmz-inner/trixie" in gcloud(
        "repositories", "describe", "trixie", repository=None
    )
    assert LOCATION in gcloud("locations", "list", repository=None, location=None)


def test_downloads_a_name_with_plus_in_ranges(registry: Registry, gcloud: Gcloud, tmp_path: Path) -> None:
    """gcloud downloads 3 MiB at a time and escapes the plus sign within the name."""
    content = make_deb(tmp_path, "libx++1", "1:2.0+b1").read_bytes() + os.urandom(7 << 20)
    upload_deb(registry.client(WRITER), content)
    (name,) = gcloud.names("files", "list", repository="trixie")
    assert "%2B" in name
    target = tmp_path / "target"
    target.mkdir()
    gcloud("files", "download", name.replace("%2F", "/").replace("%2B", "+"), f"--destination={target}",
           "--local-filename=file", repository="trixie")  # fmt: skip
    assert (target / "file").read_bytes() == content


def test_uploads_a_package_and_ignores_a_conflict(registry: Registry, gcloud: Gcloud, tmp_path: Path) -> None:
    first, second = make_deb(tmp_path, text="one"), make_deb(tmp_path, text="two")
    for deb in (first, second):
        gcloud("apt", "upload", "trixie", f"--source={deb}", repository=None)
    assert gcloud.names("packages", "list", repository="trixie") == ["hello-dmz"]
    (name,) = gcloud.names("files", "list", repository="trixie")
    served = registry.client(READER).get(
        f"/v1/projects/{PROJECT}/locations/{LOCATION}/repositories/trixie/files/{name}:download?alt=media"
    )
    assert served.content == first.read_bytes()
    notes = tmp_path / "notes.txt"
    notes.write_text("no package")
    said = gcloud("apt", "upload", "trixie", f"--source={notes}", repository=None, status=1)
    assert "not a Debian package" in said


@pytest.mark.parametrize("size", [5, 6 << 20], ids=["multipart", "resumable"])
def test_generic_upload_and_download(gcloud: Gcloud, tmp_path: Path, size: int) -> None:
    """From 5 MiB on, gcloud takes the resumable protocol."""
    source = tmp_path / "data.bin"
    source.write_bytes(os.urandom(size))
    where = ["--package=archive", "--version=1.0"]
    gcloud("generic", "upload", *where, f"--source={source}", "--destination-path=deep", repository="files")
    said = gcloud(
        "generic",
        "upload",
        *where,
        f"--source={source}",
        "--destination-path=deep",
        repository="files",
        status=1,
    )
    assert "already exists" in said
    target = tmp_path / "target"
    target.mkdir()
    gcloud("generic", "download", *where, f"--destination={target}", repository="files")
    assert (target / "deep" / "data.bin").read_bytes() == source.read_bytes()


def test_a_reader_may_not_upload(registry: Registry, tmp_path: Path) -> None:
    source = tmp_path / "data.bin"
    source.write_bytes(b"x")
    said = Gcloud(registry, tmp_path, READER)(
        "generic",
        "upload",
        "--package=archive",
        "--version=1.0",
        f"--source={source}",
        repository="files",
        status=1,
    )
    assert "artifactregistry.repositories.uploadArtifacts" in said
    assert "PERMISSION_DENIED" in said or "403" in said or "does not have permission" in said
