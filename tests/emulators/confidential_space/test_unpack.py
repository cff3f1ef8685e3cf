"""Layers to a root: whiteouts, links, ids; and images that want out of it."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard

from shared.emulators.confidential_space import unpack
from shared.emulators.confidential_space.pull import Layer
from shared.emulators.vm import idmap
from shared.errors import Permanent
from tests.emulators.confidential_space.images import LAYER, digest, entry, tarred

LINK, HARD, FOLDER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
Entry = tuple[tarfile.TarInfo, bytes | None]


class Unpacked:
    """Looks at a root as the guest would: its files belong to the guest's ids."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def tree(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_symlink():
                found[name] = f"-> {path.readlink()}"
            elif path.is_dir():
                found[name] = None
            else:
                found[name] = path.read_bytes()
        return found


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Any]:
    roots = []

    def make(*layers: Sequence[Entry], packed: str = "tar", lie: str = "") -> Unpacked:
        written = []
        for number, entries in enumerate(layers):
            content = tarred(entries)
            stored = {
                "tar": content,
                "tar+gzip": gzip.compress(content[:512]) + gzip.compress(content[512:]),
                "tar+zstd": zstandard.compress(content),
            }[packed]
            path = tmp_path / f"layer-{number}"
            path.write_bytes(stored)
            written.append(Layer(path, LAYER.replace(".tar", f".{packed}"), lie or digest(content)))
        root = tmp_path / "root"
        root.mkdir()
        roots.append(root)
        unpack.unpack(written, root)
        return Unpacked(root)

    yield make
    for root in roots:
        unpack.remove(root)


@pytest.mark.parametrize("packed", ["tar", "tar+gzip", "tar+zstd"])
def test_layers_lie_over_each_other(made: Any, packed: str) -> None:
    found = made(
        [
            entry("a", b"1"),
            entry("d", type=FOLDER),
            entry("d/x", b"x"),
            entry("d/y", b"y"),
            entry("o/p", b"p"),
        ],
        [
            entry("./a", b"2"),
            entry("d/.wh.x"),
            entry("d/z", b"z"),
            entry("o/.wh..wh..opq"),
            entry("o/q", b"q"),
        ],
        [entry("d/x", b"again"), entry("/absolute", b"in")],
        packed=packed,
    )
    assert found.tree() == {
        "a": b"2", "absolute": b"in", "d": None, "d/x": b"again", "d/y": b"y", "d/z": b"z", "o": None, "o/q": b"q",
    }  # fmt: skip


def test_an_opaque_mark_spares_what_its_own_layer_brought_before_it(made: Any) -> None:
    found = made(
        [entry("o/old", b""), entry("o/deep/old", b"")],
        [entry("o/new", b""), entry("o/deep/new", b""), entry("o/.wh..wh..opq")],
    )
    assert set(found.tree()) == {"o", "o/new", "o/deep", "o/deep/new"}


def test_names_lead_through_links_inside_the_image(made: Any) -> None:
    found = made(
        [entry("usr/bin", type=FOLDER), entry("bin", type=LINK, linkname="usr/bin")],
        [entry("bin/sh", b"sh"), entry("up", type=LINK, linkname="../../../usr"), entry("up/lib/x", b"x")],
        [entry("abs", type=LINK, linkname="/usr/lib"), entry("abs/y", b"y"), entry("bin/.wh.sh")],
    )
    assert found.tree() == {
        "abs": "-> /usr/lib", "bin": "-> usr/bin", "up": "-> ../../../usr", "usr": None, "usr/bin": None,
        "usr/lib": None, "usr/lib/x": b"x", "usr/lib/y": b"y",
    }  # fmt: skip


def test_hard_links_modes_and_owners_are_kept(made: Any) -> None:
    found = made(
        [entry("a", b"same", mode=0o4755, uid=7, gid=8)],
        [entry("b/c", type=HARD, linkname="a"), entry("f", type=tarfile.FIFOTYPE)],
        [entry(".wh.a"), entry("n", type=tarfile.CHRTYPE)],
    )
    assert {path.name for path in found.root.iterdir()} == {"b", "f"}
    state = (found.root / "b" / "c").stat()
    assert state.st_mode & 0o7777 == 0o4755
    base = idmap.BASE if idmap.as_root() else state.st_uid - 7
    assert (state.st_uid - base, (found.root / "b" / "c").read_bytes()) == (7, b"same")


def test_two_names_of_one_file_stay_one_file(made: Any) -> None:
    found = made([entry("a", b"x"), entry("b", type=HARD, linkname="./a")])
    assert (found.root / "a").stat().st_ino == (found.root / "b").stat().st_ino


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry("../x", b"")], "leads out of it"),
        ([entry("a/../../x", b"")], "leads out of it"),
        ([entry("/".join("d" * 201), b"")], "too deep"),
        ([entry("a", b""), entry("a/b", b"")], "no directory"),
        ([entry("l", type=LINK, linkname="l"), entry("l/b", b"")], "no directory"),
        ([entry("h", type=HARD, linkname="/etc/passwd")], "which is no file in it"),
        ([entry("h", type=HARD, linkname="../../etc/passwd")], "leads out of it"),
        ([entry("x", b"", uid=70_000)], "ids end at 65535"),
    ],
)
def test_what_is_refused(made: Any, entries: list[Entry], said: str) -> None:
    with pytest.raises(Permanent) as error:
        made(entries)
    assert said in str(error.value)


def test_links_that_lead_to_the_host_stay_links(made: Any, tmp_path: Path) -> None:
    """A name below a link to the host's directory lands in the image."""
    target = tmp_path / "host"
    target.mkdir(mode=0o777)
    target.chmod(0o777)
    found = made([entry("out", type=LINK, linkname=str(target)), entry("out/x", b"x")])
    assert list(target.iterdir()) == []
    assert found.tree()[f"{str(target)[1:]}/x"] == b"x"


def test_a_layer_that_is_not_what_the_configuration_says_is_refused(made: Any) -> None:
    wrong = f"sha256:{hashlib.sha256(b'').hexdigest()}"
    with pytest.raises(Permanent, match="but the configuration says"):
        made([entry("a", b"1")], lie=wrong)


@pytest.mark.parametrize("content", [b"no archive at all" * 100, b"\x1f\x8b\x08broken"])
def test_malformed_layers(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "layer"
    path.write_bytes(content)
    for kind in ("tar", "tar+gzip", "tar+zstd", "cpio"):
        (tmp_path / "root").mkdir(exist_ok=True)
        with pytest.raises(Permanent):
            unpack.unpack(
                [Layer(path, LAYER.replace(".tar", f".{kind}"), digest(content))], tmp_path / "root"
            )


def test_a_layer_that_does_not_fit_the_disk_is_refused(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.emulators.vm.disk.free", lambda _: 2 * 2**30 + 10_000)
    with pytest.raises(Permanent, match="does not fit the disk"):
        made([entry("a", b"\0" * 50_000)], packed="tar+gzip")
