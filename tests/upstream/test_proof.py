"""The proof over whole files: hash, identity, what the VM had, and what dpkg-deb says of an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.errors import Permanent
from shared.model.lock import LockedArchive, LockedPython
from shared.upstream import wheel
from shared.upstream.proof import Prover
from tests.upstream import support

WHEEL = "demo-1.0-py3-none-any.whl"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "a-file-of-another-name"
    target.write_bytes(support.zipped(support.wheel_members("demo", "1.0", {"demo.py": b"x = 1\n"})))
    return target


def locked(path: Path, **changes: Any) -> LockedPython:
    fields = {
        "name": "demo",
        "version": "1.0",
        "filename": WHEEL,
        "sha256": support.digest(path.read_bytes()),
        "url": f"https://files.example/{WHEEL}",
        "record": None,
    }
    return LockedPython(**{**fields, **changes})


def test_a_wheel_is_what_the_vm_had(path: Path) -> None:
    record = wheel.prove(path, WHEEL).record
    Prover().wheel(locked(path, record=record), path)
    Prover().wheel(locked(path), path)
    Prover().wheel(locked(path, version="1.0.0"), path)


def test_a_wheel_is_not_what_the_vm_had(path: Path) -> None:
    with pytest.raises(Permanent, match="not what the outer VM installed"):
        Prover().wheel(locked(path, record="sha256:" + "0" * 64), path)


def test_other_bytes_than_the_locked_ones(path: Path) -> None:
    file = locked(path)
    path.write_bytes(path.read_bytes() + b"\x00")
    with pytest.raises(Permanent, match="the lock says"):
        Prover().wheel(file, path)


@pytest.mark.parametrize("changes", [{"name": "other"}, {"version": "2.0"}, {"version": "1.0-odd-x"}])
def test_another_package_than_the_locked_one(path: Path, changes: dict[str, str]) -> None:
    with pytest.raises(Permanent, match="the lock says"):
        Prover().wheel(locked(path, **changes), path)


def test_a_file_that_is_not_there(path: Path, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="cannot be read"):
        Prover().wheel(locked(path), tmp_path / "nowhere")


def test_a_source_distribution(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(support.sdist("demo", "1.0"))
    Prover().wheel(locked(path, filename="demo-1.0.tar.gz"), path)
    with pytest.raises(Permanent, match="the lock says other"):
        Prover().wheel(locked(path, filename="demo-1.0.tar.gz", name="other"), path)


# --- archives ---------------------------------------------------------------------------------------------------

FIELDS = {"Package": "hello", "Version": "1:2.10-3", "Architecture": "amd64"}


def archive(path: Path, **changes: Any) -> LockedArchive:
    content = path.read_bytes()
    fields = {
        "name": "hello",
        "version": "1:2.10-3",
        "architecture": "amd64",
        "source_name": "hello",
        "source_version": "1:2.10-3",
        "filename": "hello_2.10-3_amd64.deb",
        "url": "https://deb.example/hello_2.10-3_amd64.deb",
        "sha256": support.digest(content),
        "size": len(content),
        "suite": "trixie",
    }
    return LockedArchive(**{**fields, **changes})


def test_an_archive(tmp_path: Path) -> None:
    plain = support.deb(tmp_path, FIELDS)
    Prover().archive(archive(plain), plain)
    named = support.deb(tmp_path, {**FIELDS, "Source": "hello-src"})
    Prover().archive(archive(named, source_name="hello-src"), named)
    both = support.deb(tmp_path, {**FIELDS, "Source": "hello-src (2.9)"})
    Prover().archive(archive(both, source_name="hello-src", source_version="2.9"), both)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "other"}, "its Package is 'hello', the lock says 'other'"),
        ({"version": "1:2.10-4"}, "its Version is"),
        ({"architecture": "arm64"}, "its Architecture is"),
        ({"source_name": "other"}, "its Source is"),
        ({"source_version": "2.0"}, "its Source version is"),
        ({"sha256": "sha256:" + "0" * 64}, "the lock says"),
    ],
)
def test_another_archive_than_the_locked_one(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    path = support.deb(tmp_path, FIELDS)
    with pytest.raises(Permanent, match=words):
        Prover().archive(archive(path, **changes), path)


def test_what_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"", b"!<arch>\n", b"PK" * 100):
        path.write_bytes(content)
        with pytest.raises(Permanent, match="not a Debian archive"):
            Prover().archive(archive(path), path)
