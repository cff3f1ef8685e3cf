"""From a spec's name to an image on disk: reads spec and lock, fetches what is missing, builds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.image import build as building
from shared.image import oci
from shared.image import spec as specs
from shared.image.inputs import Cache
from shared.model.image import BuiltImage, Codec, ImageLock, ImageSpec

Show = Callable[[str], None]
"""Told what is being done, in a few words."""


@dataclass(frozen=True)
class Made:
    """An image, and what it was made of."""

    built: BuiltImage
    spec: ImageSpec
    lock: ImageLock
    source: Path
    """Directory of the sources."""
    layout: Path

    @property
    def config_json(self) -> str:
        """The image's configuration, as its digest covers it."""
        return oci.blob_path(self.layout, self.built.config).read_text(encoding="utf-8")


def make(
    name_or_path: str,
    out: Path,
    layers: Path,
    codec: Codec = "gzip",
    inputs: Cache | None = None,
    show: Show = lambda _: None,
) -> Made:
    """Make `out` the layout of the image whose spec is `name_or_path`. `layers`: cache of layers, may be empty.

    Permanent or Transient with one sentence if it cannot be built.
    """
    path = specs.find(name_or_path)
    spec = specs.read(path)
    lock = specs.read_lock(spec, path)
    cache = inputs or Cache()
    cache.prefetch(lock.inputs, lambda done, total, _: show(f"{done} of {total} inputs"))
    plan = building.plan(spec, path, lock, cache.path)
    built = building.build(
        plan,
        spec,
        lock,
        out,
        codec,
        layers,
        lambda seen: show(f"layer {seen.number} of {seen.of}, {seen.layer}: {seen.state}"),
    )
    return Made(built, spec, lock, path.parent / spec.source, out)
