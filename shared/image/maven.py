"""Jars of a Maven repository: https://maven.apache.org/repository/layout.html.

1. What the repository publishes beside the jar, its .sha256 or else its .sha1, must be the jar's: it says that the
   jar arrived whole. What a later build takes is decided by the sha256 in the lock alone.
2. A snapshot version is refused: its bytes change under the same name.
Nothing that a jar depends on is looked for: each jar on the class path stands in the spec.
"""

from __future__ import annotations

import hashlib
import re

import httpx

from shared.errors import Permanent
from shared.model.value import printable
from shared.upstream import http

_MAX_JAR = 256 * 1024**2
_MAX_SUM = 4096
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_SUMS = (("sha256", 64), ("sha1", 40))


def url(repository: str, coordinate: str) -> str:
    """The jar's address in `repository`. Permanent if `coordinate` is no `group:artifact:version`."""
    parts = coordinate.split(":")
    if len(parts) != 3 or not all(_PART.fullmatch(part) and ".." not in part for part in parts):
        raise Permanent(
            f"'{printable(coordinate, 200)}' is no Maven coordinate; write group:artifact:version, without spaces."
        )
    group, artifact, version = parts
    if version.endswith("-SNAPSHOT"):  # 2
        raise Permanent(f"{coordinate} is a snapshot, whose bytes change; take a released version.")
    return f"{repository.rstrip('/')}/{group.replace('.', '/')}/{artifact}/{version}/{artifact}-{version}.jar"


def jar(client: httpx.Client, repository: str, coordinate: str) -> tuple[str, bytes]:
    """(address, content) of a jar; Permanent if it is not there, or not what the repository says it is."""
    address = url(repository, coordinate)
    answer = http.get(client, address, _MAX_JAR)
    if answer is None:
        raise Permanent(
            f"{address} is not there; correct the coordinate {coordinate} or the spec's maven_repository."
        )
    for algorithm, length in _SUMS:  # 1
        published = http.get(client, f"{address}.{algorithm}", _MAX_SUM)
        if published is None:
            continue
        found = re.search(
            rf"(?<![0-9a-f])[0-9a-f]{{{length}}}(?![0-9a-f])",
            published.body.decode("ascii", "replace").lower(),
        )
        if found is None:
            raise Permanent(f"{address}.{algorithm} holds no {algorithm}.")
        if hashlib.new(algorithm, answer.body, usedforsecurity=algorithm != "sha1").hexdigest() != found[0]:
            raise Permanent(f"{address} is not what {address}.{algorithm} says; nothing of it was kept.")
        return address, answer.body
    raise Permanent(
        f"{address} has neither a .sha256 nor a .sha1 beside it; give the jar as url: with its sha256 instead."
    )
