"""Whether a package's licence may enter: SPDX expressions, and what authors wrote before there were any. Pure.

https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/ · https://peps.python.org/pep-0639/

1. AND needs both sides, OR one of them, WITH only adds permissions to what stands before it.
2. Deny beats allow, and it means every version form of the licence: GPL-3.0-only denies GPL-3.0-or-later as well.
3. What is allowed `-only` is allowed `-or-later`, since the later ones are the receiver's choice; not the reverse.
4. Several statements (License field, classifiers) must all pass. One that cannot be read is left out only if it is free
text beside classifiers that can be read; else the licence is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from shared.model.policy import Licences
from shared.policy.licence_names import CLASSIFIERS, NAMES, PREFIX, UNSPECIFIC

_MAX_TEXT = 1000
_MAX_NESTED = 30
_GNU = re.compile(r"(A?GPL|LGPL|GFDL)-([0-9.]+?)(-only|-or-later|\+)?")
"""The GNU family had other ids before 2018: GPL-3.0 is GPL-3.0-only, GPL-3.0+ is GPL-3.0-or-later."""


class Passes(IntEnum):
    """In this order AND is the lower, OR the higher of two answers."""

    NO = 0
    UNKNOWN = 1
    YES = 2


def passes(statements: Sequence[str], rules: Licences) -> Passes:
    """What the licences that a package states are worth under these rules."""
    read = {text: _expression(text) for text in statements if text not in UNSPECIFIC}
    classified = any(text.startswith(PREFIX) and known for text, known in read.items())
    answers = [
        _value(known, rules) if known else Passes.UNKNOWN
        for text, known in read.items()
        if known or text.startswith(PREFIX) or not classified  # 4
    ]
    return min(answers, default=Passes.UNKNOWN)


@lru_cache(maxsize=10_000)
def _expression(text: str) -> str:
    """As an SPDX expression in its normal form; empty if it cannot be read as one."""
    if text.startswith(PREFIX):
        return CLASSIFIERS.get(text.removeprefix(PREFIX), "")
    text = " ".join(text.split())
    if known := NAMES.get(text.casefold().removeprefix("the ").replace(",", "")):
        return known
    if len(text) > _MAX_TEXT or text.count("(") > _MAX_NESTED:
        return ""
    try:
        return canonicalize_license_expression(text)
    except (InvalidLicenseExpression, RecursionError, MemoryError):
        return ""


@lru_cache(maxsize=10_000)
def _value(expression: str, rules: Licences) -> Passes:
    tokens = expression.replace("(", " ( ").replace(")", " ) ").split()[::-1]
    return _either(tokens, rules)


def _either(tokens: list[str], rules: Licences) -> Passes:
    """`tokens` stand in reverse, and are used up."""
    found = _both(tokens, rules)
    while tokens and tokens[-1] == "OR":
        tokens.pop()
        found = max(found, _both(tokens, rules))  # 1
    return found


def _both(tokens: list[str], rules: Licences) -> Passes:
    found = _one(tokens, rules)
    while tokens and tokens[-1] == "AND":
        tokens.pop()
        found = min(found, _one(tokens, rules))  # 1
    return found


def _one(tokens: list[str], rules: Licences) -> Passes:
    id = tokens.pop()
    if id == "(":
        found = _either(tokens, rules)
        tokens.pop()
        return found
    exception = ""
    if tokens and tokens[-1] == "WITH":
        tokens.pop()
        exception = tokens.pop()
    return _licence(id, exception, rules)


def _licence(id: str, exception: str, rules: Licences) -> Passes:
    if any(_denies(entry, id, exception) for entry in rules.deny):  # 2
        return Passes.NO
    if any(_allows(entry, id, exception) for entry in rules.allow if entry != "*"):
        return Passes.YES
    if "*" not in rules.allow:
        return Passes.NO
    return Passes.UNKNOWN if id.startswith("LicenseRef-") else Passes.YES


def _denies(entry: str, id: str, exception: str) -> bool:
    denied, _, only_with = entry.partition(" WITH ")
    return _stem(denied) == _stem(id) and only_with in ("", exception)


def _allows(entry: str, id: str, exception: str) -> bool:
    allowed, _, only_with = entry.partition(" WITH ")
    if only_with not in ("", exception):
        return False
    return _form(allowed) == _form(id) or (_stem(allowed), _form(allowed)[1], _form(id)[1]) == (  # 3
        _stem(id),
        "-only",
        "-or-later",
    )


def _form(id: str) -> tuple[str, str]:
    """The licence, and whether it is this version of it or a later one as well."""
    if found := _GNU.fullmatch(id):
        form = {None: "-only", "+": "-or-later"}.get(found[3], found[3] or "-only")
        return f"{found[1]}-{found[2]}", form
    return id.removesuffix("+"), "-or-later" if id.endswith("+") else "-only"


def _stem(id: str) -> str:
    return _form(id)[0]
