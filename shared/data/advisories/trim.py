"""Makes a small advisory snapshot from a directory in osv-scanner's offline layout.

    python -m shared.data.advisories.trim FROM TO --keep PyPI --keep Debian:13

Left out are withdrawn records, texts beyond one line, references, credits, commits, and versions that a record's
ranges hold anyway: none of it changes a verdict. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from shared.advisories import osv
from shared.advisories.archive import records
from shared.advisories.match import scope
from shared.advisories.ranges import YES, evaluate
from shared.advisories.versions import DEBIAN, PEP440
from shared.errors import DmzError
from shared.model.value import canonical

CORRECTIONS = Path(__file__).parent / "corrections.yaml"
_SUMMARY = 80
_EPOCH = (1980, 1, 1, 0, 0, 0)


def trim(source: Path, target: Path, keep: list[str], corrections: list[dict[str, Any]]) -> dict[str, int]:
    """Write `<target>/<ecosystem>/all.zip` for every ecosystem in `keep`; the number of records each."""
    wanted: dict[str, list[str]] = defaultdict(list)
    for ecosystem in keep:
        wanted[ecosystem.split(":")[0]].append(ecosystem)
    counts: dict[str, int] = {}
    for ecosystem, scopes in sorted(wanted.items()):
        path = target / ecosystem / "all.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = sorted(_kept(source / ecosystem / "all.zip", set(scopes), corrections))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, data in kept:
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED, 9)
        counts[ecosystem] = len(kept)
    return counts


def _kept(path: Path, scopes: set[str], corrections: list[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    for member, raw in records(path):
        slim = _slim(raw, scopes, f"{member} in {path}")
        for correction in corrections:
            if correction["id"] == raw["id"]:
                _correct(slim, correction)
        if slim.get("affected") and not raw.get("withdrawn"):
            yield member, canonical(slim)


def _slim(raw: dict[str, Any], scopes: set[str], where: str) -> dict[str, Any]:
    record = osv.read(raw, where, lambda ecosystem, _: scope(ecosystem) in scopes)
    slim = {key: raw[key] for key in ("id", "aliases", "modified", "severity") if raw.get(key)}
    slim["summary"] = record.summary[:_SUMMARY].rstrip()
    specific = {key: raw.get("database_specific", {}).get(key) for key in ("severity", "correction")}
    if any(specific.values()):
        slim["database_specific"] = {key: value for key, value in specific.items() if value}
    read = iter(record.affected)
    slim["affected"] = [
        _slim_entry(entry, next(read))
        for entry in raw.get("affected") or []
        if entry.get("package") and scope(entry["package"]["ecosystem"]) in scopes
    ]
    return slim


def _slim_entry(entry: dict[str, Any], read: osv.Affected) -> dict[str, Any]:
    package = {"ecosystem": entry["package"]["ecosystem"], "name": entry["package"]["name"]}
    slim: dict[str, Any] = {"package": package}
    if ranges := [
        {"type": found["type"], "events": found["events"]}
        for found in entry.get("ranges") or []
        if found["type"] != "GIT"
    ]:
        slim["ranges"] = ranges
    if entry.get("severity"):
        slim["severity"] = entry["severity"]
    scheme = PEP440 if read.ecosystem == "PyPI" else DEBIAN
    bare = osv.Affected(read.ecosystem, read.name, read.ranges, (), ())
    if versions := [version for version in read.versions if evaluate(scheme, version, bare) != YES]:
        slim["versions"] = versions
    return slim


def _correct(slim: dict[str, Any], correction: dict[str, Any]) -> None:
    for entry in slim["affected"]:
        if entry["package"]["ecosystem"] != correction["ecosystem"]:
            continue
        if "ranges" in correction and "ranges" not in entry:
            entry["ranges"] = [{"type": "ECOSYSTEM", "events": correction["ranges"]}]
        for event in (event for found in entry["ranges"] for event in found["events"]):
            if "fixed" in event and "fixed" in correction:
                event["fixed"] = correction["fixed"]
        slim.setdefault("database_specific", {})["correction"] = correction["reason"]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="trim", description="Make a small advisory snapshot.")
    parser.add_argument("source", type=Path, help="directory with ECOSYSTEM/all.zip")
    parser.add_argument("target", type=Path, help="directory to write ECOSYSTEM/all.zip to")
    parser.add_argument("--keep", action="append", required=True, help="PyPI, Debian:13, Ubuntu:22.04, …")
    options = parser.parse_args(arguments)
    corrections = yaml.safe_load(CORRECTIONS.read_text())
    try:
        counts = trim(options.source, options.target, options.keep, corrections)
    except DmzError as error:
        print(error, file=sys.stderr)
        return 1
    for ecosystem, count in counts.items():
        print(f"{ecosystem}: {count} records")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
