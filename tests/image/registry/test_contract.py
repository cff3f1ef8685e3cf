"""What a push and a pull promise, on Debian's docker-registry and on our Artifact Registry alike."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from shared.errors import Permanent, Transient
from shared.image.registry import Reference, Registry, read_layout
from shared.image.registry_auth import Login
from shared.image.registry_logins import nobody
from tests.image.registry.support import (
    INDEX,
    MANIFEST,
    Image,
    Proxy,
    Target,
    descriptor,
    digest_of,
    encoded,
    make_image,
)

BIG = 6 << 20


def files(layout: Path) -> dict[str, bytes]:
    return {str(path.relative_to(layout)): path.read_bytes() for path in layout.rglob("*") if path.is_file()}


def session(target: Target) -> httpx.Client:
    assert target.login
    return httpx.Client(
        base_url=f"http://{target.host}/v2/{target.prefix}service/",
        auth=(target.login.user, target.login.password()),
        trust_env=False,
    )


def test_there_and_back(target: Target, tmp_path: Path) -> None:
    image = make_image(tmp_path, os.urandom(BIG), os.urandom(300), b"")
    registry = target.registry()
    tagged = replace(target.place(), tag="v1")
    told: list[tuple[int, int, str]] = []
    pushed = registry.push(image.layout, tagged, lambda *each: told.append(each))
    assert (pushed.digest, pushed.blobs_sent, pushed.blobs_there) == (image.digest, 4, 0)
    assert str(pushed.reference) == f"{target.place()}@{image.digest}"
    total = sum(map(len, image.blobs.values()))
    assert told[-1][:2] == (total, total)
    assert pushed.bytes_sent == total
    for number, reference in enumerate((pushed.reference, tagged)):
        pulled = registry.pull(reference, tmp_path / f"back-{number}")
        assert (pulled.manifest, pulled.index) == (image.digest, None)
        assert files(pulled.layout) == files(image.layout)
    with session(target) as client:
        one = client.get("manifests/v1", headers={"Accept": MANIFEST})
        assert (one.content, one.headers["content-type"]) == (image.manifest, MANIFEST)
        assert client.get("tags/list").json()["tags"] == ["v1"]


def test_nothing_is_sent_twice(target: Target, proxy: Proxy, tmp_path: Path) -> None:
    shared, own = os.urandom(BIG), os.urandom(100_000)
    first = make_image(tmp_path, shared, own, shared, shared, name="first")
    place, registry = target.place(host=proxy.host), target.registry()
    assert registry.push(first.layout, place).blobs_sent == 3
    assert proxy.forwarded < BIG + 300_000
    before = proxy.forwarded
    again = registry.push(first.layout, replace(place, tag="again"))
    assert (again.blobs_sent, again.blobs_there) == (0, 3)
    second = make_image(tmp_path, shared, b"a changed application", name="second")
    assert registry.push(second.layout, place).bytes_sent < 1000
    assert proxy.forwarded - before < 50_000


@pytest.mark.parametrize("cuts", [[BIG // 2], [BIG // 2] * 3, [BIG // 3, BIG // 2, BIG // 4]])
def test_broken_connections(target: Target, proxy: Proxy, tmp_path: Path, cuts: list[int]) -> None:
    layer = os.urandom(BIG)
    image = make_image(tmp_path, layer)
    proxy.cuts = list(cuts)
    pushed = target.registry().push(image.layout, target.place(host=proxy.host))
    assert (pushed.digest, proxy.broken) == (image.digest, len(cuts))
    assert files(target.registry().pull(pushed.reference, tmp_path / "back").layout) == files(image.layout)


def test_a_connection_that_breaks_in_the_last_request(target: Target, proxy: Proxy, tmp_path: Path) -> None:
    image = make_image(tmp_path, os.urandom(900_000))
    proxy.cuts = [800_000]
    assert target.registry().push(image.layout, target.place(host=proxy.host)).digest == image.digest
    assert proxy.broken == 1


def test_a_registry_that_always_breaks_off(target: Target, proxy: Proxy, tmp_path: Path) -> None:
    image = make_image(tmp_path, os.urandom(BIG))
    proxy.cuts = [1000] * 1000
    with pytest.raises(Transient, match=r"^Pushing sha256:[0-9a-f]{64} broke off|^Looking for .* broke off"):
        target.registry(attempts=2).push(image.layout, target.place(host=proxy.host))


def test_a_broken_pull_goes_on(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = make_image(tmp_path, os.urandom(BIG))
    target.registry().push(image.layout, target.place())
    real, broken = httpx.Response.iter_raw, []

    def breaking(self: httpx.Response, chunk_size: int | None = None) -> object:
        passed = 0
        for chunk in real(self, chunk_size):
            yield chunk
            passed += len(chunk)
            if passed > BIG // 3 and len(broken) < 2:
                broken.append(self.headers.get("content-range"))
                raise httpx.ReadError("broken by the test")

    monkeypatch.setattr(httpx.Response, "iter_raw", breaking)
    pulled = target.registry().pull(target.place().at(image.digest), tmp_path / "back")
    assert files(pulled.layout) == files(image.layout)
    assert broken[0] is None
    assert broken[1].endswith(f"-{BIG - 1}/{BIG}")


def put_index(target: Target, *entries: dict[str, object]) -> str:
    body = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    with session(target) as client:
        answer = client.put("manifests/multi", content=body, headers={"Content-Type": INDEX})
        assert answer.status_code == 201, answer.text
    return digest_of(body)


def for_platform(image: Image, os_name: str, architecture: str) -> dict[str, object]:
    platform = {"os": os_name, "architecture": architecture}
    return {**descriptor(image.manifest, MANIFEST), "platform": platform}


def test_an_index_leads_to_its_amd64_image(target: Target, tmp_path: Path) -> None:
    images = [make_image(tmp_path, name=name) for name in ("amd64", "arm64", "attestation")]
    for image in images:
        target.registry().push(image.layout, target.place())
    kinds = (("linux", "amd64"), ("linux", "arm64"), ("unknown", "unknown"))
    index = put_index(
        target, *(for_platform(image, *kind) for image, kind in zip(images, kinds, strict=True))
    )
    for reference in (replace(target.place(), tag="multi"), target.place().at(index)):
        pulled = target.registry().pull(reference, tmp_path / f"back-{reference.tag}")
        assert (pulled.manifest, pulled.index) == (images[0].digest, index)
        assert files(pulled.layout) == files(images[0].layout)


def test_an_index_without_one_image_for_us(target: Target, tmp_path: Path) -> None:
    image, other = make_image(tmp_path, name="one"), make_image(tmp_path, name="other")
    for each in (image, other):
        target.registry().push(each.layout, target.place())
    put_index(target, for_platform(image, "linux", "arm64"))
    place = replace(target.place(), tag="multi")
    with pytest.raises(Permanent, match="an index with 0 images for linux/amd64"):
        target.registry().pull(place, tmp_path / "back")
    put_index(target, for_platform(image, "linux", "amd64"), for_platform(other, "linux", "amd64"))
    with pytest.raises(Permanent, match="an index with 2 images for linux/amd64"):
        target.registry().pull(place, tmp_path / "back")


def test_a_damaged_layout_is_not_pushed(target: Target, proxy: Proxy, tmp_path: Path) -> None:
    layer = os.urandom(BIG)
    image = make_image(tmp_path, layer)
    image.blob(digest_of(layer)).write_bytes(layer[:-1] + bytes([layer[-1] ^ 1]))
    with pytest.raises(Permanent, match="build the image again"):
        target.registry().push(image.layout, target.place(host=proxy.host))
    assert proxy.forwarded < 20_000
    with pytest.raises(Permanent, match="has no such thing"):
        target.registry().pull(target.place().at(image.digest), tmp_path / "back")


def test_pushed_as_another_digest(target: Target, tmp_path: Path) -> None:
    image = make_image(tmp_path)
    with pytest.raises(Permanent, match="which it should be pushed as"):
        target.registry().push(image.layout, target.place().at(digest_of(b"")))


def test_a_tag_that_moves(target: Target, tmp_path: Path) -> None:
    place = replace(target.place(), tag="latest")
    for name in ("one", "two"):
        image = make_image(tmp_path, name=name)
        target.registry().push(image.layout, place)
        assert target.registry().manifest(place).digest == image.digest


def test_without_and_with_wrong_credentials(target: Target, tmp_path: Path) -> None:
    image = make_image(tmp_path)
    reference = target.place().at(image.digest)
    stranger = Login(target.login.user if target.login else "", lambda: "guess")
    for registry in (Registry(logins=nobody), Registry(logins=lambda _: stranger)):
        with pytest.raises(Permanent, match=r"does not accept our credentials|does not take the credentials"):
            registry.push(image.layout, reference)
        with pytest.raises(Permanent, match="credentials"):
            registry.pull(reference, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_what_is_not_there(target: Target, tmp_path: Path) -> None:
    make_image(tmp_path)
    for reference in (target.place("absent").at(digest_of(b"")), replace(target.place(), tag="absent")):
        with pytest.raises(
            Permanent, match=r"Pulling .* failed \(404.*has no such thing; check the reference"
        ):
            target.registry().pull(reference, tmp_path / "back")
    with pytest.raises(Permanent, match="names no image: add"):
        target.registry().pull(target.place(), tmp_path / "back")


def test_the_place_must_be_free(target: Target, tmp_path: Path) -> None:
    image = make_image(tmp_path)
    reference = target.registry().push(image.layout, target.place()).reference
    taken = tmp_path / "taken"
    taken.mkdir()
    target.registry().pull(reference, taken)
    with pytest.raises(Permanent, match="is there already"):
        target.registry().pull(reference, taken)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_one_blob(target: Target, tmp_path: Path) -> None:
    layer = os.urandom(5000)
    image = make_image(tmp_path, layer)
    reference = target.registry().push(image.layout, target.place()).reference
    target.registry().pull_blob(reference, digest_of(layer), len(layer), tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == layer
    with pytest.raises(Permanent, match="more than 4999 bytes"):
        target.registry().pull_blob(reference, digest_of(layer), 4999, tmp_path / "short")
    with pytest.raises(Permanent, match="has 5000 bytes and not the expected 5001"):
        target.registry().pull_blob(reference, digest_of(layer), 5001, tmp_path / "long")
    assert not (tmp_path / "short").exists()


def test_an_image_beyond_the_limit(target: Target, tmp_path: Path) -> None:
    image = make_image(tmp_path)
    reference = target.registry().push(image.layout, target.place()).reference
    with pytest.raises(Permanent, match="more than the 100 that are taken"):
        target.registry(largest=100).pull(reference, tmp_path / "back")


def test_chunks(docker: Target, tmp_path: Path) -> None:
    image = make_image(tmp_path, os.urandom(BIG + 17))
    docker.registry(chunk=1 << 20).push(image.layout, docker.place())
    assert docker.registry().manifest(docker.place().at(image.digest)).digest == image.digest


def test_chunks_are_not_artifact_registrys(artifact: Target, tmp_path: Path) -> None:
    image = make_image(tmp_path, os.urandom(BIG))
    with pytest.raises(Permanent, match="416 UNSUPPORTED: Chunked uploads are not supported"):
        artifact.registry(chunk=1 << 20).push(image.layout, artifact.place())


def test_a_reader_may_pull_and_not_push(artifact: Target, tmp_path: Path) -> None:
    image = make_image(tmp_path)
    reference = artifact.registry().push(image.layout, artifact.place()).reference
    reader = Registry(logins=lambda _: artifact.reader)
    assert reader.pull(reference, tmp_path / "back").manifest == image.digest
    with pytest.raises(
        Permanent, match=r"403 DENIED: Permission .* the account that this runs as has not the"
    ):
        reader.push(make_image(tmp_path, name="other").layout, artifact.place())


def test_google_names_led_to_the_emulator(artifact: Target, tmp_path: Path) -> None:
    """As the local platform does it: the reference is the one of the cloud, the address is this machine's."""
    image = make_image(tmp_path)
    host = "us-central1-docker.pkg.dev"
    registry = artifact.registry(endpoints={host: f"http://{artifact.host}"})
    pushed = registry.push(image.layout, Reference(host, f"{artifact.prefix}service", tag="v1"))
    assert str(pushed.reference) == f"{host}/{artifact.prefix}service@{image.digest}"
    assert registry.pull(pushed.reference, tmp_path / "back").manifest == image.digest


def test_a_layout_of_two_images_is_refused(tmp_path: Path) -> None:
    image = make_image(tmp_path)
    entry = descriptor(image.manifest, MANIFEST)
    (image.layout / "index.json").write_bytes(encoded({"schemaVersion": 2, "manifests": [entry, entry]}))
    with pytest.raises(Permanent, match="does not name exactly one image"):
        read_layout(image.layout)
    with pytest.raises(Permanent, match="is no OCI layout"):
        read_layout(tmp_path)
