"""Every Python environment on this machine and the distributions in it, apart, each held to its own RECORD.

https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from shared.guest import intact, process, python_tree, strays
from shared.guest.dpkg_inventory import Owned

Entry = dict[str, Any]

_NOT_ON_DISK = {"/proc", "/sys", "/dev", "/run"}
_SITE = {"site-packages", "dist-packages"}
_VERSION = re.compile(r"3\.[0-9]{1,2}\.[0-9]{1,2}(?:(?:a|b|rc)[0-9]+)?")
_MAX_METADATA = 4 << 20


def environments(owned: Owned, root: Path = Path("/")) -> list[Entry]:
    """All environments below `root`, sorted by path; site directories without a distribution are left out.

    Where both dpkg's packages and others lie in one place, the place stands there twice, `managed_by_dpkg` or not:
    what pip put into a directory of dpkg's is judged as pip's, and the pip that Debian's venv module copied into a
    virtual environment as Debian's.
    """
    prefixes, sites = _find(root)
    found = []
    for prefix in prefixes:
        mine = [site for site in sites if site.is_relative_to(prefix)]
        sites = [site for site in sites if site not in mine]
        packages = [_distribution(path) for site in mine for path in _metadata_paths(site)]
        copied = [each for each in packages if each["record"] in owned.wheels]
        version = _cfg_version(prefix)
        rest = [each for each in packages if each not in copied]
        found.append(_environment(prefix, version, True, False, rest) | {"strays": strays.find(mine)})
        if copied:
            found.append(_environment(prefix, version, True, True, copied))
    for site in sites:
        paths = list(_metadata_paths(site))
        theirs = [path for path in paths if _is_owned(path, owned)]
        for managed, some in ((True, theirs), (False, [path for path in paths if path not in theirs])):
            if some:
                packages = [_distribution(path) for path in some]
                found.append(_environment(site, _site_version(site), False, managed, packages))
    found = python_tree.complete(found)
    return sorted(found, key=lambda each: (each["path"], each["managed_by_dpkg"]))


def _environment(path: Path, version: str, virtual: bool, managed: bool, packages: Iterable[Entry]) -> Entry:
    return {
        "path": str(path),
        "python": version,
        "virtual": virtual,
        "managed_by_dpkg": managed,
        "strays": [],
        "packages": sorted(packages, key=lambda each: (each["name"].lower(), each["version"])),
    }


def _find(root: Path) -> tuple[list[Path], list[Path]]:
    """(prefixes of virtual environments, the innermost first; site directories) of the real file system."""
    prefixes, sites = [], []
    for folder, folders, files in os.walk(root, followlinks=False):
        folders[:] = sorted(
            name
            for name in folders
            if os.path.join(folder, name) not in _NOT_ON_DISK and name not in {"__pycache__", ".git"}  # noqa: PTH118
        )
        if "pyvenv.cfg" in files:
            prefixes.append(Path(folder))
        if os.path.basename(folder) in _SITE:  # noqa: PTH119 - half a million folders: Path is too slow
            sites.append(Path(folder))
    return sorted(prefixes, key=lambda path: -len(path.parts)), sites


def _cfg_version(prefix: Path) -> str:
    """The interpreter's version by pyvenv.cfg: `version` (venv) or `version_info` (uv, virtualenv)."""
    text = (prefix / "pyvenv.cfg").read_text("utf-8", "replace")
    for line in text.splitlines():
        key, _, value = line.partition("=")
        match = _VERSION.search(value)
        if key.strip() in ("version", "version_info") and match:
            return match.group()
    return _ask(prefix / "bin" / "python")


def _site_version(site: Path) -> str:
    """The version of the interpreter that a site directory belongs to."""
    name = site.parent.name
    for interpreter in (site.parent.parent.parent / "bin" / name, Path("/usr/bin") / name):
        if interpreter.exists():
            return _ask(interpreter)
    match = re.fullmatch(r"python(3\.[0-9]+)", name)
    return f"{match.group(1)}.0" if match else "3.0.0"


def _ask(interpreter: Path) -> str:
    code = "import platform; print(platform.python_version())"
    try:
        done = subprocess.run(
            [str(interpreter), "-I", "-S", "-c", code],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=dict(process.BASE),
        )
    except (OSError, subprocess.TimeoutExpired):
        return "3.0.0"
    match = _VERSION.search(done.stdout)
    return match.group() if match else "3.0.0"


def _metadata_paths(site: Path) -> Iterator[Path]:
    for path in sorted(site.iterdir()):
        if path.name.startswith("~"):
            continue  # pip's leftovers of an interrupted uninstall
        if path.suffix == ".dist-info" or path.suffix == ".egg-info":
            yield path
        elif path.suffix == ".egg" and path.is_dir() and (path / "EGG-INFO").is_dir():
            yield path / "EGG-INFO"


def _distribution(path: Path) -> Entry:
    """One distribution by its dist-info or egg-info."""
    text = _read(
        path / ("METADATA" if path.suffix == ".dist-info" else "PKG-INFO") if path.is_dir() else path
    )
    metadata = HeaderParser().parsestr(text)
    wheel = HeaderParser().parsestr(_read(path / "WHEEL"))
    direct = _direct_url(path / "direct_url.json")
    # An editable install runs from a folder that no RECORD covers; an egg-info has none at all.
    proven = path.suffix == ".dist-info" and not (direct or {}).pop("editable", False)
    stem = path.name[: -len(path.suffix)].split("-")
    return {
        "name": str(metadata.get("Name") or stem[0]).strip(),
        "version": str(metadata.get("Version") or (stem[1] if len(stem) > 1 else "0")).strip(),
        "tags": sorted({str(tag).strip() for tag in wheel.get_all("Tag", [])}),
        "build": str(wheel.get("Build") or "").strip(),
        "record": intact.record_digest(path) if proven else None,
        "direct_url": direct,
        "requested": (path / "REQUESTED").is_file(),
        "requires": [" ".join(str(each).split()) for each in metadata.get_all("Requires-Dist", [])],
    }


def _direct_url(path: Path) -> Entry | None:
    """direct_url.json, reduced to the URL and a hash; a revision is joined to the URL as pip writes it."""
    text = _read(path)
    if not text:
        return None
    try:
        content = json.loads(text)
        url = str(content["url"])
    except (ValueError, KeyError, TypeError):
        return {"url": "unreadable", "sha256": None}
    archive, vcs = content.get("archive_info") or {}, content.get("vcs_info") or {}
    plain = str(archive.get("hash") or "").partition("sha256=")[2]
    digest = (archive.get("hashes") or {}).get("sha256") or plain
    if vcs:
        url = f"{vcs.get('vcs')}+{url}@{vcs.get('commit_id')}"
    reduced: Entry = {"url": url[:2000], "sha256": f"sha256:{digest}" if digest else None}
    if (content.get("dir_info") or {}).get("editable"):
        reduced["editable"] = True
    return reduced


def _is_owned(path: Path, owned: Owned) -> bool:
    inside = path / "METADATA" if path.suffix == ".dist-info" else path / "PKG-INFO"
    return str(inside if path.is_dir() else path) in owned.metadata


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_METADATA).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""
