"""Real wheels of every kind come to the same files that pip installs: scripts, entry points, headers, native code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared.guest.record import INSTALLER_FILES
from shared.image import wheel_install
from shared.image.python_paths import Paths
from tests.image.python.support import RUNFILES, Files, content, shown

pytestmark = pytest.mark.network
WHEELS = ("jmespath==1.0.1", "pygments==2.19.2", "greenlet==3.2.4")


def test_the_same_files_as_pip(tmp_path: Path) -> None:
    wheels, prefix, cache = tmp_path / "wheels", tmp_path / "prefix", tmp_path / "cache"
    cache.mkdir()
    quiet = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    only = ["--no-deps", "--only-binary=:all:"]
    subprocess.run([*quiet, "download", *only, "-d", wheels, *WHEELS], check=True)
    found = sorted(wheels.glob("*.whl"))
    subprocess.run(
        [
            *quiet,
            "install",
            *only,
            "--no-index",
            "--no-compile",
            "--ignore-installed",
            "--prefix",
            prefix,
            *found,
        ],
        check=True,
        capture_output=True,
    )
    files = Files(cache)
    for path in found:
        files.add("wheel", path.name.split("-")[0], path.name, path.read_bytes())
    paths = Paths("demo_service", tuple(each.name for each in files.inputs))
    tree = wheel_install.packages_tree(files.inputs, files.get(), paths)
    ours = {place.split("/", 3)[3]: content(tree.get(place)) for place in shown(tree)}
    theirs = {
        str(path.relative_to(prefix)): path.read_bytes() for path in prefix.rglob("*") if path.is_file()
    }

    [site] = {name.partition("/site-packages/")[0] for name in theirs if "/site-packages/" in name}
    common = {
        name.removeprefix(f"{site}/"): data
        for name, data in theirs.items()
        if name.startswith(f"{site}/") and not _installers(name)
    }
    assert common == {n: d for n, d in ours.items() if n.startswith("site-packages/") and not _installers(n)}
    scripts = {name for name in theirs if name.startswith("bin/")}
    assert scripts == {name for name in ours if name.startswith("bin/")} == {"bin/jp.py", "bin/pygmentize"}
    headers = {name.rpartition("/")[2]: data for name, data in theirs.items() if name.startswith("include/")}
    assert headers == {n.rpartition("/")[2]: d for n, d in ours.items() if n.startswith("include/")}
    assert headers
    assert all(f"{RUNFILES}/pypi_{each.name}" in "".join(shown(tree)) for each in files.inputs)


def _installers(name: str) -> bool:
    parent, _, last = name.rpartition("/")
    return parent.endswith(".dist-info") and last in INSTALLER_FILES
