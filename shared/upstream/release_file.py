"""A signed Release file of an apt repository, read and checked. Pure.

https://wiki.debian.org/DebianRepository/Format#A.22Release.22_files

Checks:
1. It names the origin and the suite that were asked for: the signed Release of another suite, replayed, is refused.
   Repositories that are not a distribution's choose their names freely: of those the suite alone is asked. A flat one
   has no suite to name: there the key and the address are all.
2. Its Date is not in the future, and its Valid-Until, where it has one, has not passed.
3. It lists the component's Packages file with sha256 and size; MD5 and SHA-1 are never read.
4. No field that is read here stands there twice, in whatever case: names of fields are alike in any (deb822(5)).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import MappingProxyType

from shared.errors import Permanent
from shared.model.value import printable

_SKEW = timedelta(minutes=10)
_READ = {
    name.lower(): name
    for name in ("Origin", "Suite", "Codename", "Date", "Valid-Until", "Acquire-By-Hash", "SHA256")
}
_ENTRY = re.compile(r" ([0-9a-f]{64}) +([0-9]{1,12}) +([!-~]+)", re.ASCII)


@dataclass(frozen=True)
class Listed:
    """One index file that the Release vouches for."""

    path: str
    """Relative to the Release file."""
    sha256: str
    """Hexadecimal, without prefix."""
    size: int


@dataclass(frozen=True)
class ReleaseFile:
    """What the rest of the way needs of a verified Release."""

    date: datetime
    by_hash: bool
    """The repository offers index files under by-hash/SHA256/ (Acquire-By-Hash)."""
    files: Mapping[str, Listed]


def read(signed_text: bytes, origin: str, field: str, suite: str, now: datetime, what: str) -> ReleaseFile:
    """`signed_text` as a ReleaseFile; `field` (Suite or Codename) is the one that must say `suite`, empty: one of them.

    `origin` empty: whatever it calls itself. `suite` empty: the repository is flat.
    """
    try:
        fields, listed = _fields(signed_text.decode("utf-8"), what)
    except UnicodeDecodeError as error:
        raise Permanent(f"{what} is not UTF-8 text.") from error
    named = field or ("Codename" if fields.get("Codename") == suite else "Suite")
    for name, wanted in (("Origin", origin), (named, suite)):  # 1
        if wanted and fields.get(name) != wanted:
            found = printable(fields.get(name, "nothing"), 60)
            raise Permanent(
                f"{what} is a signed Release, but its {name} is {found} and not {wanted}; it is refused."
            )
    date = _moment(fields.get("Date"), "Date", what)
    if date > now + _SKEW:  # 2
        raise Permanent(
            f"{what} is dated {date:%Y-%m-%d %H:%M} UTC, in the future; check this machine's clock."
        )
    if "Valid-Until" in fields and (until := _moment(fields["Valid-Until"], "Valid-Until", what)) < now:  # 2
        raise Permanent(
            f"{what} was valid until {until:%Y-%m-%d %H:%M} UTC only (Valid-Until), and it is "
            f"{now:%Y-%m-%d %H:%M}: the mirror is stale or replays an old state, or this machine's clock is ahead."
        )
    return ReleaseFile(date, fields.get("Acquire-By-Hash") == "yes", MappingProxyType(listed))


def packages(release: ReleaseFile, component: str, architecture: str, what: str) -> Listed:
    """The component's Packages file in the best compression that is listed (check 3); without one, a flat one's."""
    folder = f"{component}/binary-{architecture}/" if component else ""
    for suffix in (".xz", ".gz", ""):
        listed = release.files.get(f"{folder}Packages{suffix}")
        if listed:
            return listed
    whose = f" of {component} for {architecture}" if component else ""
    raise Permanent(f"{what} lists no Packages file{whose} with a sha256.")


def _fields(text: str, what: str) -> tuple[dict[str, str], dict[str, Listed]]:
    fields: dict[str, str] = {}
    listed: dict[str, Listed] = {}
    section = ""
    # No splitlines: what Python takes for the end of a line beside that ends none for apt.
    for line in text.split("\n"):
        if not line.startswith(" "):
            name, _, value = line.partition(":")
            section = _READ.get(name.strip().lower(), name)
            if section in fields and section in _READ.values():  # 4
                raise Permanent(f"{what} has the field {section} twice; it is refused.")
            fields[section] = value.strip()
        elif section == "SHA256" and (entry := _ENTRY.fullmatch(line.rstrip())):
            listed[entry[3]] = Listed(entry[3], entry[1], int(entry[2]))
    return fields, listed


def _moment(text: str | None, field: str, what: str) -> datetime:
    try:
        moment = parsedate_to_datetime(text or "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Permanent(f"{what} has no readable {field}, so its age is unknown; it is refused.") from error
