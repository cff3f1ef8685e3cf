"""Where the distributions' archives are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mirrors:
    """Base URLs of the archives."""

    debian: str = "https://deb.debian.org/debian"
    debian_security: str = "https://deb.debian.org/debian-security"
    ubuntu: str = "http://archive.ubuntu.com/ubuntu"
    """Ubuntu's archive has no TLS of its own; the signature vouches for it, as for apt itself."""
    ubuntu_security: str = "http://security.ubuntu.com/ubuntu"
