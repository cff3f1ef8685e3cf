"""Apt repositories: real apt-get, gpgv and dpkg-deb."""

from __future__ import annotations

import gzip
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.emulators.registry import apt_index
from shared.emulators.registry.openpgp import SigningKey
from tests.emulators.registry.support import (
    NOBODY,
    PROJECT,
    READER,
    WRITER,
    Registry,
    ar,
    control_tar,
    make_deb,
    need,
    run,
    upload_deb,
)

BASE = f"/projects/{PROJECT}"
DISTS = f"{BASE}/dists/trixie"


class Apt:
    """apt-get with a root of its own."""

    def __init__(self, registry: Registry, folder: Path, email: str = READER) -> None:
        self._tool = need("apt-get", "apt")
        self.folder = folder / "apt"
        for path in (
            "etc/apt/auth.conf.d",
            "state/lists/partial",
            "cache/archives/partial",
            "etc/apt/preferences.d",
        ):
            (self.folder / path).mkdir(parents=True)
        keyring = self.folder / "key.asc"
        keyring.write_bytes(registry.client(None).get("/doc/repo-signing-key.gpg").content)
        source = f"deb [signed-by={keyring}] {registry.url}/projects/{PROJECT} trixie main\n"
        (self.folder / "etc/apt/sources.list").write_text(source)
        login = f"machine {registry.url} login oauth2accesstoken password {registry.token(email)}\n"
        (self.folder / "etc/apt/auth.conf").write_text(login)
        (self.folder / "status").touch()

    def get(self, *arguments: str) -> tuple[int, str]:
        options = {
            "Dir::Etc": self.folder / "etc/apt",
            "Dir::State": self.folder / "state",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            "Dir::Log": self.folder,
            "APT::Sandbox::User": "root",
            "APT::Architecture": "amd64",
            "Acquire::Retries": "0",
            "Acquire::http::Proxy": "DIRECT",
        }
        done = run(
            self._tool, *(f"-o{key}={value}" for key, value in options.items()), *arguments, cwd=self.folder
        )
        return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("compression", ["gzip", "xz", "zstd"])
def test_apt_updates_verifies_and_downloads(registry: Registry, tmp_path: Path, compression: str) -> None:
    deb = make_deb(tmp_path, version="1:2.0~rc1+b1", compression=compression)
    operation = upload_deb(registry.client(WRITER), deb.read_bytes())
    assert operation["response"]["aptArtifacts"][0]["packageName"] == "hello-dmz"
    apt = Apt(registry, tmp_path)
    status, said = apt.get("update", "-oAPT::Update::Error-Mode=any")
    assert status == 0, said
    status, said = apt.get("download", "hello-dmz=1:2.0~rc1+b1")
    assert status == 0, said
    (downloaded,) = apt.folder.glob("*.deb")
    assert downloaded.read_bytes() == deb.read_bytes()


def test_apt_sees_what_came_and_went(registry: Registry, tmp_path: Path) -> None:
    apt = Apt(registry, tmp_path)
    assert apt.get("update", "-oAPT::Update::Error-Mode=any")[0] == 0  # an empty repository is a valid one
    assert apt.get("download", "hello-dmz")[0] != 0
    client = registry.client()
    upload_deb(client, make_deb(tmp_path).read_bytes())
    assert apt.get("update", "-oAPT::Update::Error-Mode=any")[0] == 0
    assert apt.get("download", "hello-dmz")[0] == 0
    client.delete(f"/v1/projects/{PROJECT}/locations/us-central1/repositories/trixie/packages/hello-dmz")
    assert apt.get("update", "-oAPT::Update::Error-Mode=any")[0] == 0
    assert apt.get("download", "hello-dmz")[0] != 0


def test_apt_refuses_another_key(registry: Registry, tmp_path: Path) -> None:
    apt = Apt(registry, tmp_path)
    other = SigningKey.load(tmp_path / "other.json", "another")
    (apt.folder / "key.asc").write_bytes(other.public_key())
    status, said = apt.get("update", "-oAPT::Update::Error-Mode=any")
    assert status != 0
    assert "NO_PUBKEY" in said


def test_apt_refuses_a_changed_index(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signature is over the index that is served: change one byte of Packages after signing."""
    upload_deb(registry.client(WRITER), make_deb(tmp_path).read_bytes())
    build = apt_index.build

    def tampering(*arguments: object) -> dict[str, bytes]:
        files = build(*arguments)  # type: ignore[arg-type]
        packages = files["main/binary-amd64/Packages"].replace(b"made by a test", b"MADE by a test")
        return {
            **files,
            "main/binary-amd64/Packages": packages,
            "main/binary-amd64/Packages.gz": gzip.compress(packages, mtime=0),
        }

    monkeypatch.setattr(apt_index, "build", tampering)
    status, said = Apt(registry, tmp_path).get("update", "-oAPT::Update::Error-Mode=any")
    assert status != 0
    assert "Hash Sum mismatch" in said or "unexpected size" in said


def test_apt_is_refused_without_a_role(registry: Registry, tmp_path: Path) -> None:
    status, said = Apt(registry, tmp_path, NOBODY).get("update", "-oAPT::Update::Error-Mode=any")
    assert status != 0
    assert "403" in said


@pytest.mark.parametrize("name", ["InRelease", "Release.gpg"])
def test_gpgv_accepts_the_signature_and_not_another_text(
    registry: Registry, tmp_path: Path, name: str
) -> None:
    gpgv, gpg = need("gpgv", "gpgv"), need("gpg", "gpg")
    client = registry.client(READER)
    armored = tmp_path / "key.asc"
    armored.write_bytes(client.get("/doc/repo-signing-key.gpg").content)
    assert run(gpg, "--batch", "--dearmor", "-o", str(tmp_path / "key.gpg"), str(armored)).returncode == 0
    signed, text = tmp_path / name, tmp_path / "Release"
    signed.write_bytes(client.get(f"{DISTS}/{name}").content)
    text.write_bytes(client.get(f"{DISTS}/Release").content)
    command = [gpgv, "--keyring", str(tmp_path / "key.gpg"), str(signed)]
    command += [str(text)] if name == "Release.gpg" else []
    assert "Good signature" in run(*command).stderr
    changed = text if name == "Release.gpg" else signed
    changed.write_bytes(changed.read_bytes().replace(b"Components: main", b"Components: mean"))
    assert "BAD signature" in run(*command).stderr


def test_a_conflicting_package_is_ignored(registry: Registry, tmp_path: Path) -> None:
    client = registry.client(WRITER)
    first, second = make_deb(tmp_path, text="one").read_bytes(), make_deb(tmp_path, text="two").read_bytes()
    assert upload_deb(client, first)["response"]["aptArtifacts"]
    for again in (first, second):
        operation = upload_deb(client, again)
        assert "error" not in operation
        assert "aptArtifacts" not in operation["response"]
    packages = client.get(f"{DISTS}/main/binary-amd64/Packages").text
    assert packages.count("Package: ") == 1
    assert hashlib.sha256(first).hexdigest() in packages
    assert hashlib.sha256(second).hexdigest() not in packages


def test_a_hundred_uploads_are_signed_once(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    client = registry.client(WRITER)
    signed = []
    clear_signed = SigningKey.clear_signed

    def counting(self: SigningKey, text: str, now: int) -> bytes:
        signed.append(now)
        return clear_signed(self, text, now)

    monkeypatch.setattr(SigningKey, "clear_signed", counting)
    for number in range(100):
        control = f"Package: p{number}\nVersion: 1\nArchitecture: amd64\n"
        assert "response" in upload_deb(client, described(control))
    assert not signed
    readers = [registry.client(READER) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda reader: reader.get(f"{DISTS}/main/binary-amd64/Packages").text, readers))
    assert {text.count("Package: ") for text in seen} == {100}
    assert client.get(f"{DISTS}/InRelease").text.count(" main/binary-amd64/Packages") == 2
    assert len(signed) == 1


def test_what_a_package_says_of_its_own_file_is_dropped(registry: Registry) -> None:
    claims = "SHA256: 00\n 11\nFilename: ../../etc/passwd\nDepends: x\n"
    control = f"Package: liar\nVersion: 1\nArchitecture: amd64\n{claims}"
    client = registry.client(WRITER)
    assert "response" in upload_deb(client, described(control))
    packages = client.get(f"{DISTS}/main/binary-amd64/Packages").text
    assert packages.count("SHA256: ") == packages.count("Filename: ") == 1
    assert "passwd" not in packages
    assert "\n 11" not in packages
    assert "Depends: x" in packages


def described(control: str) -> bytes:
    """A package with this control file and nothing else."""
    return ar(("debian-binary", b"2.0\n"), ("control.tar.gz", control_tar(control)), ("data.tar", b""))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a package",
        b"!<arch>\ntruncated",
        ar(("debian-binary", b"2.0\n")),
        ar(("debian-binary", b"2.0\n"), ("control.tar.gz", b"not gzip")),
        ar(("debian-binary", b"2.0\n"), ("control.tar.lz", b"")),
        ar(("debian-binary", b"2.0\n"), ("control.tar.zst", b"not zstd")),
        described("Package: a/../b\nVersion: 1\nArchitecture: all\n"),
        described("Package: aa\nVersion: 1/2\nArchitecture: all\n"),
        described("Package: aa\nArchitecture: all\n"),
        described("Package: aa\nVersion: 1\nArchitecture: all\n\nPackage: bb\n"),
        described("Package: aa\nVersion: 1\nArchitecture: all\nPackage: bb\n"),
        described("Package: aa\nVersion: 1\nArchitecture: all\nno field\n"),
    ],
)
def test_what_is_no_package_fails_in_its_operation(registry: Registry, content: bytes) -> None:
    client = registry.client(WRITER)
    operation = upload_deb(client, content)
    assert operation["error"]["code"] == 3
    assert client.get(f"{DISTS}/main/binary-amd64/Packages").text == ""


def test_architectures(registry: Registry, tmp_path: Path) -> None:
    client = registry.client(WRITER)
    for name, architecture in (("a1", "arm64"), ("b1", "amd64"), ("c1", "all")):
        upload_deb(client, make_deb(tmp_path, name, Architecture=architecture).read_bytes())
    assert "Architectures: amd64 arm64\n" in client.get(f"{DISTS}/Release").text
    for architecture, names in (("arm64", ["a1", "c1"]), ("amd64", ["b1", "c1"])):
        packages = client.get(f"{DISTS}/main/binary-{architecture}/Packages").text
        assert [line[9:] for line in packages.splitlines() if line.startswith("Package: ")] == names
        packed = client.get(f"{DISTS}/main/binary-{architecture}/Packages.gz").content
        assert gzip.decompress(packed).decode() == packages
    assert client.get(f"{DISTS}/main/binary-riscv64/Packages").status_code == 404


def test_reading_needs_a_token_and_the_key_does_not(registry: Registry) -> None:
    assert registry.client(None).get(f"{DISTS}/InRelease").status_code == 401
    assert registry.client(NOBODY).get(f"{DISTS}/InRelease").status_code == 403
    assert (
        registry.client(None)
        .get("/doc/repo-signing-key.gpg")
        .text.startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----")
    )
    assert registry.client(READER).get(f"{BASE}/dists/py/InRelease").status_code == 404
    assert registry.client(READER).get(f"{BASE}/pool/trixie/none.deb").status_code == 404
    assert registry.client(WRITER).post(f"{DISTS}/InRelease").status_code == 405
