"""A base image by digest, from a registry on loopback: locked, fetched, and taken over byte for byte."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Permanent
from shared.image import base_image, lock
from shared.image.inputs import Cache
from shared.image.registry import Registry
from shared.image.registry_logins import nobody
from shared.model.image import ImageLock, ImageSpec, LockedInput
from tests.image.inputs import debs
from tests.image.inputs.conftest import World, of
from tests.upstream.support import Reply, Web, digest

OCI = "application/vnd.oci.image."
MANIFEST, INDEX = f"{OCI}manifest.v1+json", f"{OCI}index.v1+json"


class Image:
    """An image of two layers in a registry."""

    def __init__(self, web: Web, **config: Any) -> None:
        self.web = web
        self.tars = [debs.tar([("a", b"1")]), debs.tar([("b", b"2")])]
        self.layers = [gzip.compress(each, 1, mtime=0) for each in self.tars]
        document = {
            "os": "linux",
            "architecture": "amd64",
            "config": {"Env": ["PATH=/usr/bin:/bin", "EMPTY=", "A=b=c"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(each) for each in self.tars]},
        }
        self.config = json.dumps({**document, **config}).encode()
        self.manifest = self.document()
        for blob in (self.config, *self.layers):
            web.routes[f"/v2/team/base/blobs/{digest(blob)}"] = Reply(blob)
        self.serve(self.manifest, MANIFEST)
        self.host = web.url.removeprefix("http://")

    def document(self, **more: Any) -> bytes:
        content = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._descriptor(f"{OCI}config.v1+json", self.config),
            "layers": [self._descriptor(f"{OCI}layer.v1.tar+gzip", each) for each in self.layers],
        }
        return json.dumps({**content, **more}).encode()

    def serve(self, body: bytes, media_type: str) -> str:
        self.web.routes[f"/v2/team/base/manifests/{digest(body)}"] = Reply(body, content_type=media_type)
        return digest(body)

    def index(self) -> str:
        entry = {
            **self._descriptor(MANIFEST, self.manifest),
            "platform": {"os": "linux", "architecture": "amd64"},
        }
        other = {
            **entry,
            "digest": "sha256:" + "1" * 64,
            "platform": {"os": "linux", "architecture": "arm64"},
        }
        content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [other, entry]}
        return self.serve(json.dumps(content).encode(), INDEX)

    def _descriptor(self, media_type: str, body: bytes) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": digest(body), "size": len(body)}

    def lock(self, name: str = "") -> ImageLock:
        reference = f"{self.host}/team/base@{name or digest(self.manifest)}"
        inputs = tuple(base_image.locked(reference, Registry(nobody)))
        return ImageLock(image="mine", resolved_from="sha256:" + "0" * 64, inputs=inputs)


@pytest.fixture
def image(web: Web) -> Image:
    return Image(web)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", images=Registry(nobody))


def test_every_blob_is_locked_and_taken_over(image: Image, cache: Cache) -> None:
    locked = image.lock()
    assert [each.name for each in locked.inputs] == ["manifest", "config", "layer-001", "layer-002"]
    assert {each.role for each in locked.inputs} == {"image"}
    base = base_image.base_image(locked, cache.path)
    assert [layer.blob.read_bytes() for layer in base.layers] == image.layers
    assert [layer.digest for layer in base.layers] == [digest(each) for each in image.layers]
    assert [layer.diff_id for layer in base.layers] == [digest(each) for each in image.tars]
    assert {layer.media_type for layer in base.layers} == {f"{OCI}layer.v1.tar+gzip"}
    assert base.env == {"PATH": "/usr/bin:/bin", "EMPTY": "", "A": "b=c"}


def test_a_warm_cache_needs_no_registry(image: Image, cache: Cache) -> None:
    locked = image.lock()
    cache.prefetch(locked.inputs)
    image.web.routes.clear()
    asked = len(image.web.requests)
    base_image.base_image(locked, cache.path)
    assert len(image.web.requests) == asked


def test_the_order_of_the_lock_means_nothing(image: Image, cache: Cache) -> None:
    locked = image.lock()
    turned = locked.model_copy(update={"inputs": locked.inputs[::-1]})
    assert base_image.base_image(turned, cache.path) == base_image.base_image(locked, cache.path)


def test_of_an_index_our_part_is_locked(image: Image, cache: Cache) -> None:
    locked = image.lock(image.index())
    assert locked.inputs[0].sha256 == digest(image.manifest)
    assert len(base_image.base_image(locked, cache.path).layers) == 2


def test_a_registry_that_changes_a_blob_is_refused(image: Image, cache: Cache) -> None:
    locked = image.lock()
    for each in locked.inputs:
        path = each.url.removeprefix(image.web.url)
        before = image.web.routes[path]
        assert isinstance(before, Reply)
        spoilt = bytearray(before.body)
        spoilt[len(spoilt) // 2] ^= 1
        image.web.routes[path] = Reply(bytes(spoilt), content_type=before.content_type)
        with pytest.raises(Permanent):
            cache.path(each)
        image.web.routes[path] = before
        cache.path(each)


def without(locked: ImageLock, name: str) -> ImageLock:
    return locked.model_copy(update={"inputs": tuple(each for each in locked.inputs if each.name != name)})


@pytest.mark.parametrize("name", ["manifest", "config", "layer-001", "layer-002"])
def test_a_lock_that_lacks_a_part_is_refused(name: str, image: Image, cache: Cache) -> None:
    with pytest.raises(Permanent, match=r"no whole base image|do not belong together"):
        base_image.base_image(without(image.lock(), name), cache.path)


def test_swapped_layers_are_refused(image: Image, cache: Cache) -> None:
    manifest, config, one, two = image.lock().inputs
    swapped = (
        manifest,
        config,
        two.model_copy(update={"name": one.name}),
        one.model_copy(update={"name": two.name}),
    )
    with pytest.raises(Permanent, match="do not belong together"):
        base_image.base_image(image.lock().model_copy(update={"inputs": swapped}), cache.path)


def test_the_configuration_of_another_image_is_refused(web: Web, cache: Cache) -> None:
    locked, other = Image(web).lock(), Image(web, author="somebody").lock()
    mixed = (locked.inputs[0], other.inputs[1], *locked.inputs[2:])
    with pytest.raises(Permanent, match="do not belong together"):
        base_image.base_image(locked.model_copy(update={"inputs": mixed}), cache.path)


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "other machine": ({"architecture": "arm64"}, "not for linux/amd64"),
    "too few layers": ({"rootfs": {"diff_ids": []}}, "do not belong together"),
    "no layers": ({"rootfs": None}, "do not belong together"),
    "odd layers": ({"rootfs": {"diff_ids": ["sha256:x", 7]}}, "do not belong together"),
    "odd environment": ({"config": {"Env": ["X"]}}, "no NAME=VALUE"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_configurations_that_do_not_fit(case: str, web: Web, cache: Cache) -> None:
    change, words = UNFIT[case]
    with pytest.raises(Permanent, match=words):
        base_image.base_image(Image(web, **change).lock(), cache.path)


@pytest.mark.parametrize("which", ["manifest", "config"])
@pytest.mark.parametrize(
    "text", ["[" * 200_000, "7", "[]", "{", ""], ids=["deep", "number", "list", "open", "empty"]
)
def test_documents_that_are_none(which: str, text: str, image: Image, cache: Cache, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt"
    spoilt.write_text(text)
    with pytest.raises(Permanent, match="The base image"):
        base_image.base_image(image.lock(), lambda each: spoilt if each.name == which else cache.path(each))


@pytest.mark.parametrize("config", [{"config": None}, {"config": {"Env": None}}, {"config": {}}])
def test_a_base_without_environment(config: dict[str, Any], web: Web, cache: Cache) -> None:
    assert base_image.base_image(Image(web, **config).lock(), cache.path).env == {}


def test_addresses_that_are_no_blob_are_refused(image: Image, tmp_path: Path) -> None:
    good = image.lock().inputs[1]
    for url in ("https://x.org/file", good.url.replace("/blobs/", "/tags/"), good.url[:-1] + "0"):
        wanted = LockedInput(role="image", name="config", url=url, sha256=good.sha256, size=good.size)
        with pytest.raises(Permanent, match="which is no blob's"):
            base_image.fetch(wanted, tmp_path / "x", Registry(nobody))


def test_a_spec_with_such_a_base_is_resolved(image: Image, world: World) -> None:
    world.package("jdk", "17")
    spec = ImageSpec.check(
        {
            "name": "mine",
            "kind": "java",
            "source": "src",
            "base": {"image": f"{image.host}/team/base@{digest(image.manifest)}"},
            "java": {"main_class": "a.B", "jdk": ["jdk"]},
        },
        "The spec",
    )
    made = lock.resolve(spec, world.sources())
    assert [(each.role, each.name) for each in made.inputs] == [
        ("image", "config"),
        ("image", "layer-001"),
        ("image", "layer-002"),
        ("image", "manifest"),
        ("jdk", "jdk"),
    ]
    assert of(made.inputs, "image")["config"].sha256 == digest(image.config)
