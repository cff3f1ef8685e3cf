"""The tree of a workload's own interpreter: what is installed on top is new, and whatever else lies there a stray."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.guest import (
    inventory,
    process,
    python_tree,
)
from tests.guest.interpreting import MADE, SITE, Entry, own, taken
from tests.guest.parts import wheel, wheel_record


def pip(*arguments: str, python: Path | None = None) -> None:
    command = [str(python or python_tree.ROOT / "bin/python3"), "-I", "-m", "pip", *arguments]
    environment = dict(process.BASE) | {"PIP_CONFIG_FILE": "/dev/null", "PIP_ROOT_USER_ACTION": "ignore"}
    subprocess.run(command, check=True, capture_output=True, env=environment)


def claimed(machine: Path, before: list[Entry]) -> Entry:
    """What the claim says of the interpreter's environment."""
    snapshots = [inventory.Snapshot([], each) for each in (before, taken(machine))]
    path = str(python_tree.ROOT / SITE)
    claim = inventory.claim("small", *snapshots, fetched=machine / "none")
    (entry,) = [each for each in claim["environments"] if each["path"] == path]
    return entry


def test_what_is_installed_on_top_is_new_and_what_came_along_is_not(there: Path) -> None:
    before = taken(there)
    alpha = wheel(there, "alpha", "1.0")
    pip("install", "--no-index", str(alpha))
    entry = claimed(there, before)
    found = {each["name"]: (each["in_base"], each["record"]) for each in entry["packages"]}
    assert found["alpha"] == (False, wheel_record(alpha))
    assert found["pip"][0] is True
    assert entry["strays"] == []


def test_another_pip_in_its_place_is_new_and_leaves_no_strays(there: Path) -> None:
    before = taken(there)
    other = wheel(there, "pip", "99.0")
    pip("install", "--no-index", str(other))
    entry = claimed(there, before)
    assert [(each["name"], each["version"], each["in_base"]) for each in entry["packages"]] == [
        ("pip", "99.0", False)
    ]
    assert entry["strays"] == []


def test_running_it_and_making_environments_leaves_no_strays(there: Path) -> None:
    before = taken(there)
    python = python_tree.ROOT / "bin/python3"
    subprocess.run([str(python), "-c", "import json, decimal, ssl"], check=True)
    subprocess.run([str(python), "-m", "venv", "--without-pip", str(there / "env")], check=True)
    (made,) = [each for each in taken(there) if each["path"] == str(there / "env")]
    assert (made["virtual"], made["python"]) == (True, MADE.version)
    assert claimed(there, before)["strays"] == []


STRAYS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a module beside pip": (f"{SITE}/evil.py", Path.touch),
    "a .pth": (f"{SITE}/evil.pth", lambda path: path.write_text("import os\n")),
    "one with virtualenv's name": (f"{SITE}/_virtualenv.py", lambda path: path.write_text("evil()\n")),
    "a module in the library": (f"lib/python{MADE.minor}/sitecustomize.py", Path.touch),
    "a changed module": (f"lib/python{MADE.minor}/json/__init__.py", lambda path: path.write_text("")),
    "a changed program": (f"bin/python{MADE.minor}", lambda path: (path.unlink(), path.write_text(""))),
    "a link elsewhere": ("lib/more", lambda path: path.symlink_to("/tmp")),
    "a link led elsewhere": ("bin/python3", lambda path: (path.unlink(), path.symlink_to("/bin/sh"))),
    "a library": ("lib/libevil.so", Path.touch),
    "a pipe": ("lib/pipe", os.mkfifo),
    "a file that looks like an installer's": (f"{SITE}/pip/INSTALLER", Path.touch),
}


def test_whatever_else_lies_in_it_is_a_stray(there: Path) -> None:
    before, wanted = taken(there), set[str]()
    for name, (path, act) in STRAYS.items():
        act(python_tree.ROOT / path)
        wanted.add(str(python_tree.ROOT / path))
        assert claimed(there, before)["strays"] == sorted(wanted), name


@pytest.mark.parametrize(
    ("path", "covered"),
    [
        ("bin/tool", True),
        ("share/man/tool.1", True),
        ("bin/python3", False),
        (f"lib/python{MADE.minor}/sitecustomize.py", False),
        (f"{SITE}/evil.py", False),
    ],
)
def test_a_record_covers_nothing_that_is_imported_from_elsewhere(
    there: Path, path: str, covered: bool
) -> None:
    """Rows that lead out of the site directory are in no digest: whoever adds one is not seen by that."""
    before, file = taken(there), python_tree.ROOT / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.write_bytes(content := b"#!/bin/sh\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    (dist_info,) = (python_tree.ROOT / SITE).glob("pip-*.dist-info")
    with (dist_info / "RECORD").open("a") as record:
        record.write(f"../../../{path},sha256={digest},{len(content)}\n")
    entry = claimed(there, before)
    assert entry["strays"] == ([] if covered else [str(file)])
    assert entry["packages"][0]["in_base"] is True


def test_a_changed_file_of_a_package_is_not_the_packages(there: Path) -> None:
    before = taken(there)
    (python_tree.ROOT / SITE / "pip/__init__.py").write_text("evil()\n")
    (entry,) = claimed(there, before)["packages"]
    assert (entry["in_base"], entry["record"]) == (False, None)


def test_without_packages_it_is_looked_through_all_the_same(there: Path) -> None:
    shutil.rmtree(python_tree.ROOT / SITE)
    (python_tree.ROOT / "lib/evil.so").touch()
    entry = own(there)
    assert (entry["packages"], entry["strays"]) == ([], [str(python_tree.ROOT / "lib/evil.so")])
