"""Reads a machine's claim as strictly as every document, but for single packages that are none of their ecosystem.

1. A claim that is as it should be is taken as it is. 2. What a machine calls unreadable is not taken from it: that is
said here alone. 3. A package whose values are none (a name, a version, a tag, a requirement) is set aside as
`Unreadable`, whatever its environment; one that lacks a field, has one too many or one of another type was not written
by the guest, and ends the whole. 4. Nor is anything else of the claim forgiven.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import ValidationError

from shared.errors import Permanent
from shared.model.manifest import ClaimedManifest, DebianPackage, PythonPackage
from shared.model.unreadable import MOST, unreadable
from shared.model.value import said, unique

_VALUES = frozenset({"value_error", "string_pattern_mismatch", "string_too_long", "too_long"})
"""Types of mistakes that a value of the right shape can have."""
_Entry = dict[str, Any]


def read(text: bytes, what: str) -> ClaimedManifest:
    """The claim; Permanent, with `what` in the sentence, if it cannot be taken even without single packages."""
    try:
        claim = ClaimedManifest.read(text, what)
    except Permanent:
        if (without := _set_aside(text)) is None:
            raise
        return ClaimedManifest.read(without, what)  # 4
    if claim.unreadable:  # 2
        raise Permanent(f"{what} says itself what nobody can read; it was not made by our guest scripts.")
    return claim


def _set_aside(text: bytes) -> bytes | None:
    """The claim with its unreadable packages apart; None if it has none, or is not a claim for other reasons."""
    try:
        raw = json.loads(text, object_pairs_hook=unique)
        if raw.get("unreadable"):  # 2
            return None
        aside: list[_Entry] = []
        raw["debian"] = _readable(raw["debian"], "debian", None, aside)
        for place in raw["environments"]:
            # What dpkg manages is judged as a Debian package, and nobody asks what stands there.
            kept = [] if place["managed_by_dpkg"] is True else aside
            place["packages"] = _readable(place["packages"], "pypi", place["path"], kept)
        if len(aside) > MOST:
            return None
        raw["unreadable"] = aside
        return json.dumps(raw, allow_nan=False).encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, Permanent):
        return None


def _readable(
    entries: list[_Entry], ecosystem: Literal["debian", "pypi"], path: str | None, aside: list[_Entry]
) -> list[_Entry]:
    kept = []
    for entry in entries:
        if why := _mistake(entry, DebianPackage if ecosystem == "debian" else PythonPackage):
            aside.append(unreadable(entry, ecosystem, path, why))
        else:
            kept.append(entry)
    return kept


def _mistake(entry: _Entry, model: type[DebianPackage | PythonPackage]) -> str:
    """What is wrong with a package's values; empty if nothing is, or if more than that is wrong (3)."""
    try:
        model.model_validate_json(json.dumps(entry))
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_context=False)
        surrogate = mistakes[0]["type"] == "json_invalid"  # it was JSON: all that is left is half a character
        if surrogate:
            return "it holds half a character, which no text has"
        if all(each["type"] in _VALUES for each in mistakes):
            return f"its {'.'.join(map(str, mistakes[0]['loc']))}: {said(mistakes[0])}"
    return ""
