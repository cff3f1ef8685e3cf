"""The same image from other interpreters: other minor versions, and another build of the same one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.image.kit.test_variations import environment, leaking
from tests.image.kit.world import ROOT, Build

_NEEDED = (
    "pydantic",
    "zstandard",
    "msgspec",
    "orjson",
    "PyYAML",
    "httpx",
    "packaging",
    "cryptography",
    "cloudevents",
)
MINORS = ("3.11", "3.12", "3.13", "3.14")


def interpreter(minor: str) -> str:
    """The path of that Python, empty if it is not here or a shim that leads nowhere."""
    candidates = [shutil.which(f"python{minor}")]
    candidates += [str(path) for path in sorted(Path.home().glob(f".pyenv/versions/{minor}.*/bin/python"))]
    for found in filter(None, candidates):
        asked = subprocess.run([found, "-c", "import ensurepip, ssl"], capture_output=True, check=False)
        if asked.returncode == 0:
            return str(found)
    return ""


@pytest.mark.network
@pytest.mark.parametrize("minor", MINORS)
def test_another_python(minor: str, plain: Build, expected: str, tmp_path: Path) -> None:
    """With the pinned dependencies, as `./dmz` installs them, in an environment of its own."""
    found = interpreter(minor)
    if not found:
        pytest.skip(f"there is no Python {minor} on this machine")
    if sys.version_info[:2] == tuple(map(int, minor.split("."))):
        pytest.skip("this is the Python that all the other tests run on")
    place = tmp_path / "venv"
    subprocess.run([found, "-m", "venv", str(place)], check=True)
    python = str(place / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    pinned = re.findall(r"^[A-Za-z0-9._-]+==[^ ;\\]+", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    (tmp_path / "pinned").write_text("\n".join(pinned))
    subprocess.run([*pip, "-c", str(tmp_path / "pinned"), *_NEEDED], check=True)
    varied = replace(plain, python=python)
    assert varied.run() == expected
    assert leaking(varied, "python").run() != leaking(plain, "python").run()


def test_another_build_of_this_python(plain: Build, expected: str) -> None:
    """Debian's, linked against Debian's zlib, with this environment's packages."""
    system = Path("/usr/bin") / f"python3.{sys.version_info[1]}"
    if not system.exists() or system.samefile(sys.executable):
        pytest.skip("there is no second build of this Python")
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    varied = environment(
        replace(plain, python=str(system)), PYTHONPATH=f"{plain.root}:{packages}", PYTHONNOUSERSITE="1"
    )
    assert varied.run() == expected
    assert leaking(varied, "python").run() != leaking(plain, "python").run()
