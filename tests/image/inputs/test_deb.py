"""Reading one archive: what is in it, and everything that is refused."""

from __future__ import annotations

import io
import lzma
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest
import zstandard

from shared.errors import Permanent
from shared.image import deb as reader
from shared.image import inflate
from shared.image.spool import Spool
from shared.image.tree import Directory, File, Link
from tests.image.inputs import debs
from tests.image.inputs.debs import directory, entry, link


def read(path: Path) -> reader.Deb:
    return reader.read(path, Spool(path.parent))


def text(package: reader.Deb, path: str) -> bytes:
    node = package.nodes[path]
    assert isinstance(node, File)
    with node.content.open() as stream:
        return stream.read()


@pytest.mark.parametrize("suffix", debs.COMPRESSORS)
def test_content_of_every_compression(suffix: str, tmp_path: Path) -> None:
    large = bytes(range(256)) * 9000
    path = debs.write(
        tmp_path,
        "sample",
        directory("./usr"),
        ("./usr/a", b"one"),
        ("./usr/large", large),
        link("./usr/l", "a"),
        suffix=suffix,
    )
    package = read(path)
    assert package.name == "sample"
    assert package.control.startswith(b"Package: sample\n")
    assert package.md5sums == b"0  usr/x\n"
    assert list(package.nodes) == ["usr", "usr/a", "usr/l", "usr/large"]
    assert text(package, "usr/large") == large
    assert text(package, "usr/a") == text(package, "usr/a") == b"one"
    assert package.nodes["usr/l"] == Link("a")


def test_what_dpkg_makes_is_read_as_dpkg_lists_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_bytes(debs.control("made") + b"Maintainer: T <t@example.org>\n")
    long = "usr/share/" + "long-name/" * 30 + "file"
    (root / long).parent.mkdir(parents=True)
    (root / long).write_bytes(b"deep")
    (root / "usr/tool").write_bytes(b"tool")
    (root / "usr/tool").chmod(0o4755)
    (root / "usr/twin").hardlink_to(root / "usr/tool")
    path = tmp_path / "made.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--nocheck", "-b", root, path], check=True, capture_output=True
    )
    package = read(path)
    listed = subprocess.run(["dpkg-deb", "-c", path], check=True, capture_output=True, text=True).stdout
    assert len(package.nodes) == len(listed.splitlines()) - 1  # the root itself
    assert text(package, long) == b"deep"
    tool, twin = package.nodes["usr/tool"], package.nodes["usr/twin"]
    assert isinstance(tool, File)
    assert isinstance(twin, File)
    assert tool.mode == twin.mode == 0o4755
    assert tool.content.same == twin.content.same != ""


def test_a_set_id_bit_of_somebody_elses_file_goes(tmp_path: Path) -> None:
    def info(name: str, uid: int, gid: int) -> tarfile.TarInfo:
        made = entry(name, mode=0o6755)
        made.uid, made.gid = uid, gid
        return made

    path = debs.write(tmp_path, "ids", info("./a", 0, 0), info("./b", 0, 42), info("./c", 7, 0))
    modes = {name: node.mode for name, node in read(path).nodes.items() if isinstance(node, File)}
    assert modes == {"a": 0o6755, "b": 0o4755, "c": 0o2755}


HOSTILE: dict[str, tuple[list[debs.Entry], str]] = {
    "absolute": ([("/etc/passwd", b"x")], "leads elsewhere"),
    "up": ([("./usr/../../etc/passwd", b"x")], "leads elsewhere"),
    "up at once": ([("../x", b"x")], "leads elsewhere"),
    "double slash": ([("./usr//x", b"x")], "leads elsewhere"),
    "newline": ([("./usr/a\nb", b"x")], "control character"),
    "not utf-8": ([("./usr/\udcff", b"x")], "no text"),
    "character device": ([entry("./dev/null", tarfile.CHRTYPE)], "no file, link or directory"),
    "block device": ([entry("./dev/sda", tarfile.BLKTYPE)], "no file, link or directory"),
    "pipe": ([entry("./run/p", tarfile.FIFOTYPE)], "no file, link or directory"),
    "unknown kind": ([entry("./x", b"Z")], "no file, link or directory"),
    "twice": ([("./a", b"1"), ("./a", b"2")], "twice"),
    "file then directory": ([("./a", b"1"), directory("./a")], "twice"),
    "hard link to nothing": ([entry("./a", tarfile.LNKTYPE, "./b")], "did not come before"),
    "hard link out": ([entry("./a", tarfile.LNKTYPE, "/etc/shadow")], "leads elsewhere"),
    "hard link to a link": (
        [link("./l", "/etc"), entry("./a", tarfile.LNKTYPE, "./l")],
        "did not come before",
    ),
    "link to nothing": ([link("./l", "")], "no sound target"),
    "link with newline": ([link("./l", "a\nb")], "no sound target"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_members_are_refused(case: str, tmp_path: Path) -> None:
    entries, words = HOSTILE[case]
    path = debs.write(tmp_path, "hostile", data=debs.COMPRESSORS[".gz"](_raw(entries)))
    with pytest.raises(Permanent, match=words) as refused:
        read(path)
    assert str(refused.value).isprintable()


def _raw(entries: list[debs.Entry]) -> bytes:
    """`tarfile` strips what we want to see refused from a name, so names are written as they are."""
    buffer = io.BytesIO()
    for each in entries:
        info, data = (each, b"") if isinstance(each, tarfile.TarInfo) else (tarfile.TarInfo(each[0]), each[1])
        info.size = len(data)
        buffer.write(
            info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
            if info.name[:1] != "/"
            else _absolute(info)
        )
        buffer.write(data + bytes(-len(data) % 512))
    return buffer.getvalue() + bytes(1024)


def _absolute(info: tarfile.TarInfo) -> bytes:
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[:100] = info.name.encode().ljust(100, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return bytes(header)


@pytest.mark.parametrize("suffix", debs.COMPRESSORS)
def test_an_archive_cut_anywhere_is_refused(suffix: str, tmp_path: Path) -> None:
    whole = debs.deb("cut", [("./usr/a", bytes(range(256)) * 40), ("./usr/b", b"2" * 3000)], suffix)
    path = tmp_path / "cut.deb"
    for length in {*range(0, len(whole) - 1, max(1, len(whole) // 60)), len(whole) - 2}:
        path.write_bytes(whole[:length])
        with pytest.raises(Permanent):
            read(path)


@pytest.mark.parametrize("suffix", debs.COMPRESSORS)
def test_a_tar_cut_behind_a_sound_compression_is_refused(suffix: str, tmp_path: Path) -> None:
    whole = debs.tar([("./a", b"1" * 700), ("./b", b"2" * 700)]).rstrip(b"\0")
    for length in (100, 512, 900, 1536, 1700, 2048, len(whole)):
        path = debs.write(tmp_path, "cut", suffix=suffix, data=debs.COMPRESSORS[suffix](whole[:length]))
        with pytest.raises(Permanent, match="cut off"):
            read(path)


def test_a_damaged_header_in_the_middle_is_not_the_end(tmp_path: Path) -> None:
    whole = bytearray(debs.tar([("./a", b"1"), ("./b", b"2")]))
    whole[1024 + 3] ^= 1
    path = debs.write(tmp_path, "bad", data=debs.COMPRESSORS[".gz"](bytes(whole)))
    with pytest.raises(Permanent, match="damaged"):
        read(path)


def test_a_damaged_stream_is_refused(tmp_path: Path) -> None:
    for suffix in (".gz", ".xz", ".zst"):
        sound = debs.deb("bad", [("./usr/a", bytes(range(256)) * 400)], suffix)
        spoilt = bytearray(sound)
        spoilt[-40] ^= 0xFF
        path = tmp_path / "bad.deb"
        path.write_bytes(spoilt)
        if suffix == ".zst":  # this frame carries no checksum: the archive's sha256 is what finds it
            continue
        with pytest.raises(Permanent):
            read(path)


ODD = {
    "no archive": (b"PK\x03\x04", "no ar archive"),
    "empty": (b"", "no ar archive"),
    "format 3": (debs.ar([("debian-binary", b"3.0\n")]), "not of format 2.0"),
    "no data": (debs.ar([("debian-binary", b"2.0\n")]), "no data or no control"),
    "unknown compression": (
        debs.ar([("debian-binary", b"2.0\n"), ("control.tar.lzma", b"x")]),
        "compressed as '.lzma'",
    ),
    "other order": (
        debs.ar([("debian-binary", b"2.0\n"), ("data.tar.gz", b"x")]),
        "where control belongs",
    ),
    "something more": (debs.deb("more") + debs.ar([("extra", b"x")])[8:], "where nothing belongs"),
    "no name": (debs.deb("../x"), "which package it is"),
}


@pytest.mark.parametrize("case", ODD)
def test_what_is_no_package_is_refused(case: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.deb"
    path.write_bytes(ODD[case][0])
    with pytest.raises(Permanent, match=ODD[case][1]):
        read(path)


def test_a_member_that_is_to_be_ignored_is(tmp_path: Path) -> None:
    path = tmp_path / "signed.deb"
    path.write_bytes(debs.deb("signed") + debs.ar([("_gpgorigin", b"sig")])[8:])
    assert read(path).name == "signed"


def test_a_bomb_ends_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_SIZE", 8 * 1024**2)
    zeros = bytes(64 * 1024**2)
    for suffix in (".gz", ".xz", ".zst"):
        path = debs.write(
            tmp_path, "bomb", suffix=suffix, data=debs.COMPRESSORS[suffix](debs.tar([("./z", zeros)]))
        )
        assert path.stat().st_size < 400_000
        with pytest.raises(Permanent, match="inflates to more than 8388608 bytes"):
            read(path)


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_MEMBERS", 20)
    path = debs.write(tmp_path, "many", *(directory(f"./d{n}") for n in range(30)))
    with pytest.raises(Permanent, match="more than 20 members"):
        read(path)


def test_a_header_that_asks_for_memory_is_refused(tmp_path: Path) -> None:
    huge = entry("./x", tarfile.XHDTYPE)
    huge.size = 6 * 1024**3
    for suffix in (".gz", ".xz"):
        data = debs.COMPRESSORS[suffix](huge.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
        with pytest.raises(Permanent, match="says 6442450944 bytes"):
            read(debs.write(tmp_path, "pax", suffix=suffix, data=data))


def test_headers_nested_without_end_are_refused(tmp_path: Path) -> None:
    one = tarfile.TarInfo.create_pax_global_header({"a": "b"})
    data = debs.COMPRESSORS[".xz"](one * 3000)
    with pytest.raises(Permanent):
        read(debs.write(tmp_path, "nested", suffix=".xz", data=data))


def test_a_dictionary_that_asks_for_memory_is_refused() -> None:
    with pytest.raises(Permanent, match="cannot be decompressed"):
        inflate.inflated(io.BytesIO(_with_dictionary()), ".xz", 10**9, "It").read()
    parameters = zstandard.ZstdCompressionParameters(window_log=30, compression_level=1)
    framed = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = framed.compress(b"x" * 5000) + framed.flush()
    with pytest.raises(Permanent, match="cannot be decompressed"):
        inflate.inflated(io.BytesIO(data), ".zst", 10**9, "It").read()


def _with_dictionary() -> bytes:
    """A sound xz stream whose block header is rewritten to ask for a dictionary of 1 GiB."""
    data = bytearray(lzma.compress(b"x" * 100, preset=0, check=lzma.CHECK_CRC32))
    size = (data[12] + 1) * 4
    at = data.index(b"\x21\x01", 12, 12 + size)
    data[at + 2] = 36  # 2^(36/2 + 12)
    data[12 + size - 4 : 12 + size] = zlib.crc32(data[12 : 12 + size - 4]).to_bytes(4, "little")
    return bytes(data)


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """A file of 300 MB goes through a process that may not have half of that."""
    path = tmp_path / "large.deb"
    chunk = bytes(range(256)) * 4096
    path.write_bytes(debs.deb("large", [("./usr/large", chunk * 300)], ".xz"))
    program = (
        "import resource,sys\nfrom pathlib import Path\nfrom shared.image import deb\n"
        "from shared.image.spool import Spool\np=Path(sys.argv[1])\n"
        "before=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "d=deb.read(p,Spool(p.parent))\nn=0\n"
        "with d.nodes['usr/large'].content.open() as f:\n"
        "    while data:=f.read(1<<20): n+=len(data)\n"
        "print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss-before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], check=True, capture_output=True, text=True)
    size, grown = map(int, done.stdout.split())
    assert size == len(chunk) * 300
    assert grown < 64 * 1024  # KiB


def test_directories_keep_their_modes(tmp_path: Path) -> None:
    package = read(debs.write(tmp_path, "dirs", directory("./tmp", 0o1777), directory("./root/", 0o700)))
    assert package.nodes == {"root": Directory(0o700), "tmp": Directory(0o1777)}


@pytest.mark.parametrize("encoding", ["iso8859-9", "ascii"])
def test_names_are_utf_8_whatever_the_locale(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ca-certificates has such a name: in another charset it would be another path, and another digest."""
    name = "usr/share/Főtanúsítvány.crt"
    path = debs.write(tmp_path, "named", (f"./{name}", b"x"), link("./usr/l", name))
    monkeypatch.setattr(tarfile.TarFile, "encoding", encoding)
    package = read(path)
    assert list(package.nodes) == ["usr/l", name]
    assert package.nodes["usr/l"] == Link(name)
