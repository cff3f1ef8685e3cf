"""Makes popular.txt and known.txt: names of Python projects that Debian packages, by how much of Debian uses them.

    python -m shared.data.names.collect FALLBACK PACKAGES SOURCES [OSV]

FALLBACK: /usr/share/dh-python/dist/cpython3_fallback of the package dh-python. PACKAGES, SOURCES: the release's
indexes, `dists/trixie/main/binary-amd64/Packages.xz` and `dists/trixie/main/source/Sources.xz`. OSV: PyPI's `all.zip`,
whose advisories name projects that somebody maintains.
"""

from __future__ import annotations

import lzma
import re
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import orjson
from packaging.utils import canonicalize_name

ENOUGH = 3
"""Source packages that use a project before it counts as popular."""
_HERE = Path(__file__).parent
_USES = {"Depends", "Recommends", "Suggests", "Build-Depends", "Build-Depends-Indep"}
_LIBRARY = re.compile(r"python3-|pypy3?-")


def distributions(fallback: Iterable[str]) -> dict[str, set[str]]:
    """Debian's package to the names on PyPI of what is in it."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in fallback:
        name, package = line.split()[:2]
        found[package].add(canonicalize_name(name))
    return found


def uses(stanzas: Iterable[Mapping[str, str]], packages: Iterable[str]) -> dict[str, set[str]]:
    """Package to the source packages that name it in a dependency."""
    wanted, found = frozenset(packages), defaultdict(set)
    for stanza in stanzas:
        source = (stanza.get("Source") or stanza.get("Package", "")).split()[0]
        for field in _USES & stanza.keys():
            for part in re.split(r"[,|]", stanza[field]):
                name = re.split(r"[\s(\[<:]", part.strip(), maxsplit=1)[0]
                if name in wanted:
                    found[name].add(source)
    return found


def stanzas(path: Path) -> Iterator[dict[str, str]]:
    """Those of a Packages or Sources index."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        stanza: dict[str, str] = {}
        key = ""
        for line in file:
            if not line.strip():
                if stanza:
                    yield stanza
                stanza, key = {}, ""
            elif line[0].isspace():
                stanza[key] += line
            else:
                key, _, value = line.partition(":")
                stanza[key] = value
        if stanza:
            yield stanza


def maintained(zipped: Path) -> set[str]:
    """Projects of which a flaw was fixed: what was made to do harm has no fixed version."""
    found = set()
    with zipfile.ZipFile(zipped) as archive:
        for member in archive.namelist():
            for entry in (
                orjson.loads(archive.read(member)).get("affected", []) if member.endswith(".json") else ()
            ):
                events = [event for each in entry.get("ranges", []) for event in each.get("events", [])]
                if entry["package"]["ecosystem"] == "PyPI" and any("fixed" in event for event in events):
                    found.add(str(canonicalize_name(entry["package"]["name"])))
    return found


def main(fallback: str, packages: str, sources: str, osv: str = "") -> None:
    by_package = distributions(Path(fallback).read_text().splitlines())
    used: dict[str, set[str]] = defaultdict(set)
    for path in (packages, sources):
        for package, users in uses(stanzas(Path(path)), by_package).items():
            used[package] |= users
    # A program that much is built with is not what somebody means to import.
    libraries = {
        package for package in by_package if _LIBRARY.match(package) and len(used[package]) >= ENOUGH
    }
    popular = {name for package in libraries for name in by_package[package]}
    known = {name for names in by_package.values() for name in names} | (
        maintained(Path(osv)) if osv else set()
    )
    _write(
        "popular.txt",
        popular,
        f"Projects of which {ENOUGH} or more of Debian 13's source packages need one another's.",
    )
    _write(
        "known.txt",
        known - popular,
        "Projects that exist for good: taken for nobody else, and for no target either.",
    )


def _write(name: str, names: Iterable[str], what: str) -> None:
    lines = "\n".join(sorted(names))
    (_HERE / name).write_text(f"# {what} Made by collect.py, see README.md.\n{lines}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
