"""What a browser asked for: checked once, then plain values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.errors import Permanent
from shared.model.value import printable
from shared.readings import Cursor, possible

_CURSOR = re.compile(r"(-?[0-9]{1,12}(?:\.[0-9]{1,17})?)~(.{1,1000})", re.ASCII | re.DOTALL)
_PAGE = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


class NotHere(Permanent):
    """There is no such page, run or package."""


class BadQuestion(Permanent):
    """A parameter of the address has no meaning."""


@dataclass(frozen=True)
class Asked:
    """One request, without its transport."""

    path: str
    now: float
    """Seconds since 1970."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What stands in the path, by name."""
    query: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str, limit: int = 200) -> str:
        """Words to look for; empty if there are none."""
        given = self.query.get(name, "").strip()
        if len(given) > limit:
            raise BadQuestion(f"The parameter {name} has {len(given)} characters; {limit} are read at most.")
        return given

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """One of `choices`; the first if nothing is said."""
        given = self.query.get(name) or choices[0]
        if given not in choices:
            known = ", ".join(filter(None, choices))
            raise BadQuestion(f"The parameter {name} is '{printable(given, 60)}'; it is one of {known}.")
        return given

    def page(self) -> int:
        """Number of the page, from 1."""
        given = self.query.get("page") or "1"
        if not _PAGE.fullmatch(given):
            raise BadQuestion(f"The parameter page is '{printable(given, 60)}'; it is a number from 1.")
        return int(given)

    def after(self) -> Cursor | None:
        """Where the page before ended; None for the first one."""
        given = self.query.get("after", "")
        if not given:
            return None
        found = _CURSOR.fullmatch(given)
        if not found or not possible(found[2]):
            raise BadQuestion(
                f"The parameter after is '{printable(given, 60)}'; follow the link to older ones."
            )
        return Cursor(float(found[1]), found[2])


def cursor(value: object, id: str) -> str:
    """`after` of the next page."""
    return f"{value!r}~{id}"
