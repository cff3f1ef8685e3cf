"""An apt repository that is not the distribution's: what a workload says of it, and what a policy allows.

The key is part of the workload, so whoever pins the workload pins the key; a policy names it by its sha256.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator, model_validator

from shared.model.package import DebianName, HttpsUrl
from shared.model.value import Digest, Part, sha256

_ARMOR = re.compile(
    r"\s*-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[A-Za-z]+: [^\r\n]*\r?\n)*\r?\n"
    r"((?:[A-Za-z0-9+/=]+\r?\n)+?)(?:=[A-Za-z0-9+/]{4}\r?\n)?-----END PGP PUBLIC KEY BLOCK-----\s*",
    re.ASCII,
)
"""RFC 9580, section 6.2."""
_PUBLIC_KEY = 6
"""Packet type of a public key (RFC 9580, section 5)."""


def _base(url: str) -> str:
    if url.endswith("/") or "?" in url or "#" in url:
        raise ValueError("the address of an apt repository has no slash, query or fragment at its end")
    return url


def _key(text: str) -> str:
    packets(text)
    return text


def packets(armored: str) -> bytes:
    """The key as gpgv reads keyrings. ValueError if the text is not one armored public key block."""
    found = _ARMOR.fullmatch(armored)
    try:
        content = base64.b64decode("".join(found[1].split()), validate=True) if found else b""
    except binascii.Error:
        content = b""
    first = content[0] if content else 0
    kind = first & 0x3F if first & 0x40 else (first & 0x3C) >> 2
    if not first & 0x80 or kind != _PUBLIC_KEY:
        raise ValueError(
            "a repository's key is one armored OpenPGP public key block (gpg --armor --export KEY)"
        )
    return content


Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=100)]


def _flat(suite: str) -> str:
    return "./" if suite == "/" else suite


Suite = Annotated[
    str,
    Field(
        pattern=r"^(\.?/|[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9][A-Za-z0-9._+-]*)*/?)$",
        max_length=200,
    ),
    AfterValidator(_flat),
]
"""A directory below dists/, like gcsfuse-trixie. One that ends in a slash is the folder of a flat repository: `./`,
also written `/`, is that at the address itself
(https://wiki.debian.org/DebianRepository/Format#Flat_Repository_Format)."""
Base = Annotated[HttpsUrl, AfterValidator(_base)]
Components = Annotated[tuple[Word, ...], Field(max_length=20)]


def _check_components(suite: str, components: tuple[str, ...]) -> None:
    if suite.endswith("/") and components:
        raise ValueError(
            f"the suite {suite} ends in a slash, so the repository is flat and has no components: remove them"
        )
    if not suite.endswith("/") and not components:
        raise ValueError(f"components are missing: the suite {suite} has some, like [main]")


class AptPin(Part):
    """One suite of one repository under one key: what a policy allows, and what an archive says it came from."""

    url: Base
    suite: Suite
    components: Components = ()
    key: Digest
    """sha256 of the armored key, as the workload gives it and `sha256sum` of the file says it."""

    @model_validator(mode="after")
    def _flat_or_not(self) -> AptPin:
        _check_components(self.suite, self.components)
        return self

    def covers(self, other: AptPin) -> bool:
        """True if whoever allows this allows `other`: the same suite and key, and none but these components."""
        same = (self.url, self.suite, self.key) == (other.url, other.suite, other.key)
        return same and set(other.components) <= set(self.components)


class AptSource(Part):
    """An apt repository that a workload installs some packages from."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    url: Base
    suite: Suite
    components: Components = ()
    """None of a flat repository, and at least one of any other."""
    packages: Annotated[tuple[DebianName, ...], Field(min_length=1, max_length=100)]
    """Nothing else is taken from there, whatever version it has of it."""
    key: Annotated[str, Field(max_length=64 * 1024), AfterValidator(_key)]
    """Armored OpenPGP public key. It vouches for this source alone, and no other key does."""

    @field_validator("packages", "components")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("a name stands twice: give each once")
        return names

    @model_validator(mode="after")
    def _flat_or_not(self) -> AptSource:
        _check_components(self.suite, self.components)
        return self

    @property
    def pin(self) -> AptPin:
        return AptPin(
            url=self.url, suite=self.suite, components=self.components, key=sha256(self.key.encode())
        )
