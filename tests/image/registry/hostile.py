"""A registry that lies, one who speaks to it, and how a pull is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.errors import DmzError
from shared.image.registry import Reference, Registry
from shared.image.registry_auth import Login
from tests.image.registry.scripted import Scripted
from tests.image.registry.support import Image

SECRET = "hunter2-the-password"
MB = 1 << 20


def place(registry: Scripted) -> Reference:
    return Reference(registry.host, "some/service")


def client(**options: Any) -> Registry:
    return Registry(**{"logins": lambda _: Login("me", lambda: SECRET), "attempts": 3, **options})


def filled(registry: Scripted, image: Image) -> Reference:
    registry.blobs |= image.blobs
    registry.manifests[image.digest] = ("application/vnd.oci.image.manifest.v1+json", image.manifest)
    return place(registry).at(image.digest)


def refused(registry: Registry, reference: Reference, to: Path, words: str) -> None:
    with pytest.raises(DmzError, match=words) as caught:
        registry.pull(reference, to)
    assert "\n" not in str(caught.value)
    assert not to.exists()
    assert not [path for path in to.parent.iterdir() if path.name.startswith(".")]
