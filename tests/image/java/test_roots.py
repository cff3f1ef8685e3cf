"""Roots of compile sandboxes: made once, checked on every use, made again when anything in one changed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.image import roots
from shared.model.image import LockedInput
from tests.image.inputs.debs import deb, directory, link
from tests.image.java.support import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "inputs")


@pytest.fixture
def packages(files: Files) -> list[LockedInput]:
    one = deb("one", [directory("./usr"), ("./usr/tool", b"tool"), link("./usr/alias", "tool")])
    two = deb("two", [("./usr/other", b"other")])
    return [files.add("jdk", "one", one, "one.deb"), files.add("jdk", "two", two, "two.deb")]


def test_made_once(packages: list[LockedInput], files: Files, tmp_path: Path) -> None:
    first = roots.root(packages, files.path, tmp_path)
    assert (first / "usr/tool").read_bytes() == b"tool"
    assert (first / "usr/other").read_bytes() == b"other"
    assert files.asked == 2
    again = roots.root([*reversed(packages), packages[0]], files.path, tmp_path)
    assert (again, files.asked) == (first, 2)
    assert roots.root(packages[:1], files.path, tmp_path) != first


def _spoil_content(root: Path) -> None:
    (root / "usr/tool").write_bytes(b"tOol")


def _spoil_mode(root: Path) -> None:
    (root / "usr/tool").chmod(0o755)


def _spoil_link(root: Path) -> None:
    (root / "usr/alias").unlink()
    (root / "usr/alias").symlink_to("other")


def _add(root: Path) -> None:
    (root / "usr/more").write_bytes(b"")


def _take_away(root: Path) -> None:
    (root / "usr/other").unlink()


def _spoil_record(root: Path) -> None:
    record = root.with_suffix(".json")
    record.write_bytes(record.read_bytes().replace(b"tool", b"root", 1))


def _take_record(root: Path) -> None:
    root.with_suffix(".json").unlink()


@pytest.mark.parametrize(
    "spoil", [_spoil_content, _spoil_mode, _spoil_link, _add, _take_away, _spoil_record, _take_record]
)
def test_a_root_that_changed_is_made_again(
    packages: list[LockedInput], files: Files, tmp_path: Path, spoil: object
) -> None:
    made = roots.root(packages, files.path, tmp_path)
    before = _look(made)
    assert callable(spoil)
    spoil(made)
    assert roots.root(packages, files.path, tmp_path) == made
    assert _look(made) == before
    assert files.asked == 4


def test_a_root_with_half_a_record_is_made_again(
    packages: list[LockedInput], files: Files, tmp_path: Path
) -> None:
    made = roots.root(packages, files.path, tmp_path)
    record = made.with_suffix(".json")
    record.write_bytes(record.read_bytes()[:-20])
    roots.root(packages, files.path, tmp_path)
    assert files.asked == 4


def test_who_was_killed_leaves_nothing_in_the_way(
    packages: list[LockedInput], files: Files, tmp_path: Path
) -> None:
    made = roots.root(packages, files.path, tmp_path)
    half = made.with_name(f".{made.name}") / "root" / "usr"
    half.mkdir(parents=True)
    (half / "tool").write_bytes(b"half")
    made.rename(tmp_path / "gone")
    assert (roots.root(packages, files.path, tmp_path) / "usr/tool").read_bytes() == b"tool"
    assert not half.exists()


def test_many_at_once_make_one(packages: list[LockedInput], files: Files, tmp_path: Path) -> None:
    made: list[Path] = []
    threads = [
        threading.Thread(target=lambda: made.append(roots.root(packages, files.path, tmp_path)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1
    assert len(made) == 8
    assert files.asked == 2


def test_no_packages_make_no_root(files: Files, tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="names no package"):
        roots.root([], files.path, tmp_path)


def test_a_cache_that_cannot_be_written(packages: list[LockedInput], files: Files, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Permanent, match="name another in XDG_CACHE_HOME"):
        roots.root(packages, files.path, tmp_path / "file")


def test_the_environment_names_the_cache(
    packages: list[LockedInput], files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert roots.root(packages, files.path).is_relative_to(tmp_path / "xdg/package-dmz/roots")


def _look(root: Path) -> dict[str, object]:
    return {
        path.relative_to(root).as_posix(): (
            path.lstat().st_mode,
            path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(root.rglob("*"))
    }


_IN_ANY_LOCALE = """
import os, sys
from pathlib import Path
from shared.image import roots
from shared.model.image import LockedInput
package = LockedInput.read(sys.argv[1], "The package")
made = roots.root([package], lambda _: Path(sys.argv[2]), Path(sys.argv[3]))
names = [name.hex() for name in sorted(os.listdir(os.fsencode(made / "usr")))]
print(sys.getfilesystemencoding(), made.stat().st_ino, *names)
"""


def test_names_are_utf_8_whatever_the_locale(files: Files, tmp_path: Path) -> None:
    """And a root that was unpacked in one locale is found sound in another."""
    package = files.add("jdk", "named", deb("named", [("./usr/ő", b"x"), link("./usr/l", "ő")]), "named.deb")
    words = (
        sys.executable,
        "-P",
        "-c",
        _IN_ANY_LOCALE,
        package.canonical().decode(),
        files.path(package),
        tmp_path,
    )
    said = []
    for variables in (
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONUTF8": "1"},
    ):
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), **variables}
        said.append(
            subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout.split(
                " ", 1
            )
        )
    assert [encoding for encoding, _ in said] == ["ascii", "utf-8"]
    assert said[0][1] == said[1][1]
    assert "ő".encode().hex() in said[0][1].split()
    assert str(next((tmp_path / "roots").glob("*/usr/l")).readlink()) == "ő"
