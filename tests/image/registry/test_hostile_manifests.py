"""Manifests, descriptors and references that are none, and those that may pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Permanent, Transient
from shared.image.registry import Reference
from tests.image.registry.hostile import client, filled, place, refused
from tests.image.registry.scripted import Handler, Scripted
from tests.image.registry.support import descriptor, digest_of, encoded, make_image


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass(hostile: Scripted, tmp_path: Path, status: int) -> None:
    image = make_image(tmp_path)
    reference, left = filled(hostile, image), [2]

    @hostile.lie("GET", "/v2/")
    def _(handler: Handler) -> bool:
        left[0] -= 1
        if left[0] >= 0:
            handler.say(status)
        return left[0] < 0

    assert client().pull(reference, tmp_path / "to").manifest == image.digest
    left[0] = 100
    with pytest.raises(Transient, match=rf"did not succeed for now \({status}\)"):
        client().pull(reference, tmp_path / "other")


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", {}, "only images of OCI or Docker"),
        ("text/html", {}, "only images of OCI or Docker"),
        (None, {"schemaVersion": 1}, "no manifest of schema version 2"),
        (None, {"mediaType": "application/vnd.oci.image.index.v1+json"}, "says itself that it is of another"),
        (None, {"layers": []}, "no list of 1 to 500 layers"),
        (None, {"layers": [{}] * 501}, "no list of 1 to 500 layers"),
        (None, {"layers": [{"mediaType": "application/x-foreign"}]}, "layer 1 has the media type"),
        (None, {"config": {"digest": "sha512:00"}}, "configuration has the media type"),
        (None, {"config": None}, "configuration: there is no descriptor"),
    ],
)
def test_manifests_that_are_none(
    hostile: Scripted, tmp_path: Path, kind: str | None, change: dict[str, Any], words: str
) -> None:
    image = make_image(tmp_path)
    body = encoded({**json.loads(image.manifest), **change})
    named = kind or "application/vnd.oci.image.manifest.v1+json"
    hostile.manifests[digest_of(body)] = (named, body)
    refused(client(), place(hostile).at(digest_of(body)), tmp_path / "to", words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"digest": "sha256:XY"}, "has no sha256 digest"),
        ({"digest": "../../etc/passwd"}, "has no sha256 digest"),
        ({"size": -1}, "has no size"),
        ({"size": True}, "has no size"),
        ({"size": "10"}, "has no size"),
    ],
)
def test_descriptors_that_are_none(
    hostile: Scripted, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    manifest = json.loads(make_image(tmp_path).manifest)
    manifest["layers"][0] |= change
    body = encoded(manifest)
    hostile.manifests[digest_of(body)] = ("application/vnd.oci.image.manifest.v1+json", body)
    refused(client(), place(hostile).at(digest_of(body)), tmp_path / "to", words)


def test_an_index_that_misstates_its_manifest(hostile: Scripted, tmp_path: Path) -> None:
    image = make_image(tmp_path)
    filled(hostile, image)
    entry = {
        **descriptor(image.manifest, "application/vnd.oci.image.manifest.v1+json"),
        "size": 5,
        "platform": {"os": "linux", "architecture": "amd64"},
    }
    kind = "application/vnd.oci.image.index.v1+json"
    body = encoded({"schemaVersion": 2, "mediaType": kind, "manifests": [entry]})
    hostile.manifests["multi"] = (kind, body)
    refused(
        client(),
        Reference(hostile.host, "some/service", tag="multi"),
        tmp_path / "to",
        "not the size and type",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("service:v1", "host of the image"),
        ("team/service", "host of the image"),
        ("Registry.example/service", "host"),
        ("registry.example:0/service", "host"),
        ("registry.example:99999/service", "host"),
        ("registry.example/Service", "repository"),
        ("registry.example/a//b", "repository"),
        ("registry.example/../b", "repository"),
        ("registry.example/b:", "tag"),
        ("registry.example/b:-x", "tag"),
        ("registry.example/b@sha256:12", "digest"),
        ("registry.example/b@", "digest"),
        ("https://registry.example/b", "host"),
        ("registry.example/b?x=y", "repository"),
        ("x" * 600, "at most 512"),
        ("", "host"),
    ],
)
def test_references_that_are_none(text: str, words: str) -> None:
    with pytest.raises(Permanent, match=f"(?i){words}") as caught:
        Reference.parse(text)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("us-docker.pkg.dev/p/r/i:v1", "https://us-docker.pkg.dev"),
        ("registry.example:5000/a_b/c__d-e.f", "https://registry.example:5000"),
        ("localhost:5000/x:y", "http://localhost:5000"),
        ("127.0.0.1:80/x", "http://127.0.0.1:80"),
        ("[::1]:80/x", "http://[::1]:80"),
        ("10.0.0.1:80/x", "https://10.0.0.1:80"),
        ("localhost.example/x", "https://localhost.example"),
        (f"registry.example/x:t@{digest_of(b'')}", "https://registry.example"),
    ],
)
def test_references(text: str, base: str) -> None:
    reference = Reference.parse(text)
    assert (str(reference), reference.base) == (text, base)
