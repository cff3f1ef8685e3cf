"""The inner install: exactly the lock, by hash, with a real pip and uv in real environments."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

from shared.guest import locked_apt, locked_python, process, python_inventory
from shared.guest.dpkg_inventory import Owned
from shared.guest.failure import GuestError
from shared.guest.locked_python import Installer
from tests.guest.parts import sdist, sha256, source_tree, wheel, wheel_record

Entry = dict[str, Any]


def _locked(path: Path, version: str = "1.0", **changes: Any) -> Entry:
    name = path.name.partition("-")[0]
    record = wheel_record(path) if path.suffix == ".whl" else None
    entry = {
        "name": name,
        "version": version,
        "filename": path.name,
        "sha256": sha256(path),
        "record": record,
    }
    return entry | {"build": []} | changes


def _environment(prefix: Path, *packages: Entry, virtual: bool = True) -> Entry:
    version = process.output(
        ["/usr/bin/python3", "-c", "import platform; print(platform.python_version())"]
    ).strip()
    return {"path": str(prefix), "python": version, "virtual": virtual, "packages": list(packages)}


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(locked_python, "SCRATCH", tmp_path / "scratch")
    monkeypatch.setattr(locked_python, "WHEELS", tmp_path / "scratch/wheels")
    folder = tmp_path / "shelf"
    folder.mkdir()
    return folder


def _installer(shelf: Path, lines: list[str]) -> Installer:
    """Instead of an index a folder: what is tried here is what happens with its files."""
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(shelf)}
    return Installer(dict(process.BASE) | offline, lines.append)


def _installed(prefix: Path) -> dict[str, Entry]:
    found = [each for each in python_inventory.environments(Owned(), prefix) if each["path"] == str(prefix)]
    return {each["name"]: each for each in found[0]["packages"]}


def test_an_environment_is_made_of_the_lock_alone(tmp_path: Path, shelf: Path) -> None:
    alpha, beta = wheel(shelf, "alpha", "1.0", requires="beta"), wheel(shelf, "beta", "1.0")
    wheel(shelf, "beta", "2.0")
    lines: list[str] = []
    locked = _environment(tmp_path / "env", _locked(alpha), _locked(beta))
    installer = _installer(shelf, lines)
    assert installer.install(locked, []) == 2, lines
    installer.clean()
    found = _installed(tmp_path / "env")
    assert {name: each["version"] for name, each in found.items()} == {"alpha": "1.0", "beta": "1.0"}
    assert found["alpha"]["record"] == wheel_record(alpha)
    assert not locked_python.SCRATCH.exists()


def test_other_bytes_under_the_same_name_are_refused(tmp_path: Path, shelf: Path) -> None:
    locked = _locked(wheel(shelf, "beta", "1.0"))
    wheel(shelf, "beta", "1.0", body="ANSWER = 43\n")
    lines: list[str] = []
    with pytest.raises(GuestError, match="ended with exit code 1"):
        _installer(shelf, lines).install(_environment(tmp_path / "env", locked), [])
    assert any("DO NOT MATCH" in line for line in lines)
    assert _installed(tmp_path / "env") == {}


def test_a_source_distribution_is_built_with_its_locked_needs(tmp_path: Path, shelf: Path) -> None:
    source, need = sdist(shelf, "gamma"), wheel(shelf, "beta", "1.0")
    locked = _locked(source, build=[_locked(need)])
    installer = _installer(shelf, [])
    assert installer.install(_environment(tmp_path / "env", locked), []) == 1
    found = _installed(tmp_path / "env")
    assert set(found) == {"gamma"}
    assert found["gamma"]["direct_url"] is None
    bad = _locked(source, build=[_locked(need, sha256="sha256:" + "0" * 64)])
    with pytest.raises(GuestError):
        _installer(shelf, []).install(_environment(tmp_path / "other", bad), [])


def test_a_build_gets_nothing_that_the_lock_does_not_give_it(tmp_path: Path, shelf: Path) -> None:
    """The repository may hold what it asks for, for another workload, or a newer one than was judged."""
    need, tree, source = wheel(shelf, "beta", "1.0"), source_tree(shelf, "gamma"), shelf / "gamma-1.0.tar.gz"
    backend = (tree / "backend.py").read_text()
    (tree / "backend.py").write_text(f"import beta\nassert beta.ANSWER == 42\n{backend}")
    with tarfile.open(source, "w:gz") as archive:
        archive.add(tree, arcname=tree.name)
    lines: list[str] = []
    with pytest.raises(GuestError, match="ended with exit code"):
        _installer(shelf, lines).install(_environment(tmp_path / "env", _locked(source, build=[])), [])
    assert any("No module named 'beta'" in line for line in lines), lines
    assert _installed(tmp_path / "env") == {}
    wheel(shelf, "beta", "2.0", body="ANSWER = 43\n")
    locked = _locked(source, build=[_locked(need)])
    assert _installer(shelf, []).install(_environment(tmp_path / "other", locked), []) == 1
    assert set(_installed(tmp_path / "other")) == {"gamma"}


def test_only_what_differs_is_installed_over_the_base_image(tmp_path: Path, shelf: Path) -> None:
    one, two = wheel(shelf, "alpha", "1.0"), wheel(shelf, "beta", "1.0")
    prefix = tmp_path / "env"
    _installer(shelf, []).install(_environment(prefix, _locked(one), _locked(two)), [])
    newer = wheel(shelf, "beta", "2.0")
    lock = _environment(prefix, _locked(one), _locked(newer, "2.0"))
    present = list(_installed(prefix).values())
    assert _installer(shelf, []).install(lock, present) == 1
    assert {name: each["version"] for name, each in _installed(prefix).items()} == {
        "alpha": "1.0",
        "beta": "2.0",
    }
    assert _installer(shelf, []).install(lock, list(_installed(prefix).values())) == 0


def test_the_same_version_with_other_bytes_differs() -> None:
    lock = {"name": "beta", "version": "1.0", "record": "sha256:1"}
    assert locked_python.differing([lock], [{"name": "Beta", "version": "1.0", "record": "sha256:1"}]) == []
    for record in ("sha256:2", None):
        assert locked_python.differing([lock], [{"name": "beta", "version": "1.0", "record": record}]) == [
            lock
        ]


def test_pins_and_overrides() -> None:
    environments = [
        {"packages": [{"name": "six", "version": "1"}, {"name": "jinja2", "version": "3.1.6"}]},
        {"packages": [{"name": "six", "version": "2"}, {"name": "jinja2", "version": "3.1.6"}]},
    ]
    pins = locked_python.pins(environments)
    assert pins == ["jinja2==3.1.6"]
    declared = ['pytype ; python_version < "3.13"', "Jinja2<3"]
    assert locked_python.overrides(declared, pins) == ['pytype ; python_version < "3.13"', "jinja2==3.1.6"]


def test_an_interpreter_that_is_not_there_is_named() -> None:
    with pytest.raises(GuestError, match=r"needs Python 3\.7\.1"):
        locked_python.find_interpreter("3.7.1")


_DEB = {"name": "jq", "version": "1:1.7-1", "architecture": "amd64", "sha256": "sha256:1"}
_KEY = ("jq", "1:1.7-1", "amd64")


def test_archives_are_held_to_the_lock() -> None:
    locked_apt.compare([_DEB], {_KEY: "sha256:1"})
    with pytest.raises(GuestError, match="did not give the locked archive jq"):
        locked_apt.compare([_DEB], {})
    with pytest.raises(GuestError, match="not installed"):
        locked_apt.compare([_DEB], {_KEY: "sha256:2"})
    with pytest.raises(GuestError, match="downloaded tree, which is not in the lock"):
        locked_apt.compare([_DEB], {_KEY: "sha256:1", ("tree", "2", "amd64"): "sha256:3"})
