"""Names of images in registries: `HOST[:PORT]/REPOSITORY[:TAG][@sha256:…]`.

Grammar: https://github.com/distribution/reference/blob/v0.6.0/reference.go, less its defaults: a host must be named,
and neither a registry nor the tag `latest` is ever assumed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address

from shared.errors import Permanent
from shared.model.value import printable

_LONGEST = 512
_HOST = re.compile(
    r"(?:localhost|[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+|\[[0-9a-f:]+\])(?::([0-9]{1,5}))?",
    re.ASCII,
)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Reference:
    """An image, or with neither tag nor digest a place for images."""

    host: str
    """With the port, if one was given."""
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Permanent with one sentence if `text` is none."""
        if len(text) > _LONGEST:
            raise Permanent(f"An image reference has at most {_LONGEST} characters, not {len(text)}.")
        rest, at, digest = text.partition("@")
        host, _, path = rest.partition("/")
        repository, colon, tag = path.partition(":")
        found = _HOST.fullmatch(host)
        wrong = (
            ("host", not found or int(found[1] or 1) not in range(1, 65536)),
            ("repository", not _REPOSITORY.fullmatch(repository)),
            ("tag", bool(colon) and not _TAG.fullmatch(tag)),
            ("digest", bool(at) and not _DIGEST.fullmatch(digest)),
        )
        for part, is_wrong in wrong:
            if is_wrong:
                raise Permanent(
                    f"The {part} of the image reference '{printable(text, 200)}' cannot be read; write "
                    "HOST[:PORT]/REPOSITORY with :TAG or @sha256:DIGEST behind it, in lower case."
                )
        return cls(host, repository, tag, digest)

    def at(self, digest: str) -> Reference:
        """The same place, named by digest alone."""
        return replace(self, tag="", digest=digest)

    @property
    def name(self) -> str:
        """What stands behind `manifests/`: the digest, which says more, or else the tag."""
        return self.digest or self.tag

    @property
    def base(self) -> str:
        """The registry's address. TLS everywhere but on this machine."""
        return f"{'http' if is_loopback(self.host) else 'https'}://{self.host}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.repository}{tag}{f'@{self.digest}' if self.digest else ''}"


def is_loopback(host: str) -> bool:
    """Whether `host`, with or without a port, is this machine under a name that no DNS can give to another."""
    name = re.sub(r":[0-9]+$", "", host) if not host.endswith("]") else host
    if name == "localhost":
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
