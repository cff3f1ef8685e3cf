"""Statements: in-toto Statement v1 with SLSA provenance v1 as its predicate.

https://github.com/in-toto/attestation/blob/v1.1.0/spec/v1/statement.md, https://slsa.dev/spec/v1.1/provenance.
BUILD_TYPE names this project's own kind of build, and says what its fields mean:

- `subject`: one, the image's name with the SHA-256 of its OCI manifest.
- `externalParameters`: `image` (the spec's name), `revision` (of the source), `lock` (digest of the lock), `codec` (of
  the layers). These four and the sources of that revision determine every byte.
- `resolvedDependencies`: every input of the lock, by URL and SHA-256.
- `runDetails`: `builder.id`, when it began and ended, and as `byproducts` the digest of the image's configuration,
  named `config`.

The reader refuses every field that it does not know: SLSA lets a consumer pass unknown fields over, but a field that
one reader heeds and another ignores is where two appraisals part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from shared.appraisal.dsse import MAX_PAYLOAD
from shared.errors import Permanent
from shared.model.image import BuiltImage, Codec, ImageLock, ImageName
from shared.model.provenance import Build
from shared.model.reference import Builder, Revision
from shared.model.value import Digest, Part, canonical, sha256

BUILD_TYPE = "urn:package-dmz:image-build:v1"
"""A name, no address. Another meaning of any field gets another version."""
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://slsa.dev/provenance/v1"
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

Hex = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
Time = Annotated[str, Field(pattern=rf"\A{_TIME.pattern}\z")]
"""RFC 3339, UTC, whole seconds."""


class _Sha256(Part):
    sha256: Hex


class _Subject(Part):
    name: ImageName
    digest: _Sha256


class _Parameters(Part):
    image: ImageName
    revision: Revision
    lock: Digest
    codec: Codec


class _Resource(Part):
    name: Annotated[str, Field(max_length=300)]
    uri: Annotated[str, Field(max_length=2100)]
    digest: _Sha256


class _Definition(Part):
    buildType: Literal["urn:package-dmz:image-build:v1"]
    externalParameters: _Parameters
    resolvedDependencies: Annotated[tuple[_Resource, ...], Field(max_length=5000)]


class _Builder(Part):
    id: Builder


class _Metadata(Part):
    startedOn: Time
    finishedOn: Time


class _Configuration(Part):
    name: Literal["config"]
    digest: _Sha256


class _Run(Part):
    builder: _Builder
    metadata: _Metadata
    byproducts: Annotated[tuple[_Configuration, ...], Field(min_length=1, max_length=1)]


class _Provenance(Part):
    buildDefinition: _Definition
    runDetails: _Run


class _Statement(Part):
    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: Annotated[tuple[_Subject, ...], Field(min_length=1, max_length=1)]
    predicateType: Literal["https://slsa.dev/provenance/v1"]
    predicate: _Provenance


def statement(
    built: BuiltImage, lock: ImageLock, revision: str, builder: str, *, started: float, finished: float
) -> bytes:
    """The statement that `builder` signs: the same arguments give the same bytes. Times are Unix seconds.

    Permanent if `lock` is not the one that `built` came from, or if an argument is not of its form.
    """
    if lock.image != built.name or lock.digest != built.lock:
        raise Permanent(
            f"The image {built.name} was built from the lock {built.lock}, not from the given lock of {lock.image} "
            f"({lock.digest}); build it again."
        )
    payload = canonical(
        {
            "_type": _STATEMENT,
            "subject": [{"name": built.name, "digest": _digest(built.manifest)}],
            "predicateType": _PREDICATE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": {
                        "image": built.name,
                        "revision": revision,
                        "lock": built.lock,
                        "codec": built.codec,
                    },
                    "resolvedDependencies": _dependencies(lock),
                },
                "runDetails": {
                    "builder": {"id": builder},
                    "metadata": {"startedOn": _written(started), "finishedOn": _written(finished)},
                    "byproducts": [{"name": "config", "digest": _digest(built.config)}],
                },
            },
        }
    )
    read(payload)  # nothing is signed that a reader would refuse
    return payload


def read(payload: bytes, what: str = "The statement") -> Build:
    """What a statement says; Permanent with what is wrong. Whether it is true is for its signature to say.

    1. Size. 2. Exactly the fields of this kind of build, each once. 3. The subject is the image that was asked for.
    4. The build ended after it began.
    """
    if len(payload) > MAX_PAYLOAD:  # 1
        raise Permanent(f"{what} has {len(payload)} bytes; at most {MAX_PAYLOAD} are read.")
    found = _Statement.read(payload, what)  # 2
    asked, run = found.predicate.buildDefinition.externalParameters, found.predicate.runDetails
    (subject,) = found.subject
    if subject.name != asked.image:  # 3
        raise Permanent(f"{what} is about the image {subject.name}, but the build was of {asked.image}.")
    started = _seconds(run.metadata.startedOn, what)
    finished = _seconds(run.metadata.finishedOn, what)
    if finished < started:  # 4
        raise Permanent(f"{what} says that the build ended before it began; set the builder's clock.")
    return Build(
        image=asked.image,
        revision=asked.revision,
        lock=asked.lock,
        codec=asked.codec,
        manifest=f"sha256:{subject.digest.sha256}",
        config=f"sha256:{run.byproducts[0].digest.sha256}",
        builder=run.builder.id,
        finished=finished,
        statement=sha256(payload),
    )


def _dependencies(lock: ImageLock) -> Sequence[dict[str, Any]]:
    """The order of a lock means nothing, so it does not reach the statement."""
    found = {(each.url, each.name, each.sha256) for each in lock.inputs}
    return [{"name": name, "uri": url, "digest": _digest(digest)} for url, name, digest in sorted(found)]


def _digest(digest: str) -> dict[str, str]:
    return {"sha256": digest.removeprefix("sha256:")}


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime(_FORMAT)


def _seconds(text: str, what: str) -> int:
    try:
        found = int(datetime.strptime(text, _FORMAT).replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise Permanent(f"{what} names the time {text}, which no calendar has.") from error
    if found < 0:
        raise Permanent(f"{what} names the time {text}; a build began after 1970.")
    return found
