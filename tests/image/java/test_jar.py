"""Jars: the same bytes whoever writes them, and no jar is taken that readers could disagree about."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import Permanent
from shared.image import jar
from shared.image.spool import constant
from shared.image.tree import Content

ATTRIBUTES = {"Manifest-Version": "1.0", "Main-Class": "a.B"}
ENTRIES = {"a/B.class": b"\xca\xfe", "META-INF/services/x": b"y\n", "ä.txt": b"", "a/b/c": b"0" * 100_000}
KNOWN = "41a8c09a42cc86ad"
_PROGRAM = """
import io, hashlib, sys
from tests.image.java.test_jar import ATTRIBUTES, ENTRIES, written
print(hashlib.sha256(written(dict(sorted(ENTRIES.items(), key=lambda e: hash(e[0]))))).hexdigest())
"""


def written(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    size = jar.write(file, ATTRIBUTES, {name: constant(data) for name, data in entries.items()})
    assert size == len(file.getvalue())
    return file.getvalue()


def test_order_of_the_entries_means_nothing() -> None:
    assert written(ENTRIES) == written(dict(reversed(ENTRIES.items())))


@pytest.mark.parametrize(
    ("environment", "umask"),
    [
        ({"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "1"}, 0o000),
        ({"TZ": "UTC", "PYTHONHASHSEED": "2", "LC_ALL": "tr_TR.UTF-8"}, 0o077),
        ({"LC_ALL": "C", "PYTHONHASHSEED": "3", "PYTHONUTF8": "0"}, 0o027),
    ],
)
def test_environment_means_nothing(environment: dict[str, str], umask: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env={"PATH": os.environ["PATH"], **environment},
        umask=umask,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == hashlib.sha256(written(ENTRIES)).hexdigest()


def test_layout_is_what_the_zip_format_says() -> None:
    data = written(ENTRIES)
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    names = archive.namelist()
    assert names[0] == "META-INF/MANIFEST.MF"
    assert names[1:] == sorted(names[1:], key=str.encode)
    assert {"META-INF/", "META-INF/services/", "a/", "a/b/"} <= set(names)
    for member in archive.infolist():
        assert member.compress_type == zipfile.ZIP_STORED
        assert member.date_time == (1980, 1, 1, 0, 0, 0)
        assert (member.extra, member.comment, member.external_attr, member.create_system) == (b"", b"", 0, 0)
        assert member.flag_bits == (0x800 if not member.filename.isascii() else 0)
    for name, content in ENTRIES.items():
        assert archive.read(name) == content
    assert hashlib.sha256(data).hexdigest().startswith(KNOWN)  # another answer changes every image


def test_manifest_comes_from_attributes_alone() -> None:
    with pytest.raises(Permanent, match="from its attributes"):
        written({"META-INF/MANIFEST.MF": b""})
    with pytest.raises(Permanent, match="manifest cannot say"):
        jar.manifest({"Main-Class": "a\nClass-Path: evil.jar"})


@given(st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=400))
@example("x" * 400)
@example("é" * 200)
def test_manifest_lines_are_at_most_72_bytes_and_join_again(value: str) -> None:
    lines = jar.manifest({"Name": value}).split(b"\r\n")
    assert all(len(line) <= 72 for line in lines)
    assert lines[-2:] == [b"", b""]
    assert b"".join([lines[0], *(line[1:] for line in lines[1:-2])]).decode() == f"Name: {value}"
    assert all(line.startswith(b" ") for line in lines[1:-2])


def test_a_file_and_a_directory_of_one_name() -> None:
    with pytest.raises(Permanent, match="cannot be both"):
        written({"a": b"", "a/b": b""})


@pytest.mark.parametrize("name", ["../a", "/a", "a//b", "a/./b", ""])
def test_a_name_that_leads_out_is_not_written(name: str) -> None:
    with pytest.raises(Permanent, match="only plain relative paths"):
        written({name: b""})


def test_content_that_changes_between_its_two_readings() -> None:
    answers = [b"one", b"two"]
    moving = Content(3, lambda: io.BytesIO(answers.pop()))
    with pytest.raises(Permanent, match="changed while"):
        jar.write(io.BytesIO(), ATTRIBUTES, {"a": moving})


def test_content_of_another_size_than_it_says() -> None:
    with pytest.raises(Permanent, match="has 3 bytes and not 4"):
        jar.write(io.BytesIO(), ATTRIBUTES, {"a": Content(4, lambda: io.BytesIO(b"one"))})


def test_two_sources_of_one_entry() -> None:
    with pytest.raises(Permanent, match="Two sources bring a into one jar"):
        jar.merge([{"a": constant(b"")}, {"a": constant(b"")}])


def _zip(tmp_path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = tmp_path / "given.jar"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return path


def test_entries_of_a_sound_jar(tmp_path: Path) -> None:
    path = _zip(tmp_path, ("b/", b""), ("b/X.class", b"x" * 9999), ("a", b"1"))
    assert dict(jar.entries(path, "The jar")) == {"a": b"1", "b/X.class": b"x" * 9999}
    assert jar.check(path, "The jar") == {"b/", "b/X.class", "a"}


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\..\\x", "a\x01b", "a//b"])
def test_zip_slip(tmp_path: Path, name: str) -> None:
    with pytest.raises(Permanent, match="leads out of it"):
        jar.check(_zip(tmp_path, (name, b"")), "The jar")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_with_other_bytes(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match=r"A\.class twice with different bytes"):
        jar.check(_zip(tmp_path, ("A.class", b"one"), ("A.class", b"two")), "The jar")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_with_the_same_bytes_is_one_file(tmp_path: Path) -> None:
    path = _zip(tmp_path, ("META-INF/LICENSE", b"x"), ("META-INF/LICENSE", b"x"))
    assert dict(jar.entries(path, "The jar")) == {"META-INF/LICENSE": b"x"}


def test_odd_compression(tmp_path: Path) -> None:
    path = _zip(tmp_path, ("A.class", b"x" * 100), method=zipfile.ZIP_LZMA)
    with pytest.raises(Permanent, match="compression that the JVM does not read"):
        jar.check(path, "The jar")


def test_encrypted(tmp_path: Path) -> None:
    path = _zip(tmp_path, ("A.class", b"x"))
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(Permanent, match="encrypted"):
        jar.check(path, "The jar")


def test_damaged_content(tmp_path: Path) -> None:
    path = _zip(tmp_path, ("A.class", b"plain bytes"), method=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"plain", b"plaiN"))
    with pytest.raises(Permanent, match=r"damaged at A\.class"):
        list(jar.entries(path, "The jar"))


def test_two_headers_that_name_different_entries(tmp_path: Path) -> None:
    path = _zip(tmp_path, ("A.class", b"x"))
    path.write_bytes(path.read_bytes().replace(b"A.class", b"B.class", 1))
    with pytest.raises(Permanent, match="damaged at"):
        list(jar.entries(path, "The jar"))


def test_an_entry_that_says_it_is_huge(tmp_path: Path) -> None:
    path = _zip(tmp_path, ("A.class", b"x"))
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 2**31)
    path.write_bytes(data)
    with pytest.raises(Permanent, match="more than 1073741824 are refused"):
        jar.check(path, "The jar")


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip at all" * 10])
def test_no_jar(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.jar"
    path.write_bytes(data)
    with pytest.raises(Permanent, match="The jar is no jar that can be read"):
        jar.check(path, "The jar")
