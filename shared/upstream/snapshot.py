"""The distributions' snapshot services: their archives as they were at a moment that has passed.

https://snapshot.debian.org: `archive/NAME/TIME/` is the archive of that name, by redirect that of the last import
before TIME. https://snapshot.ubuntu.com: `ubuntu/TIME/`, with the security suites in it. Both serve what the archive
served: the same signed Release, so the same chain of proof (`apt`), as of then:

1. The signature holds by the keys that are pinned today: a key that has expired or was revoked since proves nothing.
2. Date and Valid-Until are compared with TIME. That they have passed by now is what a snapshot is.
3. TIME is not the service's choice but ours: when the outer VM had installed. An older state is not offered the VM's
   versions by us, and what the VM had is judged by the advisories of today.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from shared.upstream.mirrors import Mirrors


@dataclass(frozen=True)
class Snapshots:
    """Addresses of the services."""

    debian: str = "https://snapshot.debian.org/archive"
    ubuntu: str = "https://snapshot.ubuntu.com/ubuntu"

    def mirrors(self, moment: float) -> Mirrors:
        """The archives as of `moment`, in seconds since the epoch."""
        time = datetime.fromtimestamp(moment, UTC).strftime("%Y%m%dT%H%M%SZ")
        debian, ubuntu = self.debian.rstrip("/"), f"{self.ubuntu.rstrip('/')}/{time}"
        return Mirrors(f"{debian}/debian/{time}", f"{debian}/debian-security/{time}", ubuntu, ubuntu)

    def address(self, url: str, mirrors: Mirrors, moment: float) -> str:
        """Where the file that one of the mirrors had at `url` lies as of `moment`; empty if it was none of theirs."""
        then = self.mirrors(moment)
        pairs = (
            (mirrors.debian_security, then.debian_security),
            (mirrors.debian, then.debian),
            (mirrors.ubuntu_security, then.ubuntu_security),
            (mirrors.ubuntu, then.ubuntu),
        )
        for base, snapshot in pairs:
            if url.startswith(f"{base.rstrip('/')}/"):
                return snapshot + url[len(base.rstrip("/")) :]
        return ""
