"""Patterns of purls, as policies and waivers name packages: * stands for anything.

A pattern without a version means every version, one without qualifiers (`?arch=…`) every qualifier, as in the purl
specification (https://github.com/package-url/purl-spec): what is not said is not asked.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated
from urllib.parse import quote, unquote

from pydantic import AfterValidator, Field

from shared.model.package import normal_version

_FORM = re.compile(r"pkg:(pypi|deb/debian|deb/ubuntu|generic)/[!->A-~]+(@[!->A-~]+)?(\?[!-~]+)?", re.ASCII)


def _pattern(text: str) -> str:
    if not _FORM.fullmatch(text):
        raise ValueError(
            "a pattern of packages begins with pkg:pypi/, pkg:deb/debian/, pkg:deb/ubuntu/ or pkg:generic/, "
            "like pkg:pypi/jinja2@3.1.* or pkg:deb/debian/openssl"
        )
    return text


PurlPattern = Annotated[str, Field(max_length=300), AfterValidator(_pattern)]


def matches(pattern: str, purl: str) -> bool:
    """Whether the pattern means the package that has this purl."""
    rest, asks_qualifiers, qualifiers = purl.partition("?")
    name, _, version = rest.partition("@")
    text = name
    if "@" in pattern:
        text += f"@{version}"
    if "?" in pattern:
        text += f"{asks_qualifiers}{qualifiers}"
    return _fits(_pieces(pattern), text)


def fits(pattern: str, text: str) -> bool:
    """Whether the pattern, in which * stands for anything, is the text."""
    return _fits(tuple(pattern.split("*")), text)


@lru_cache(maxsize=10_000)
def _pieces(pattern: str) -> tuple[str, ...]:
    """The texts between the stars of the pattern, in the spelling that Package.purl has."""
    rest, question, qualifiers = pattern.partition("?")
    name, at, version = rest.partition("@")
    name, version = unquote(name), unquote(version)
    if name.startswith("pkg:pypi/"):
        name = re.sub(r"[-_.]+", "-", name).lower()  # PEP 503
        version = version if "*" in version else normal_version(version)
    name, version = quote(name, safe="/:*"), quote(version, safe="+~.-!*")
    return tuple(f"{name}{at}{version}{question}{qualifiers}".split("*"))


def _fits(pieces: tuple[str, ...], text: str) -> bool:
    """The first piece at the start, the last at the end, the others in this order between: linear, unlike a regex."""
    first, last, between = pieces[0], pieces[-1], pieces[1:-1]
    if len(pieces) == 1:
        return text == first
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    place, end = len(first), len(text) - len(last)
    for piece in between:
        place = text.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return True
