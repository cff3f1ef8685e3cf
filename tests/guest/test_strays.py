"""What lies in a site directory without any RECORD that lists it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from shared.guest import dpkg_inventory, inventory, python_inventory, strays
from shared.guest.dpkg_inventory import Owned
from shared.guest.inventory import Snapshot
from tests.guest.parts import uv, venv


def row(path: str, content: bytes) -> str:
    return (
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()},"
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site directory with one distribution, as pip leaves it."""
    folder = tmp_path / "env/lib/python3.13/site-packages"
    (folder / "lib" / "__pycache__").mkdir(parents=True)
    (folder / "lib/__init__.py").write_bytes(b"A = 1\n")
    (folder / "lib/__pycache__/__init__.cpython-313.pyc").write_bytes(b"\0")
    (folder / "hook.pth").write_bytes(b"import lib\n")
    info = folder / "lib-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_bytes(b"Name: lib\nVersion: 1.0\n")
    for name in ("INSTALLER", "REQUESTED", "RECORD.jws"):
        (info / name).write_bytes(b"pip\n")
    rows = [
        row("lib/__init__.py", b"A = 1\n"),
        row("./hook.pth", b"import lib\n"),
        row("lib-1.0.dist-info/METADATA", b"Name: lib\nVersion: 1.0\n"),
        row("../../../bin/lib-tool", b"#!"),
        "lib-1.0.dist-info/RECORD,,",
    ]
    (info / "RECORD").write_text("\n".join(rows) + "\n")
    (tmp_path / "env/pyvenv.cfg").write_text("version = 3.13.5\n")
    return folder


def names(site: Path) -> list[str]:
    return [path.removeprefix(f"{site}/") for path in strays.find([site])]


def test_an_honest_installation_has_none(site: Path) -> None:
    (site / "_virtualenv.py").write_bytes(b"...")
    (site / "_virtualenv.pth").write_bytes(b"import _virtualenv")
    (site / "~ib").mkdir()
    (site / "~ib/old.py").write_bytes(b"")
    assert names(site) == []


@pytest.mark.parametrize("tool", ["venv", "uv"])
def test_a_new_environment_has_none(tmp_path: Path, tool: str) -> None:
    if tool == "venv":
        venv(tmp_path / "env")
    else:
        uv("venv", "--python", "/usr/bin/python3", str(tmp_path / "env"), "--cache-dir", str(tmp_path / "c"))
    (found,) = python_inventory.environments(Owned(), tmp_path / "env")
    assert found["strays"] == []


@pytest.mark.parametrize(
    "path",
    [
        "evil.py",
        "evil.pth",
        "_virtualenv.pth",
        "lib/evil.so",
        "lib/evil.pyc",
        "more/_virtualenv.py",
        "lib-1.0.dist-info/evil.py",
        "lib/lib-1.0.dist-info/INSTALLER",
        "~evil.pth",
    ],
)
def test_every_other_file_is_one(site: Path, path: str) -> None:
    (site / path).parent.mkdir(exist_ok=True)
    (site / path).write_bytes(b"import os\n")
    assert names(site) == [path]


def test_a_row_without_a_hash_covers_nothing(site: Path) -> None:
    """Such a row is in no RECORD's digest: a script can add it unseen."""
    with (site / "lib-1.0.dist-info/RECORD").open("a") as file:
        file.write("evil.py,,\n")
    (site / "evil.py").write_bytes(b"")
    assert names(site) == ["evil.py"]


@pytest.mark.parametrize("row", ["lib/../evil.py", "../{site}/evil.py", "{place}/evil.py"])
def test_a_row_that_leads_out_of_the_site_covers_nothing(site: Path, row: str) -> None:
    """Nor is it in a digest, wherever it leads in the end."""
    with (site / "lib-1.0.dist-info/RECORD").open("a") as file:
        file.write(row.format(site=site.name, place=site) + ",sha256=x,\n")
    (site / "evil.py").write_bytes(b"")
    assert names(site) == ["evil.py"]


def test_a_link_to_a_folder_is_one_and_is_not_followed(site: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.py").write_bytes(b"")
    (site / "evil").symlink_to(tmp_path / "elsewhere")
    assert names(site) == ["evil"]


def test_without_a_readable_record_nothing_is_covered(site: Path) -> None:
    (site / "lib-1.0.dist-info/RECORD").write_bytes(b"\xff")
    assert names(site) == ["hook.pth", "lib-1.0.dist-info/METADATA", "lib/__init__.py"]


def test_a_name_that_a_terminal_would_obey(site: Path) -> None:
    (site / "\x1b[31mé.py").write_bytes(b"")
    assert names(site) == ["\\x1b[31m\\xe9.py"]


def test_only_what_the_install_brought_is_reported_and_not_without_end(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dpkg_inventory, "release", dict)
    (site / "base.py").write_bytes(b"")
    before = python_inventory.environments(Owned(), tmp_path)
    for number in range(100):
        (site / f"evil{number:03}.py").write_bytes(b"")
    after = python_inventory.environments(Owned(), tmp_path)
    claim = inventory.claim("small", Snapshot([], before), Snapshot([], after), tmp_path / "none")
    (found,) = claim["environments"]
    assert len(found["strays"]) == strays.MOST
    assert found["strays"][0] == f"{site}/evil000.py"
