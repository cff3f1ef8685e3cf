"""A requirement of PEP 508 in a line that a stranger has written.

https://packaging.python.org/en/latest/specifications/dependency-specifiers/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from packaging.requirements import InvalidRequirement, Requirement


def requirement(line: str) -> Requirement:
    """InvalidRequirement if it is none, or is nested deeper than its parser can follow."""
    try:
        return Requirement(line)
    except RecursionError as error:
        raise InvalidRequirement("it is nested too deep") from error


def readable(lines: Iterable[str]) -> Iterator[tuple[str, Requirement]]:
    """Each line that is one."""
    for line in lines:
        with suppress(InvalidRequirement):
            yield line, requirement(line)
