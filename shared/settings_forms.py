"""Forms of settings: what a value must look like, each with words that complete "must be"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared.model.value import printable


class Form(Protocol):
    """One form."""

    def complaint(self, given: str, stage: str, /) -> str:
        """What is wrong with `given`, to be read behind the variable's name; empty if nothing is.

        `stage` is the one that is about to start: what it will open must be there. Empty: only the form is asked.
        """


@dataclass(frozen=True)
class Text:
    """Matches a pattern as a whole."""

    expected: str
    pattern: re.Pattern[str]

    def complaint(self, given: str, _: str, /) -> str:
        return "" if self.pattern.fullmatch(given) else _must(self.expected, given)


@dataclass(frozen=True)
class Whole:
    """A whole number within bounds, both included."""

    low: int
    high: int

    def complaint(self, given: str, _: str, /) -> str:
        if re.fullmatch("[0-9]{1,20}", given, re.ASCII) and self.low <= int(given) <= self.high:
            return ""
        return _must(f"a whole number from {self.low} to {self.high}", given)


@dataclass(frozen=True)
class Stored:
    """A path, or what `instead` takes. What a stage opens at once must be there when it starts."""

    kind: str
    """file, directory."""
    stages: tuple[str, ...]
    """Those that open it; on Google Cloud others are given the same settings without the same mounts."""
    later: bool = False
    """An operator may put it there while the stage runs: then only the directory that holds it must be there."""
    instead: Text | None = None

    def complaint(self, given: str, stage: str, /) -> str:
        if self.instead and not self.instead.complaint(given, ""):
            return ""
        or_else = f", or {self.instead.expected}" if self.instead else ""
        if "\0" in given or given.startswith(("http:", "https:", "gcpkms:", "gs:")):
            return _must(f"the path of a {self.kind}{or_else}", given)
        if stage not in self.stages:
            return ""
        path = Path(given)
        try:
            if self.later:
                known = path.parent.is_dir()
                return (
                    ""
                    if known
                    else f"names '{_shown(given)}', but {_shown(str(path.parent))} is no directory."
                )
            there = path.is_dir() if self.kind == "directory" else path.is_file()
        except OSError as error:
            return f"names '{_shown(given)}', which cannot be looked at ({error.strerror})."
        return "" if there else f"names '{_shown(given)}', which is no {self.kind}{or_else}."


@dataclass(frozen=True)
class Guarded:
    """Matches a pattern as a whole; what was given is never shown, as it may be what lets in."""

    expected: str
    pattern: re.Pattern[str]

    def complaint(self, given: str, _: str, /) -> str:
        return "" if self.pattern.fullmatch(given) else f"must be {self.expected}; it is another text."


def _must(expected: str, given: str) -> str:
    return f"must be {expected}, not '{_shown(given)}'."


def _shown(given: str) -> str:
    """For a log, so without the password that an address may hold."""
    return printable(re.sub(r"//[^/@\s]*@", "//…@", given), 100)


def _text(expected: str, pattern: str) -> Text:
    return Text(expected, re.compile(pattern, re.ASCII))


# https://cloud.google.com/resource-manager/docs/creating-managing-projects; older ones stand below a domain.
PROJECT = _text("a project's id", r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{2,28}[a-z0-9]")
REGION = _text("a region, us-central1 say", r"[a-z]+-[a-z]+[0-9]+")
ZONE = _text("a zone, us-central1-a say", r"[a-z]+-[a-z]+[0-9]+-[a-z]")
# RFC 1035, as https://cloud.google.com/compute/docs/naming-resources has it.
NAME = _text("a name of small letters, digits and hyphens", r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
ACCOUNT = _text("the e-mail address of a service account", r"[^@\s]+@[a-z0-9.-]+\.gserviceaccount\.com")
ADDRESS = _text("an address that begins with https:// or http://", r"https?://[^/\s]+(/\S*)?")
SINK = Guarded(
    "an address that begins with https://, or with http:// on this machine",
    re.compile(
        r"(https://[^/\s@?#]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?)([/?][!-~]*)?", re.ASCII
    ),
)
LOOSE_ADDRESS = _text("http://host:port or https://host:port", r"https?://[^/\s@:]+(:[0-9]{1,5})?/?")
HOST_PORT = _text("host:port", r"[^/\s@:]+:[0-9]{1,5}")
WORDS = _text("one line of text", r"[^\x00-\x1f\x7f]{0,500}")
KEY = _text("an armored OpenPGP public key", r"(?s)\s*-----BEGIN PGP PUBLIC KEY BLOCK-----.*")
POLICY_NAME = _text("the name of a policy that comes with the project", r"[a-z][a-z0-9_]*")
# https://cloud.google.com/kms/docs/resource-hierarchy
KMS_KEY = _text(
    "gcpkms:// and the name of a key version, projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N",
    r"gcpkms://projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+/cryptoKeyVersions/[0-9]+",
)
