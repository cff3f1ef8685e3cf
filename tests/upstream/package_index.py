"""A Python package index on loopback with real, installable files."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from shared.upstream.simple_page import JSON
from tests.upstream import support
from tests.upstream.support import Reply, Web


class PackageIndex:
    """Serves what was added, with each wheel's metadata beside it (PEP 658)."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._files: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.url = f"{web.url}/simple/"

    def wheel(self, name: str, version: str, *requires: str, tag: str = "py3-none-any") -> None:
        members = support.wheel_members(name, version, {f"{name}.py": b""}, requires)
        metadata = members[f"{name}-{version}.dist-info/METADATA"]
        self._add(name, f"{name}-{version}-{tag}.whl", support.zipped(members), metadata)

    def source(self, name: str, version: str, content: bytes | None = None) -> None:
        self._add(name, f"{name}-{version}.tar.gz", content or support.sdist(name, version))

    def _add(self, name: str, filename: str, content: bytes, metadata: bytes | None = None) -> None:
        entry: dict[str, Any] = {
            "filename": filename,
            "url": f"{self._web.url}/files/{filename}",
            "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
        }
        if metadata is not None:
            entry["core-metadata"] = {"sha256": hashlib.sha256(metadata).hexdigest()}
            self._web.routes[f"/files/{filename}.metadata"] = Reply(metadata)
        self._web.routes[f"/files/{filename}"] = Reply(content)
        self._files[name].append(entry)
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": self._files[name]}
        self._web.routes[f"/simple/{name}/"] = Reply(json.dumps(page).encode(), content_type=JSON)


def versions(pins: Sequence[Any]) -> dict[str, str]:
    return {pin.name: pin.version for pin in pins}
