"""Provenance of a data service's image: who built what from which source."""

from __future__ import annotations

from typing import NamedTuple

from shared.model.image import Codec, ImageName
from shared.model.reference import Builder, Revision, Seconds
from shared.model.value import Digest, Value


class Source(NamedTuple):
    """What builders must have in common before their answers can be compared."""

    image: str
    revision: str
    lock: str


class Build(Value):
    """What one builder says that it built. Only as true as the signature that came with it."""

    image: ImageName
    revision: Revision
    """Of the source."""
    lock: Digest
    codec: Codec
    manifest: Digest
    config: Digest
    builder: Builder
    finished: Seconds
    """When, by the builder's own clock."""
    statement: Digest
    """Of the signed bytes themselves (the envelope's payload): the same whichever key signs them, and however often."""

    @property
    def source(self) -> Source:
        return Source(self.image, self.revision, self.lock)
