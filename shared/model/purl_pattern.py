"""Patterns of purls, as policies and waivers name packages: * stands for anything.

A pattern without a version means every version, one without qualifiers (`?arch=…`) every qualifier, as in the purl
specification (https://github.com/package-url/purl-spec): what is not said is not asked. A quoted star (%2A) is a star
in a name, and stands for nothing else.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated
from urllib.parse import quote, unquote

from pydantic import AfterValidator, Field

from shared.model.package import normal_version

FORM = r"pkg:(pypi|deb/debian|deb/ubuntu|generic)/[!->A-~]+(@[!->A-~]+)?(\?[!-~]+)?"
"""Of a whole pattern, as a regular expression."""
_FORM = re.compile(FORM, re.ASCII)


def check_form(text: str) -> str:
    """The pattern itself; ValueError if it is none."""
    if not _FORM.fullmatch(text):
        raise ValueError(
            "a pattern of packages begins with pkg:pypi/, pkg:deb/debian/, pkg:deb/ubuntu/ or pkg:generic/, "
            "like pkg:pypi/jinja2@3.1.* or pkg:deb/debian/openssl"
        )
    return text


PurlPattern = Annotated[str, Field(max_length=300), AfterValidator(check_form)]


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
    # Cut before anything is unquoted: a star that appears by unquoting is a character.
    names, versions = ([unquote(piece) for piece in part.split("*")] for part in (name, version))
    if names[0].startswith("pkg:pypi/"):
        names = [re.sub(r"[-_.]+", "-", piece).lower() for piece in names]  # PEP 503
        versions = versions if len(versions) > 1 else [normal_version(versions[0])]
    name = "*".join(quote(piece, safe="/:") for piece in names)
    version = "*".join(quote(piece, safe="+~.-!") for piece in versions)
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
