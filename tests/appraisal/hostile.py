"""What a hostile token is: inputs that must be refused by one check, and their repaired twin that must be accepted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.appraisal import forge
from tests.appraisal.forge import Inputs


@dataclass(frozen=True)
class Hostile:
    name: str
    check: str
    """Which must fail, and before all others."""
    bad: Callable[[], Inputs]
    twin: Callable[[], Inputs] = forge.good
    also: tuple[str, ...] = ()
    """Checks that fail with it."""


def put(content: dict[str, Any], path: str, value: Any) -> None:
    """Sets the member at `path` (a.b.c); MISSING takes it away."""
    *places, last = path.split("/")
    for place in places:
        content = content[place]
    if value is MISSING:
        del content[last]
    else:
        content[last] = value


class _Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING = _Missing()
CONTAINER = "submods/container"


def claim(check: str, path: str, value: Any, name: str = "", *also: str) -> Hostile:
    """A token with one claim changed; its twin is the token without that change."""

    def bad() -> Inputs:
        return forge.good(forge.oidc(forge.claims(lambda content: put(content, path, value))))

    shown = "missing" if value is MISSING else repr(value)
    return Hostile(name or f"{path.rsplit('/', 1)[-1]} {shown[:60]}", check, bad, also=also)
