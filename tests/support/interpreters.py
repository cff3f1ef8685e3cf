"""A Python to take along, as python-build-standalone makes them: `python/bin/python3` and what it needs, in a tar.

Made of an interpreter of this machine. CPython finds its library by where its binary lies
(https://docs.python.org/3/using/cmdline.html#envvar-PYTHONHOME), so a copy of both runs anywhere that has its shared
libraries.
"""

from __future__ import annotations

import functools
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.model.value import Digest, sha256

_ASK = """
import json, os, platform, sys, sysconfig
print(json.dumps({
    "python": os.path.realpath(sys.executable),
    "version": platform.python_version(),
    "stdlib": sysconfig.get_path("stdlib"),
}))
"""
_LEFT_OUT = {
    "__pycache__",
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
}
_LEFT_OUT |= {"lib2to3", "pydoc_data", "sitecustomize.py", "EXTERNALLY-MANAGED"}
_SYSCONFIG = ("/sysconfig.py", "/sysconfig/__init__.py")
_DEBIAN, _UPSTREAM = b"prefix_scheme = 'posix_local'", b"prefix_scheme = 'posix_prefix'"
"""Where pip installs to: Debian has changed it. Its site.py, which is part of the binary, looks in dist-packages."""
_WHEELS = ("/usr/share/python-wheels", "{stdlib}/ensurepip/_bundled")


@dataclass(frozen=True)
class Made:
    content: bytes
    version: str
    """Full version, like 3.11.7."""
    pip: str
    """Version of the pip in its site-packages."""

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])

    @property
    def sha256(self) -> Digest:
        return sha256(self.content)


@functools.cache
def made() -> Made:
    """Of this test's own interpreter, or of the system's where that one needs a libpython beside it."""
    for python in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3"):
        done = subprocess.run([python, "-I", "-c", _ASK], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        if "libpython" not in subprocess.run(["ldd", found["python"]], capture_output=True, text=True).stdout:
            return _made(found)
    raise AssertionError(
        "Every Python here needs its libpython: install Debian's python3, whose binary stands alone."
    )


def _made(found: Mapping[str, str]) -> Made:
    minor = ".".join(found["version"].split(".")[:2])
    stdlib = Path(found["stdlib"])
    places = [Path(each.format(stdlib=stdlib)) for each in _WHEELS]
    wheel = [path for place in places for path in sorted(place.glob("pip-*.whl"))][-1]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1, dereference=True) as tar:
        tar.add(found["python"], f"python/bin/python{minor}")
        link(tar, "python/bin/python3", f"python{minor}")
        lib = f"python/lib/python{minor}"
        tar.add(stdlib, lib, filter=_kept)
        for name in _SYSCONFIG:
            if (path := stdlib / name[1:]).is_file():
                file(tar, f"{lib}{name}", path.read_bytes().replace(_DEBIAN, _UPSTREAM))
        link(tar, f"{lib}/dist-packages", "site-packages")
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                file(tar, f"{lib}/site-packages/{name}", archive.read(name))
    return Made(buffer.getvalue(), found["version"], wheel.name.split("-")[1])


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = member.name.rpartition("/")[2]
    if member.name.endswith(_SYSCONFIG) or name in _LEFT_OUT or name.startswith("config-"):
        return None
    return member


def file(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), mode, 1_700_000_000
    tar.addfile(member, io.BytesIO(content))


def link(tar: tarfile.TarFile, name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    tar.addfile(member)
