"""The inventory over real environments: pip's and uv's, wheels and sources, honest and tampered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.guest import python_inventory
from shared.guest.dpkg_inventory import Owned, owned
from tests.guest.parts import sdist, sha256, source_tree, uv, venv, wheel, wheel_record

Entry = dict[str, Any]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    wheel(folder, "alpha", "1.2", requires="beta>=1")
    wheel(folder, "beta", "1.0")
    sdist(folder, "gamma")
    return folder


def _pip(python: Path, *arguments: str) -> None:
    """Install with this project's pip into another environment: making one with a pip of its own takes seconds."""
    command = [sys.executable, "-m", "pip", "--isolated", "--python", str(python), "install", "--no-index"]
    subprocess.run([*command, "--no-build-isolation", *arguments], check=True, capture_output=True)


def _packages(found: list[Entry], managed: bool = False) -> dict[str, Entry]:
    (entry,) = [each for each in found if each["managed_by_dpkg"] is managed]
    return {each["name"]: each for each in entry["packages"]}


def test_wheels_by_pip(tmp_path: Path, shelf: Path) -> None:
    python = venv(tmp_path / "env", "--without-pip")
    _pip(python, "--find-links", str(shelf), "alpha")
    found = python_inventory.environments(Owned(), tmp_path)
    assert [each["path"] for each in found] == [str(tmp_path / "env")]
    said = subprocess.run([str(python), "--version"], capture_output=True, text=True, check=True).stdout
    assert said.split()[1] == found[0]["python"]
    assert found[0]["virtual"] is True
    packages = _packages(found)
    assert packages["alpha"] == {
        "name": "alpha",
        "version": "1.2",
        "tags": ["py2-none-any", "py3-none-any"],
        "build": "",
        "record": wheel_record(shelf / "alpha-1.2-py2.py3-none-any.whl"),
        "direct_url": None,
        "requested": True,
        "requires": ["beta>=1"],
    }
    assert packages["beta"]["requested"] is False


def test_wheels_by_uv_have_the_same_record(tmp_path: Path, shelf: Path) -> None:
    prefix = tmp_path / "env"
    cache = ("--cache-dir", str(tmp_path / "cache"), "--offline")
    uv("venv", "--python", "/usr/bin/python3", str(prefix), *cache)
    uv("pip", "install", "--no-index", "--find-links", str(shelf), "--python", str(prefix), "alpha", *cache)
    (found,) = [
        each for each in python_inventory.environments(Owned(), tmp_path) if each["path"] == str(prefix)
    ]
    packages = _packages([found])
    assert set(packages) == {"alpha", "beta"}
    assert packages["alpha"]["record"] == wheel_record(shelf / "alpha-1.2-py2.py3-none-any.whl")
    assert found["python"].startswith("3.")


def test_a_source_distribution_has_the_record_of_what_it_built(tmp_path: Path, shelf: Path) -> None:
    python = venv(tmp_path / "env", "--without-pip")
    _pip(python, "--find-links", str(shelf), "gamma")
    gamma = _packages(python_inventory.environments(Owned(), tmp_path))["gamma"]
    assert gamma["record"] is not None
    assert gamma["tags"] == ["py3-none-any"]


def test_direct_urls_are_told(tmp_path: Path, shelf: Path) -> None:
    python = venv(tmp_path / "env")
    path = shelf / "beta-1.0-py2.py3-none-any.whl"
    _pip(python, f"{path.as_uri()}#{sha256(path).replace(':', '=')}")
    beta = _packages(python_inventory.environments(Owned(), tmp_path))["beta"]
    assert beta["direct_url"] == {"url": path.as_uri(), "sha256": sha256(path)}


def test_an_editable_install_is_never_proven(tmp_path: Path) -> None:
    python = venv(tmp_path / "env", "--without-pip")
    _pip(python, "--editable", str(source_tree(tmp_path, "delta")))
    delta = _packages(python_inventory.environments(Owned(), tmp_path / "env"))["delta"]
    assert delta["record"] is None
    assert delta["direct_url"] == {"url": (tmp_path / "delta-1.0").as_uri(), "sha256": None}


@pytest.mark.parametrize("harm", ["changed", "grown", "deleted", "script changed", "no RECORD"])
def test_a_modified_install_does_not_pass_as_the_wheels(tmp_path: Path, shelf: Path, harm: str) -> None:
    python = venv(tmp_path / "env", "--without-pip")
    _pip(python, "--find-links", str(shelf), "beta")
    (module,) = (tmp_path / "env").glob("lib/python3*/site-packages/beta.py")
    assert _packages(python_inventory.environments(Owned(), tmp_path))["beta"]["record"]
    if harm == "changed":
        module.write_text("ANSWER = 43\n")  # same size
    elif harm == "grown":
        module.write_text(module.read_text() + "import os\n")
    elif harm == "deleted":
        module.unlink()
    elif harm == "script changed":
        (tmp_path / "env/bin/beta-tool").write_text("#!/bin/sh\n")
    else:
        (module.parent / "beta-1.0.dist-info/RECORD").unlink()
    assert _packages(python_inventory.environments(Owned(), tmp_path))["beta"]["record"] is None


def test_an_egg_info_is_told_without_proof(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.10/site-packages"
    (site / "old-2.1.egg-info").mkdir(parents=True)
    (site / "old-2.1.egg-info/PKG-INFO").write_text("Metadata-Version: 1.1\nName: Old\nVersion: 2.1\n")
    (site / "flat-0.3.egg-info").write_text("Metadata-Version: 1.1\nName: flat\nVersion: 0.3\n")
    (found,) = python_inventory.environments(Owned(), tmp_path)
    assert (found["path"], found["virtual"]) == (str(site), False)
    assert found["python"].startswith("3.10.")
    assert [(each["name"], each["version"], each["record"]) for each in found["packages"]] == [
        ("flat", "0.3", None),
        ("Old", "2.1", None),
    ]


def test_what_pip_put_beside_dpkgs_packages_is_told_apart(tmp_path: Path, shelf: Path) -> None:
    python = venv(tmp_path / "env")
    site = tmp_path / "usr/lib/python3/dist-packages"
    _pip(python, "--find-links", str(shelf), "--target", str(site), "--no-deps", "alpha", "beta")
    mine = Owned(metadata=frozenset({str(site / "alpha-1.2.dist-info/METADATA")}))
    found = [each for each in python_inventory.environments(mine, tmp_path / "usr") if not each["virtual"]]
    assert [each["path"] for each in found] == [str(site), str(site)]
    assert set(_packages(found, managed=True)) == {"alpha"}
    assert set(_packages(found, managed=False)) == {"beta"}


def test_the_pip_that_debian_copies_into_an_environment_is_debians(tmp_path: Path) -> None:
    venv(tmp_path / "env")
    found = python_inventory.environments(owned(), tmp_path)
    assert "pip" in _packages(found, managed=True)
    assert "pip" not in _packages(found, managed=False)


def test_links_are_not_followed(tmp_path: Path, shelf: Path) -> None:
    site = tmp_path / "real/lib/python3.11/site-packages"
    (site / "x-1.dist-info").mkdir(parents=True)
    (site / "x-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "copy").symlink_to(tmp_path / "real")
    assert [each["path"] for each in python_inventory.environments(Owned(), tmp_path)] == [str(site)]
