"""From a spec and its lock to an image: which layers it has, and the layout on disk.

Neither root nor Docker nor a clock is needed; layers are made side by side, as streams.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from shared.errors import Permanent
from shared.image import base_image, debian, java, python, tar
from shared.image import codec as codecs
from shared.image.lanes import processors
from shared.image.oci import config_document, labels, manifest_document
from shared.image.plan import Config, Inputs, Layer, Plan, Ready
from shared.image.publish import Source, publish
from shared.image.spec import sorted_inputs
from shared.image.store import LayerStore
from shared.model.image import BuiltImage, BuiltLayer, Codec, DebianBase, ImageLock, ImageSpec
from shared.model.value import sha256

_AT_ONCE = 2
"""Layers, at most: with zstd, each has up to 100 MiB in flight, and each uses several CPUs anyway."""


@dataclass(frozen=True)
class Progress:
    """Something happened to a layer."""

    layer: str
    state: Literal["building", "built", "cached", "taken over"]
    number: int
    """Of the layer, from 1 on."""
    of: int


def plan(spec: ImageSpec, spec_path: Path, lock: ImageLock, inputs: Inputs) -> Plan:
    """The layers and the configuration that follow from a spec of any kind. `spec_path`: sources lie relative to it.

    Permanent if the lock is another image's, or if the sources or an input are not what the kind needs.
    """
    if lock.image != spec.name:
        raise Permanent(
            f"The lock is of the image {lock.image}, the spec of {spec.name}; lock the spec anew."
        )
    source = spec_path.parent / spec.source
    base: tuple[Layer | Ready, ...]
    env: Mapping[str, str] = {}
    if isinstance(spec.base, DebianBase):
        base = (debian.base_layer(spec, lock, inputs),)
    else:
        taken = base_image.base_image(lock, inputs)
        base, env = taken.layers, taken.env
    kind = python if spec.kind == "python" else java
    return Plan((*base, *kind.layers(spec, source, lock, inputs)), _said(kind.config(spec), spec, env))


def _said(config: Config, spec: ImageSpec, env: Mapping[str, str]) -> Config:
    """The kind's configuration, with the base image's environment over its defaults (its Java may lie anywhere), and
    over both what the spec says in its own words and the labels of its launch policy."""
    return replace(
        config,
        cmd=spec.args or config.cmd,
        env={**config.env, **env, **spec.env},
        labels={**config.labels, **labels(spec)},
        ports=spec.ports or config.ports,
        user=spec.user,
    )


def build(
    plan: Plan,
    spec: ImageSpec,
    lock: ImageLock,
    out: Path,
    codec: Codec,
    cache: Path,
    progress: Callable[[Progress], None] = lambda _: None,
) -> BuiltImage:
    """Make `out` the OCI image layout of `plan`. `cache`: of layers, may be empty, shared by all builds.

    `progress` is called on the building threads, one call at a time. Permanent with one sentence if it cannot be built;
    `out` then holds the image that it held before.
    """
    try:
        return _Build(plan, LayerStore(cache), codec, progress).run(spec, lock, out)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise Permanent(
            f"The image {spec.name} cannot be written: {error.strerror or error}{where}."
        ) from error


class _Stopped(Exception):
    """Another layer failed: this one is not needed any more."""


class _Build:
    def __init__(
        self, plan: Plan, store: LayerStore, codec: Codec, progress: Callable[[Progress], None]
    ) -> None:
        self._plan, self._store, self._codec, self._progress = plan, store, codec, progress
        self._telling = threading.Lock()
        self._stop = threading.Event()

    def run(self, spec: ImageSpec, lock: ImageLock, out: Path) -> BuiltImage:
        layers = self._layers()
        config = config_document(self._plan.config, layers)
        manifest = manifest_document(config, layers)
        sources = {
            built: self._source(number, layer, built)
            for number, (layer, built) in enumerate(zip(self._plan.layers, layers, strict=True), 1)
        }
        publish(out, manifest, config, sources, self._store)
        return BuiltImage(
            name=spec.name,
            manifest=sha256(manifest),
            config=sha256(config),
            layers=tuple(layers),
            lock=lock.model_copy(update={"inputs": sorted_inputs(lock)}).digest,
            codec=self._codec,
        )

    def _layers(self) -> list[BuiltLayer]:
        with ThreadPoolExecutor(min(processors(), _AT_ONCE)) as pool:
            running = [pool.submit(self._layer, n, layer) for n, layer in enumerate(self._plan.layers, 1)]
            try:
                wait(running, return_when=FIRST_EXCEPTION)
            finally:
                self._stop.set()  # for those that run still: one has failed, or the user has had enough
                pool.shutdown(cancel_futures=True)
            done = [each for each in running if not each.cancelled()]
            for failure in [each.exception() for each in done]:
                if failure and not isinstance(failure, _Stopped):
                    raise failure
            self._stop.clear()  # publishing may find that a layer has to be built anew
            return [each.result() for each in running]

    def _layer(self, number: int, layer: Layer | Ready) -> BuiltLayer:
        if isinstance(layer, Ready):
            self._tell(number, layer.name, "taken over")
            return _ready(layer)
        found = self._store.find(layer.name, layer.key, self._codec)
        if found:
            self._tell(number, layer.name, "cached")
            return found
        return self._make(number, layer)

    def _make(self, number: int, layer: Layer) -> BuiltLayer:
        self._tell(number, layer.name, "building")
        with self._store.temporary() as file:
            written = codecs.write(self._until_stopped(tar.blocks(layer.tree())), self._codec, file.stream)
            built = self._store.keep(layer.name, layer.key, self._codec, file, written)
        self._tell(number, layer.name, "built")
        return built

    def _source(self, number: int, layer: Layer | Ready, built: BuiltLayer) -> Source:
        def source(again: bool) -> Path:
            """The cache's blob, built anew if it turned out to be damaged."""
            if isinstance(layer, Ready):
                return layer.blob
            if again:
                self._store.drop(built.digest)
                self._make(number, layer)
            return self._store.blob(built.digest)

        return source

    def _until_stopped(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        for block in blocks:
            if self._stop.is_set():
                raise _Stopped
            yield block

    def _tell(
        self, number: int, name: str, state: Literal["building", "built", "cached", "taken over"]
    ) -> None:
        with self._telling:
            self._progress(Progress(name, state, number, len(self._plan.layers)))


def _ready(layer: Ready) -> BuiltLayer:
    media_type = codecs.oci_type(layer.media_type)
    if not codecs.is_layer(media_type):
        raise Permanent(
            f"The layer {layer.name} has the media type {layer.media_type}, which cannot be taken over."
        )
    return BuiltLayer(
        name=layer.name,
        digest=layer.digest,
        diff_id=layer.diff_id,
        size=layer.blob.stat().st_size,
        media_type=media_type,
    )
