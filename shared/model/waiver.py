"""Waivers: a responsible person overrules a verdict, in the open, for a stated reason and for a limited time."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from shared.model.purl_pattern import FORM, check_form
from shared.model.value import Value


def _line(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("it is one line of printable characters, and not blank")
    return text


_LINE = {"type": "string", "minLength": 1, "maxLength": 500, "pattern": r"^(?=.*\S)[^\x00-\x1f\x7f]+$(?!\n)"}
Line = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_line), WithJsonSchema(_LINE)]


_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
"""RFC 3339, section 5.6, in UTC; `fromisoformat` alone reads week dates and whole days as well."""


def _moment(text: str) -> str:
    how = "a time is RFC 3339 in UTC, like 2026-12-31T00:00:00Z"
    if not _MOMENT.fullmatch(text):
        raise ValueError(how)
    try:
        datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(how) from error
    return text


Moment = Annotated[str, Field(max_length=40), AfterValidator(_moment)]
"""RFC 3339 in UTC, ending in Z."""


def _packages(text: str) -> str:
    return check_form(text) if text else text


_PACKAGES = {"type": "string", "maxLength": 300, "pattern": rf"^({FORM})?$(?!\n)"}
Packages = Annotated[str, Field(max_length=300), AfterValidator(_packages), WithJsonSchema(_PACKAGES)]
"""A pattern of purls (shared.model.purl_pattern), or nothing."""


class Waiver(Value):
    """What is overruled: findings of one advisory, or everything that the rules say against some packages."""

    advisory: Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9:._-]*$")] = ""
    """Any id or alias of the flaw; empty: the package is waived as a whole."""
    package: Packages = ""
    """A purl, in which * stands for anything; empty: every package that the advisory touches."""
    workload: Annotated[str, Field(pattern=r"^([a-z][a-z0-9-]{0,39})?$")] = ""
    """Name of a workload; empty: all of them."""
    reason: Line
    """Why the risk is borne."""
    approver: Line
    """Who answers for it."""
    granted: Moment
    """Since when it counts."""
    expires: Moment
    """Until when."""
    until_fixed: bool = False
    """True: it ends as soon as a version without the flaw exists, if that is earlier."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not (self.advisory or self.package):
            raise ValueError("it names neither an advisory nor a package: give one of them")
        if datetime.fromisoformat(self.expires) <= datetime.fromisoformat(self.granted):
            raise ValueError("it expires before it is granted: give a later time")
        return self

    @property
    def id(self) -> str:
        """Short name by which people and documents call it."""
        return "waiver-" + self.digest[7:19]
