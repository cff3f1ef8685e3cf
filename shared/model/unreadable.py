"""What a machine says that it holds, of which nobody can tell what it is: a name in mixed scripts, an endless version.

Such a package is held, with a sentence, and all others are judged. It goes under a name of its own that says nothing
and is nobody's: what the machine wrote is shown to people, cut and in ASCII, and reaches no name, URL or path.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from shared.model.package import AbsolutePath, Package, Release, in_interpreter
from shared.model.value import Digest, Value, sha256

MOST = 1_000
"""On one machine; each is a verdict, and a machine that has more is not one that anybody installed."""
_CUT = 60
Shown = Annotated[str, Field(pattern=r"^[ -~]*$", max_length=200)]
"""Printable ASCII."""


class Unreadable(Value):
    """One entry of a claim that is none of its ecosystem."""

    ecosystem: Literal["debian", "pypi"]
    name: Shown
    version: Shown
    why: Shown
    """What is wrong with it, as a sentence part."""
    entry: Digest
    """sha256 over all that the machine said of it: two of them are two packages."""
    path: AbsolutePath | None
    """The Python environment that holds it; None for a Debian package."""
    in_base: bool

    @property
    def in_interpreter(self) -> bool:
        return self.path is not None and in_interpreter(self.path)

    @property
    def reason(self) -> str:
        """Why it is held, as a sentence part."""
        where = f" in {self.path}" if self.path else ""
        return (
            f"the machine names it '{self.name}', version '{self.version}'{where}, and nobody can tell what that is: "
            f"{self.why}"
        )

    def package(self, release: Release) -> Package:
        """Under a name that no index and no distribution is asked for."""
        name = f"unreadable-{self.entry[7:27]}"
        if self.ecosystem == "pypi":
            return Package(ecosystem="pypi", name=name, version="0")
        return Package(
            ecosystem="debian",
            name=name,
            version="0",
            architecture=release.architecture,
            distro=f"{release.id}-{release.version_id}",
            source_name=name,
            source_version="0",
        )


def unreadable(
    entry: dict[str, Any], ecosystem: Literal["debian", "pypi"], path: str | None, why: str
) -> dict[str, Any]:
    """The fields of an `Unreadable`, as JSON has them."""
    return {
        "ecosystem": ecosystem,
        "name": shown(entry["name"]),
        "version": shown(entry["version"]),
        "why": shown(why, 200),
        "entry": sha256(json.dumps(entry, sort_keys=True).encode()),
        "path": path,
        "in_base": entry["in_base"],
    }


def shown(text: str, limit: int = _CUT) -> str:
    """`text` in printable ASCII, cut: a letter that looks like another one does not pass for it here."""
    plain = ascii(text[:limit])[1:-1]
    return plain if len(plain) <= limit and len(text) <= limit else plain[: limit - 3] + "..."
