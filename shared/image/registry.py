"""Images to and from registries, over the OCI distribution protocol; each byte checked by who receives it.

https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md. A push leaves one bare manifest: no index, no
bill of materials, no provenance beside it, so that Confidential Space's `image_digest` is the manifest's. Checks:
1. Blobs that the registry has are not sent, nor is one twice, however many layers share it.
2. After a push the registry must give the very manifest back, by digest and by tag: its Docker-Content-Digest and the
   hash of the bytes that it sends are both the digest.
3. What is pulled has the digest that was asked for, and every blob the digest and size that the manifest says; only
   images of OCI and Docker's version 2 are taken, of limited size, never by a URL that a manifest names.
4. A layout appears at its place whole, or not at all.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from shared.errors import Permanent
from shared.image.registry_documents import (
    INDEXES,
    MANIFESTS,
    Descriptor,
    Manifest,
    choose,
    index_of,
    read_manifest,
)
from shared.image.registry_logins import Logins, known_logins
from shared.image.registry_parallel import Counter, Progress, each
from shared.image.registry_reference import Reference as Reference
from shared.image.registry_upload import Blob, upload
from shared.image.registry_wire import MANIFEST_LIMIT, Answer, Wire, digest_of
from shared.model.value import Digest, canonical, printable
from shared.upstream.download import Downloader

_CHUNK = 64 << 20
_GOOGLE = ("-docker.pkg.dev", "gcr.io")
_PARALLEL = 4
_ATTEMPTS = 5
_LARGEST = 32 * 1024**3
_ACCEPT = ", ".join(sorted(MANIFESTS | INDEXES))
LAYOUT = canonical({"imageLayoutVersion": "1.0.0"})


@dataclass(frozen=True)
class Pushed:
    """What a push came to. Sizes in bytes."""

    reference: Reference
    """By digest."""
    blobs_sent: int
    bytes_sent: int
    blobs_there: int

    @property
    def digest(self) -> Digest:
        return self.reference.digest


@dataclass(frozen=True)
class Pulled:
    """What a pull came to."""

    layout: Path
    manifest: Digest
    config: Digest
    index: Digest | None
    """Of the index that led to the manifest: what Confidential Space calls `image_digest` then."""


def _quiet(_done: int, _total: int, _what: str) -> None: ...


@dataclass(frozen=True)
class Registry:
    """Registries in general: by default with the credentials that this account has."""

    logins: Logins = known_logins
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Host to the address at which it is reached: an emulator's."""
    chunk: int | None = None
    """Bytes that one request of an upload carries at most, 0 for no limit; None: what the registry takes."""
    attempts: int = _ATTEMPTS
    largest: int = _LARGEST
    """Bytes of all blobs of an image that is pulled."""

    def push(self, layout: Path, reference: Reference, progress: Progress = _quiet) -> Pushed:
        """Push the one image of `layout`. Permanent or Transient if it cannot be, or does not come back the same."""
        manifest = read_layout(layout)
        if reference.digest not in ("", manifest.digest):
            raise Permanent(
                f"{layout} holds {manifest.digest} and not {reference.digest}, which it should be pushed as."
            )
        blobs = [Blob(one.digest, one.size, _blob(layout, one.digest)) for one in manifest.blobs]  # 1
        counter = Counter(sum(blob.size for blob in blobs), progress)
        chunk = self._chunk_for(reference.host)
        with self._wire(reference, "pull,push") as wire:

            def send(blob: Blob) -> bool:
                was_sent = upload(
                    wire, blob, chunk, self.attempts, lambda done: counter.at(blob.digest, done)
                )
                counter.at(blob.digest, blob.size)
                return was_sent

            sent = each(send, blobs, wire.abort)
            names = [manifest.digest, *filter(None, [reference.tag])]
            for name in names:
                self._put(wire, manifest, name)
            for name in names:
                self._confirm(wire, manifest, name, reference)  # 2
        sizes = [blob.size for blob, was_sent in zip(blobs, sent, strict=True) if was_sent]
        return Pushed(reference.at(manifest.digest), len(sizes), sum(sizes), len(blobs) - len(sizes))

    def pull(self, reference: Reference, to: Path, progress: Progress = _quiet) -> Pulled:
        """Make the layout `to`, which must not be there yet, of the image `reference`, or of its linux/amd64 part."""
        _check_place(to)
        with self._wire(reference, "pull") as wire:
            manifest, index = self._manifest(wire, reference)
            total = sum(one.size for one in manifest.blobs)
            if total > self.largest:  # 3
                raise Permanent(
                    f"{reference} has {total} bytes, more than the {self.largest} that are taken."
                )
            partial = _beside(to)
            try:
                blobs = partial / "blobs" / "sha256"
                blobs.mkdir(parents=True)
                counter = Counter(total, progress)

                def fetch(blob: Descriptor) -> None:
                    self._fetch(wire, blob, _blob(partial, blob.digest))
                    counter.at(blob.digest, blob.size)

                each(fetch, manifest.blobs, wire.abort)
                _blob(partial, manifest.digest).write_bytes(manifest.body)
                (partial / "oci-layout").write_bytes(LAYOUT)
                (partial / "index.json").write_bytes(index_of(manifest))
                partial.chmod(0o755)
                partial.replace(to)  # 4
            except OSError as error:
                raise Permanent(f"{to} cannot be written: {error.strerror or error}.") from error
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return Pulled(to, manifest.digest, manifest.config.digest, index)

    def manifest(self, reference: Reference) -> Manifest:
        """The checked manifest of an image, or of the linux/amd64 part of an index."""
        with self._wire(reference, "pull") as wire:
            return self._manifest(wire, reference)[0]

    def pull_blob(self, reference: Reference, digest: Digest, size: int, to: Path) -> None:
        """Write one blob of the repository, which has `size` bytes, to `to`."""
        with self._wire(reference, "pull") as wire:
            self._fetch(wire, Descriptor("", digest, size), to)

    def _wire(self, reference: Reference, actions: str) -> Wire:
        endpoint = self.endpoints.get(reference.host, "")
        return Wire(reference, actions, self.logins(reference.host), endpoint, self.attempts)

    def _chunk_for(self, host: str) -> int:
        """Google's takes no chunks (https://cloud.google.com/artifact-registry/docs/reference/docker-api)."""
        if self.chunk is not None:
            return self.chunk
        return 0 if host.endswith(_GOOGLE) else _CHUNK

    def _put(self, wire: Wire, manifest: Manifest, name: str) -> None:
        what = f"Pushing the manifest as {name}"
        found = wire.ask(
            "HEAD", wire.url(f"manifests/{name}"), what, headers={"Accept": _ACCEPT}, tolerated=(404,)
        )
        if found.status == 200 and found.headers.get("docker-content-digest") == manifest.digest:
            return
        headers = {"Content-Type": manifest.media_type}
        wire.ask("PUT", wire.url(f"manifests/{name}"), what, headers=headers, content=manifest.body)

    def _confirm(self, wire: Wire, manifest: Manifest, name: str, reference: Reference) -> None:
        """The registry has the manifest under `name`, unchanged (check 2)."""
        what = f"Reading {name} back from {reference.host}"
        url, headers = wire.url(f"manifests/{name}"), {"Accept": _ACCEPT}
        head = wire.ask("HEAD", url, what, headers=headers)
        back = wire.ask("GET", url, what, headers=headers, limit=MANIFEST_LIMIT)
        said = {
            "Docker-Content-Digest": back.headers.get("docker-content-digest"),
            "Docker-Content-Digest of HEAD": head.headers.get("docker-content-digest"),
            "content": digest_of(back.body),
        }
        for kind, digest in said.items():
            if digest != manifest.digest:
                raise Permanent(
                    f"{reference.host} was given {manifest.digest} as {name} and has the {kind} "
                    f"{printable(str(digest), 100)} there: it changed the image, or somebody else pushed over it."
                )
        if _media_type(back) != manifest.media_type:
            raise Permanent(f"{reference.host} gives {name} another media type than it was pushed with.")

    def _manifest(self, wire: Wire, reference: Reference) -> tuple[Manifest, Digest | None]:
        if not reference.name:
            raise Permanent(f"{reference} names no image: add :TAG or @sha256:DIGEST.")
        what = f"Pulling {reference}"
        body, media_type, digest = self._document(wire, reference.name, reference.digest, what)
        if media_type not in INDEXES:
            return read_manifest(body, media_type, digest, str(reference)), None
        chosen = choose(body, media_type, str(reference))
        inner, inner_type, _ = self._document(wire, chosen.digest, chosen.digest, what)
        if (len(inner), inner_type) != (chosen.size, chosen.media_type):
            raise Permanent(
                f"{reference}: the manifest {chosen.digest} has not the size and type that the index says."
            )
        return read_manifest(inner, inner_type, chosen.digest, str(reference.at(chosen.digest))), digest

    def _document(self, wire: Wire, name: str, wanted: str, what: str) -> tuple[bytes, str, str]:
        answer = wire.ask(
            "GET", wire.url(f"manifests/{name}"), what, headers={"Accept": _ACCEPT}, limit=MANIFEST_LIMIT
        )
        digest = digest_of(answer.body)
        said = answer.headers.get("docker-content-digest", digest)
        if digest != (wanted or digest) or said != digest:  # 3
            raise Permanent(
                f"{what}: the registry sends {digest}, says that it is {printable(said, 100)}, and was asked for "
                f"{wanted or name}; nothing of it was kept."
            )
        return answer.body, _media_type(answer), digest

    def _fetch(self, wire: Wire, blob: Descriptor, to: Path) -> None:
        downloads = Downloader(wire.client, max_size=self.largest, attempts=self.attempts)
        downloads.fetch(str(wire.url(f"blobs/{blob.digest}")), blob.digest, to, blob.size)  # 3


def push(layout: Path, reference: Reference, progress: Progress = _quiet) -> Digest:
    """Push the one image of `layout`; the digest under which the registry now has it."""
    return Registry().push(layout, reference, progress).digest


def pull(reference: Reference, to: Path, progress: Progress = _quiet) -> Path:
    """Make the layout `to` of an image."""
    return Registry().pull(reference, to, progress).layout


def read_layout(layout: Path) -> Manifest:
    """The manifest of a layout that holds one image; its blobs are not read."""
    try:
        entries = orjson.loads((layout / "index.json").read_bytes())["manifests"]
        (entry,) = entries
        digest, media_type = str(entry["digest"]), str(entry["mediaType"])
        body = _blob(layout, digest).read_bytes()
    except OSError as error:
        raise Permanent(
            f"{layout} is no OCI layout: {error.filename} cannot be read ({error.strerror})."
        ) from error
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError) as error:
        raise Permanent(f"{layout / 'index.json'} does not name exactly one image.") from error
    if digest_of(body) != digest:
        raise Permanent(f"{layout} is damaged: its manifest is {digest_of(body)} and not {digest}.")
    return read_manifest(body, media_type, digest, str(layout))


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def _media_type(answer: Answer) -> str:
    return str(answer.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _check_place(to: Path) -> None:
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise Permanent(f"{to} is there already; name a directory that is not, or an empty one.")


def _beside(to: Path) -> Path:
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
    except OSError as error:
        raise Permanent(f"{to} cannot be written: {error.strerror or error}.") from error
