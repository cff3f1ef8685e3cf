"""Every check on a wheel's bytes, each with a wheel that only that check can refuse."""

from __future__ import annotations

import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.upstream import wheel
from tests.upstream.support import record_row, wheel_members, zipped

NAME = "demo-1.0-py3-none-any.whl"
INFO = "demo-1.0.dist-info"
FILES = {"demo/__init__.py": b"x = 1\n", "demo/data.bin": bytes(1000)}


def members() -> dict[str, bytes]:
    return wheel_members("demo", "1.0", FILES)


def prove(tmp_path: Path, content: bytes | Mapping[str, bytes], filename: str = NAME) -> wheel.ProvenWheel:
    path = tmp_path / "file"
    path.write_bytes(content if isinstance(content, bytes) else zipped(content))
    return wheel.prove(path, filename)


def refused(tmp_path: Path, content: bytes | Mapping[str, bytes], words: str, filename: str = NAME) -> None:
    with pytest.raises(Permanent, match=words):
        prove(tmp_path, content, filename)


def with_record(changed: Mapping[str, bytes], old: str = "", new: str = "") -> dict[str, bytes]:
    """`changed` with its RECORD edited."""
    record = changed[f"{INFO}/RECORD"].decode()
    assert old in record
    return {**changed, f"{INFO}/RECORD": (record.replace(old, new) if old else record + new).encode()}


def test_a_sound_wheel(tmp_path: Path) -> None:
    proven = prove(tmp_path, members())
    assert (proven.name, proven.version) == ("demo", "1.0")
    assert proven.record.startswith("sha256:")


def test_names_and_versions_are_compared_normalized(tmp_path: Path) -> None:
    sound = wheel_members("Demo.Thing", "1.0.0", FILES)
    path = tmp_path / "file"
    path.write_bytes(zipped(sound))
    assert wheel.prove(path, "demo_thing-1.0-py3-none-any.whl").name == "demo-thing"


def test_a_file_name_that_is_none(tmp_path: Path) -> None:
    refused(tmp_path, members(), "not the file name of a wheel", "demo-1.0.whl")
    refused(tmp_path, members(), "not the file name of a wheel", "demo-x.y-py3-none-any.whl")


def test_a_broken_zip(tmp_path: Path) -> None:
    sound = zipped(members())
    for broken in (b"", b"PK", sound[:-10], b"not a zip" * 100):
        refused(tmp_path, broken, "broken zip")
    with pytest.raises(Permanent, match="cannot be read"):
        wheel.prove(tmp_path / "nowhere", NAME)


def test_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    sound = zipped(wheel_members("demo", "1.0", {**FILES, "demo/\u00e9.py": b"1"}))
    refused(tmp_path, sound.replace("\u00e9".encode(), b"\xff\xfe"), "broken zip")


# --- 1: plain ---------------------------------------------------------------------------------------------------


def test_a_member_twice(tmp_path: Path) -> None:
    pairs = [*members().items(), ("demo/data.bin", b"other")]
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = zipped(pairs)
    refused(tmp_path, content, "lists a member twice")


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "MAX_MEMBERS", 4)
    refused(tmp_path, members(), "holds 5 members")


def test_a_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = wheel_members("demo", "1.0", {"zeros": bytes(2_000_000)})
    assert prove(tmp_path, bomb)
    monkeypatch.setattr(wheel, "_FREE", 1000)
    refused(tmp_path, bomb, "zip bomb")
    monkeypatch.setattr(wheel, "MAX_RATIO", 10_000)
    assert prove(tmp_path, bomb)
    monkeypatch.setattr(wheel, "MAX_INFLATED", 1_000_000)
    refused(tmp_path, bomb, "zip bomb")


def test_a_member_that_inflates_beyond_its_stated_size(tmp_path: Path) -> None:
    """The central directory states 10 bytes; what comes out is not even read beyond that."""
    sound = wheel_members("demo", "1.0", {"zeros": bytes(100_000)})
    content = bytearray(zipped(sound))
    for at in _positions(content, b"PK\x01\x02"):
        if content[at + 46 : at + 51] == b"zeros":
            content[at + 24 : at + 28] = struct.pack("<I", 10)
    refused(tmp_path, bytes(content), "not what RECORD says|broken zip")


def test_a_list_of_members_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    size = 50_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65_535, 65_535, size, 0, 0)
    (tmp_path / "file").write_bytes(bytes(size) + end)
    tracemalloc.start()
    try:
        with pytest.raises(Permanent, match="has a list of members of 50000000 bytes"):
            wheel.prove(tmp_path / "file", NAME)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_data_before_the_first_member(tmp_path: Path) -> None:
    refused(tmp_path, b"#!/bin/sh\n" + zipped(members()), "data before the first")


def test_overlapping_members(tmp_path: Path) -> None:
    """Two names for the same compressed bytes."""
    content = bytearray(zipped([("a", bytes(500)), ("b", bytes(500)), *members().items()]))
    headers = [at for at in _positions(content, b"PK\x01\x02") if content[at + 46 : at + 47] == b"b"]
    content[headers[0] + 42 : headers[0] + 46] = struct.pack("<I", 0)
    refused(tmp_path, bytes(content), "overlapping|broken zip")


def test_an_encrypted_or_unusually_packed_member(tmp_path: Path) -> None:
    content = bytearray(zipped(members()))
    content[_positions(content, b"PK\x01\x02")[0] + 8] |= 1
    refused(tmp_path, bytes(content), "encrypted or packed unusually")
    path = tmp_path / "lzma"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, data in members().items():
            archive.writestr(name, data)
    refused(tmp_path, path.read_bytes(), "encrypted or packed unusually")


def _positions(content: bytes | bytearray, signature: bytes) -> list[int]:
    found, at = [], content.find(signature)
    while at != -1:
        found.append(at)
        at = content.find(signature, at + 1)
    return found


# --- 2: paths ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "../evil.py",
        "demo/../../evil.py",
        "/etc/cron.d/evil",
        "demo//x.py",
        "./x.py",
        "demo\\evil.py",
        "demo/\x07.py",
        "demo/‮yp.exe",
    ],
)
def test_a_path_out_of_the_wheel(tmp_path: Path, path: str) -> None:
    sound = members()
    refused(tmp_path, {**with_record(sound, new=record_row(path, b"evil")), path: b"evil"}, "with the path")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_a_link_or_device(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("demo/link")
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    sound = with_record(members(), new=record_row("demo/link", b"/etc/passwd"))
    refused(tmp_path, zipped([*sound.items(), (info, b"/etc/passwd")]), "symbolic link or device")


# --- 3 and 4: identity ------------------------------------------------------------------------------------------


def test_another_package_under_this_name(tmp_path: Path) -> None:
    refused(tmp_path, wheel_members("other", "1.0", FILES), "one .dist-info directory, named for demo 1.0")
    refused(tmp_path, wheel_members("demo", "2.0", FILES), "one .dist-info directory")
    refused(tmp_path, {"demo.py": b""}, "it has none")
    two = {**members(), **wheel_members("second", "1.0", {})}
    refused(tmp_path, two, "it has demo-1.0.dist-info, second-1.0.dist-info")


@pytest.mark.parametrize(
    "metadata",
    [
        b"Metadata-Version: 2.1\nName: other\nVersion: 1.0\n\n",
        b"Metadata-Version: 2.1\nName: demo\nVersion: 1.1\n\n",
        b"Metadata-Version: 2.1\nName: demo\nVersion: odd\n\n",
        b"Metadata-Version: 2.1\nName: demo\n\nVersion: 1.0\n",
        b"Metadata-Version: 2.1\nName: demo\nName: other\nVersion: 1.0\n\n",
        b"",
        b"\xff\xfe",
    ],
)
def test_metadata_of_something_else(tmp_path: Path, metadata: bytes) -> None:
    sound = members()
    old = record_row(f"{INFO}/METADATA", sound[f"{INFO}/METADATA"])
    spoiled = with_record(
        {**sound, f"{INFO}/METADATA": metadata}, old, record_row(f"{INFO}/METADATA", metadata)
    )
    refused(tmp_path, spoiled, "says inside that it is")


@pytest.mark.parametrize("missing", ["METADATA", "RECORD"])
def test_a_wheel_without_its_papers(tmp_path: Path, missing: str) -> None:
    sound = members()
    del sound[f"{INFO}/{missing}"]
    refused(tmp_path, sound, f"has no {INFO}/{missing}")


@pytest.mark.parametrize(
    "path",
    [
        "second-1.0.DIST-INFO/METADATA",
        "demo-1.0.data/purelib/second-1.0.dist-info/METADATA",
        "demo-1.0.data/platlib/second-1.0.Dist-Info/METADATA",
        "demo-1.0.data/purelib/demo-1.0.dist-info/RECORD",
        "demo-1.0.data/purelib/demo-1.0.dist-info/direct_url.json",
        "other-2.0.data/purelib/second-1.0.dist-info/METADATA",
    ],
)
def test_a_second_package_that_would_be_installed_along(tmp_path: Path, path: str) -> None:
    """Where it lands counts, and importlib.metadata reads such names in any case."""
    refused(tmp_path, wheel_members("demo", "1.0", {**FILES, path: b"Name: second"}), "one .dist-info")


def test_a_vendored_package_is_no_second_one(tmp_path: Path) -> None:
    """As setuptools has them: deep inside, where nothing looks for what is installed."""
    vendored = "demo/_vendor/second-1.0.dist-info/METADATA"
    assert prove(tmp_path, wheel_members("demo", "1.0", {**FILES, vendored: b"Name: second"}))


# --- 5: RECORD --------------------------------------------------------------------------------------------------


def test_changed_content(tmp_path: Path) -> None:
    refused(
        tmp_path, {**members(), "demo/__init__.py": b"x = 2\n"}, "'demo/__init__.py' is not what RECORD says"
    )


def test_a_wrong_size(tmp_path: Path) -> None:
    refused(tmp_path, with_record(members(), ",1000\n", ",1001\n"), "is not what RECORD says")


def test_an_extra_file(tmp_path: Path) -> None:
    refused(tmp_path, {**members(), "evil.pth": b"import evil"}, "'evil.pth', which RECORD does not list")


def test_a_missing_file(tmp_path: Path) -> None:
    sound = members()
    del sound["demo/data.bin"]
    refused(tmp_path, sound, "RECORD lists 'demo/data.bin', which is not in the wheel")


@pytest.mark.parametrize("hash_", ["", "md5=rL0Y20zC-Fzt72VPzMSk2A", "sha1=qZk-NkcGgWq6PiVxeFDCbJzQ2J0"])
def test_a_row_without_a_strong_hash(tmp_path: Path, hash_: str) -> None:
    row = record_row("demo/__init__.py", FILES["demo/__init__.py"])
    refused(tmp_path, with_record(members(), row, f"demo/__init__.py,{hash_},6\n"), "no sha256 or better")


def test_stronger_hashes_are_fine(tmp_path: Path) -> None:
    import base64
    import hashlib

    row = record_row("demo/__init__.py", FILES["demo/__init__.py"])
    strong = (
        base64.urlsafe_b64encode(hashlib.sha512(FILES["demo/__init__.py"]).digest()).rstrip(b"=").decode()
    )
    assert prove(tmp_path, with_record(members(), row, f"demo/__init__.py,sha512={strong},6\n"))


def test_a_malformed_record(tmp_path: Path) -> None:
    refused(tmp_path, with_record(members(), new="demo/data.bin,sha256=AA,1\n"), "twice")
    refused(tmp_path, {**members(), f"{INFO}/RECORD": b"\xff"}, NAME)


@pytest.mark.parametrize("contents", [True, False])
def test_two_contents_for_one_place(tmp_path: Path, contents: bool) -> None:
    """Which of them an installer leaves there is its own affair."""
    both = {"x.py": b"1", "demo-1.0.data/purelib/x.py": b"2"}
    path = tmp_path / "file"
    path.write_bytes(zipped(wheel_members("demo", "1.0", FILES | both)))
    with pytest.raises(Permanent, match=r"demo-1.0-py3-none-any.whl: RECORD lists 'x.py' twice"):
        wheel.prove(path, NAME, contents=contents)


def test_signatures_of_record_need_no_row(tmp_path: Path) -> None:
    assert prove(tmp_path, {**members(), f"{INFO}/RECORD.jws": b"{}"})
