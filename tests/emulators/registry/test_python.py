"""Python repositories: real pip and uv, and twine's form."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from tests.emulators.registry.support import (
    NOBODY,
    PROJECT,
    READER,
    WRITER,
    Registry,
    make_wheel,
    need,
    repository,
    run,
    upload_wheel,
)

SIMPLE = f"/{PROJECT}/py/simple/"


@pytest.fixture
def filled(registry: Registry, tmp_path: Path) -> Registry:
    assert upload_wheel(registry.client(WRITER), make_wheel(tmp_path)).status_code == 200
    return registry


def test_pip_installs(filled: Registry, tmp_path: Path) -> None:
    target = tmp_path / "site"
    done = run(
        sys.executable, "-m", "pip", "install", "--isolated", "--no-cache-dir", "--disable-pip-version-check",
        "--target", str(target), "--index-url", filled.index_url(), "dmz-demo",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (target / "dmz_demo" / "__init__.py").read_text() == "X = 1\n"


def test_pip_is_refused_without_a_role(filled: Registry, tmp_path: Path) -> None:
    done = run(
        sys.executable, "-m", "pip", "install", "--isolated", "--no-cache-dir", "--disable-pip-version-check",
        "--target", str(tmp_path / "site"), "--index-url", filled.index_url(NOBODY), "dmz-demo",
    )  # fmt: skip
    assert done.returncode != 0
    assert not (tmp_path / "site").exists()


def uv(*arguments: str) -> tuple[int, str]:
    beside = Path(sys.executable).with_name("uv")
    tool = str(beside) if beside.exists() else need("uv", "uv")
    done = run(tool, *arguments)
    return done.returncode, done.stderr


def test_uv_installs_with_hashes(filled: Registry, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "second")
    assert upload_wheel(filled.client(WRITER), wheel).status_code == 200
    page = filled.client(READER).get(f"{SIMPLE}second/").text
    digest = page.split("#sha256=")[1][:64]
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"second==1.0 --hash=sha256:{digest}\n")
    arguments = ["pip", "install", "--no-config", "--no-cache", "--python", sys.executable]
    arguments += ["--target", str(tmp_path / "site"), "--index-url", filled.index_url()]
    status, said = uv(*arguments, "--require-hashes", "-r", str(requirements))
    assert status == 0, said
    requirements.write_text(f"second==1.0 --hash=sha256:{'0' * 64}\n")
    status, said = uv(*arguments, "--reinstall", "--require-hashes", "-r", str(requirements))
    assert status != 0
    assert "Hash mismatch" in said


def test_uv_publishes(registry: Registry, tmp_path: Path) -> None:
    """A real uploader, with fields of its own (description, classifiers, more digests)."""
    wheel = make_wheel(tmp_path, "published")
    common = ["publish", "--no-config", "--no-cache", "--publish-url", f"{registry.url}/{PROJECT}/py/"]
    common += ["--username", "oauth2accesstoken", "--password"]
    status, said = uv(*common, registry.token(READER), str(wheel))
    assert status != 0
    assert "uploadArtifacts" in said
    status, said = uv(*common, registry.token(WRITER), str(wheel))
    assert status == 0, said
    served = registry.client(READER).get(f"/{PROJECT}/py/published/{wheel.name}")
    assert served.content == wheel.read_bytes()


def test_index_pages(filled: Registry) -> None:
    client = filled.client(READER)
    assert f'<a href="{SIMPLE}dmz-demo/">dmz-demo</a>' in client.get(SIMPLE).text
    page = client.get(f"{SIMPLE}dmz-demo/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert 'data-requires-python="&gt;=3.8"' in page.text
    for other in ("dmz_demo/", "DMZ.Demo/", "dmz-demo"):
        moved = client.get(SIMPLE + other)
        assert (moved.status_code, moved.headers["Location"]) == (301, f"{SIMPLE}dmz-demo/")
    assert client.get(f"{SIMPLE}absent/").status_code == 404
    assert client.get(f"/{PROJECT}/absent/simple/").status_code == 404
    assert client.get(f"/{PROJECT}/trixie/simple/").status_code == 404


def test_an_existing_file_is_refused_whatever_its_bytes(filled: Registry, tmp_path: Path) -> None:
    client = filled.client(WRITER)
    before = client.get(f"{SIMPLE}dmz-demo/").text
    for text in ("X = 1\n", "X = 2\n"):
        answer = upload_wheel(client, make_wheel(tmp_path, text=text))
        assert (answer.status_code, answer.text) == (400, "Requested entity already exists.\n")
    assert client.get(f"{SIMPLE}dmz-demo/").text == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sha256_digest": "0" * 64}, "sha256_digest"),
        ({"sha256_digest": ""}, "sha256_digest"),
        ({"md5_digest": "0" * 32}, "md5_digest"),
        ({"name": "another"}, "name"),
        ({"version": "2.0"}, "version"),
        ({"version": "one"}, "version"),
        ({":action": "doc_upload"}, "action"),
    ],
)
def test_a_form_that_does_not_fit_its_file(
    registry: Registry, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    client = registry.client(WRITER)
    answer = upload_wheel(client, make_wheel(tmp_path), **changes)
    assert answer.status_code == 400
    assert said in answer.text
    assert "dmz-demo" not in client.get(SIMPLE).text


@pytest.mark.parametrize(
    ("project", "name"),
    [
        ("dmz-demo", "dmz_demo.whl"),
        ("dmz-demo", "dmz_demo-1.0.exe"),
        ("dmz-demo", ""),
        ("..-dmz-demo", "../dmz_demo-1.0.tar.gz"),
        ("<b>dmz-demo", "<b>dmz_demo-1.0.tar.gz"),
    ],
)
def test_a_file_name_that_is_none(registry: Registry, project: str, name: str) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    form = {":action": "file_upload", "name": project, "version": "1.0", "sha256_digest": digest}
    answer = registry.client(WRITER).post(f"/{PROJECT}/py/", data=form, files={"content": (name, b"x")})
    assert answer.status_code == 400
    assert registry.client(READER).get(f"/v1/{repository('py')}/files").json() == {}


def test_an_sdist_and_a_local_version(registry: Registry, tmp_path: Path) -> None:
    client = registry.client(WRITER)
    digest = hashlib.sha256(b"x").hexdigest()
    form = {":action": "file_upload", "name": "torchy", "version": "1.0+cpu", "sha256_digest": digest}
    for name in ("torchy-1.0+cpu.tar.gz", "torchy-1.0+cpu-py3-none-any.whl"):
        assert client.post(f"/{PROJECT}/py/", data=form, files={"content": (name, b"x")}).status_code == 200
    page = client.get(f"{SIMPLE}torchy/").text
    assert f'href="/{PROJECT}/py/torchy/torchy-1.0%2Bcpu.tar.gz#sha256=' in page
    assert client.get(f"/{PROJECT}/py/torchy/torchy-1.0%2Bcpu.tar.gz").content == b"x"


def test_a_project_called_simple(registry: Registry, tmp_path: Path) -> None:
    client = registry.client(WRITER)
    wheel = make_wheel(tmp_path, "simple")
    assert upload_wheel(client, wheel).status_code == 200
    assert wheel.name in client.get(f"{SIMPLE}simple/").text
    assert client.get(f"{SIMPLE}{wheel.name}").content == wheel.read_bytes()


def test_the_challenge_that_makes_pip_ask(registry: Registry) -> None:
    answer = registry.client(None).get(SIMPLE)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
