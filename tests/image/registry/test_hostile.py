"""Registries that lie about bodies, and one that resumes: each gets its sentence, none gets what is not its own."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.image import registry_parallel
from tests.image.registry.hostile import MB, client, filled, place, refused
from tests.image.registry.scripted import Handler, Scripted
from tests.image.registry.support import digest_of, encoded, make_image


def test_it_resumes_where_it_can(hostile: Scripted, tmp_path: Path) -> None:
    image = make_image(tmp_path, os.urandom(6 * MB))
    hostile.cut_after = [2 * MB, 3 * MB]
    assert client().push(image.layout, place(hostile)).digest == image.digest
    small = len(image.manifest) + sum(len(blob) for blob in image.blobs.values()) - 6 * MB
    assert hostile.received == 6 * MB + small  # not a byte twice
    assert len(hostile.uploads) == 2


def test_a_registry_that_does_not_go_on(hostile: Scripted, tmp_path: Path) -> None:
    image = make_image(tmp_path, os.urandom(3 * MB))
    hostile.cut_after = [2 * MB]

    @hostile.lie("PATCH", "/blobs/uploads/")
    def _(handler: Handler) -> bool:
        if handler.headers["Content-Range"].startswith("0-"):
            return True
        handler.body()
        handler.say(416)
        return False

    assert client().push(image.layout, place(hostile)).digest == image.digest


@pytest.mark.parametrize("status", [400, 404, 416])
def test_a_session_that_ends_after_it_was_asked_about(hostile: Scripted, tmp_path: Path, status: int) -> None:
    """A registry may notice late that a request broke off, and forget its session only then."""
    image = make_image(tmp_path, os.urandom(900_000))
    hostile.cut_after = [800_000]
    ended: list[str] = []

    @hostile.lie("PUT", "/blobs/uploads/")
    def _(handler: Handler) -> bool:
        resumed = 1000 < int(handler.headers["Content-Length"]) < 900_000
        if ended or not resumed:
            return True
        ended.append(handler.path)
        handler.body()
        handler.say(status)
        return False

    assert client().push(image.layout, place(hostile)).digest == image.digest
    assert len(ended) == 1


def test_an_upload_whose_token_ran_out_goes_on_with_a_new_one(
    hostile: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_parallel, "_PARALLEL", 1)  # no other blob asks for its token just then
    image = make_image(tmp_path, os.urandom(3 * MB))
    hostile.token = "first"

    @hostile.lie("PATCH", "/blobs/uploads/")
    def _(handler: Handler) -> bool:
        if int(handler.headers["Content-Range"].partition("-")[0]) >= MB:
            hostile.token = "second"
        return True

    assert client(chunk=MB).push(image.layout, place(hostile)).digest == image.digest
    assert hostile.asked_with("Bearer second")


def test_a_wrong_digest_header(hostile: Scripted, tmp_path: Path) -> None:
    image = make_image(tmp_path)
    filled(hostile, image)

    @hostile.lie("GET", "/manifests/")
    def _(handler: Handler) -> bool:
        kind = "application/vnd.oci.image.manifest.v1+json"
        headers = {"Docker-Content-Digest": digest_of(b"other"), "Content-Type": kind}
        handler.say(200, image.manifest, headers)
        return False

    refused(
        client(), place(hostile).at(image.digest), tmp_path / "to", "says that it is sha256:.*nothing of it"
    )
    with pytest.raises(Permanent, match=r"and has the Docker-Content-Digest sha256:.* there: it changed the"):
        client().push(image.layout, place(hostile))


def test_other_bytes_than_were_asked_for(hostile: Scripted, tmp_path: Path) -> None:
    image, changed = make_image(tmp_path, name="one"), make_image(tmp_path, name="other")
    reference = filled(hostile, image)
    layer = max(image.blobs, key=lambda digest: len(image.blobs[digest]))
    hostile.blobs[layer] = bytes(len(image.blobs[layer]))
    refused(client(), reference, tmp_path / "to", f"and not the expected {layer}; nothing of it was kept")
    kind = hostile.manifests[image.digest][0]
    hostile.manifests[image.digest] = (kind, changed.manifest)
    refused(client(), reference, tmp_path / "to", f"was asked for {image.digest}; nothing of it was kept")
    hostile.blobs |= image.blobs
    hostile.lie("PUT", "/manifests/")(lambda handler: bool(handler.body()) and handler.say(201) is not None)
    with pytest.raises(Permanent, match="it changed the image, or somebody else pushed over it"):
        client().push(image.layout, place(hostile))


@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
def test_an_endless_body(hostile: Scripted, tmp_path: Path, path: str) -> None:
    image = make_image(tmp_path)
    reference = filled(hostile, image)

    @hostile.lie("GET", path)
    def _(handler: Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        handler.end_headers()
        handler.close_connection = True
        while True:  # until the client hangs up
            handler.wfile.write(bytes(1 << 16))

    refused(
        client(), reference, tmp_path / "to", r"answers with more than \d+ bytes|sends more than \d+ bytes"
    )


def test_an_endless_refusal(hostile: Scripted, tmp_path: Path) -> None:
    @hostile.lie("GET", "/manifests/")
    def _(handler: Handler) -> bool:
        handler.send_response(403)
        handler.end_headers()
        handler.close_connection = True
        while True:
            handler.wfile.write(bytes(1 << 16))

    refused(client(), place(hostile).at(digest_of(b"")), tmp_path / "to", "answers with more than")


def test_an_upload_that_leads_elsewhere(hostile: Scripted, other: Scripted, tmp_path: Path) -> None:
    image = make_image(tmp_path)
    location = {"Location": f"http://{other.host}/v2/some/service/blobs/uploads/0"}
    hostile.lie("POST", "/blobs/uploads/")(lambda handler: handler.say(202, headers=location) is not None)
    with pytest.raises(Permanent, match=r"sends an upload on to .* it is not the registry itself"):
        client().push(image.layout, place(hostile))
    assert not other.asked


def test_two_sizes_of_one_blob(hostile: Scripted, tmp_path: Path) -> None:
    manifest = json.loads(make_image(tmp_path).manifest)
    manifest["layers"].append({**manifest["layers"][0], "size": 5})
    body = encoded(manifest)
    hostile.manifests[digest_of(body)] = ("application/vnd.oci.image.manifest.v1+json", body)
    refused(client(), place(hostile).at(digest_of(body)), tmp_path / "to", "two sizes")


def test_a_damaged_blob_in_the_registry_is_seen_by_its_size(hostile: Scripted, tmp_path: Path) -> None:
    image = make_image(tmp_path)
    hostile.blobs |= {digest: data[:-1] for digest, data in image.blobs.items()}
    with pytest.raises(Permanent, match="its copy is damaged"):
        client().push(image.layout, place(hostile))


def test_a_failure_ends_the_other_blobs(hostile: Scripted, tmp_path: Path) -> None:
    """Four at once, one refused: what drips is not waited for."""
    image = make_image(tmp_path, *(os.urandom(1000 + n) for n in range(6)))
    reference = filled(hostile, image)
    bad = next(iter(image.blobs))

    @hostile.lie("GET", "/blobs/")
    def _(handler: Handler) -> bool:
        if handler.path.endswith(bad):
            handler.say(403)
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", "2000")
        handler.end_headers()
        for _ in range(2000):
            time.sleep(0.01)
            handler.wfile.write(b"x")
        return False

    refused(client(), reference, tmp_path / "to", "403")
    assert len({path for _, path, _ in hostile.asked if "/blobs/" in path}) <= 5
