"""Who published a file: proved from the attestations that the index serves for it (PEP 740).

https://packaging.python.org/en/latest/specifications/index-hosted-attestations/

Checks, of every attestation: one that does not verify says that something is wrong with all of them.
1. What is served is a provenance object of version 1, with one attestation at least and `MAX_ATTESTATIONS` at most.
2. The signature is that of a certificate from Sigstore's authority, which a certificate transparency log has seen, and
   was entered into Sigstore's transparency log while that certificate was valid. Believed are the keys of the trusted
   root alone, a file that comes with the project: nothing is asked of the network.
3. The certificate is that of the publisher whom the bundle names.
4. The signed statement is about one file, and it is this one, by name and sha256.
5. The statement is of a kind that the index knows: publication, or provenance of a build (SLSA).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion
from pydantic import ConfigDict, Field, ValidationError

from shared.errors import Permanent
from shared.model.publisher import Publisher
from shared.model.value import Digest, Part, printable, sentence

if TYPE_CHECKING:  # they take half a second to load, which is for him to wait who meets an attestation
    from cryptography.x509 import Certificate
    from pypi_attestations import Provenance
    from sigstore.verify import Verifier

ROOT = Path(__file__).parent.parent / "data" / "sigstore" / "trusted_root.json"
MAX_SIZE = 1 << 20
"""Bytes of a provenance object; PyPI's have five to twenty thousand."""
MAX_ATTESTATIONS = 32
_DSSE = "application/vnd.in-toto+json"
_KINDS = ("https://docs.pypi.org/attestations/publish/v1", "https://slsa.dev/provenance/v1")


class _Subject(Part):
    model_config = ConfigDict(extra="ignore")

    name: str
    digest: dict[str, str]


class _Statement(Part):
    """https://github.com/in-toto/attestation/blob/v1.1.0/spec/v1/statement.md"""

    model_config = ConfigDict(extra="ignore")

    type: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    subject: Annotated[tuple[_Subject, ...], Field(min_length=1, max_length=1)]
    kind: Annotated[str, Field(alias="predicateType")]


@dataclass(frozen=True)
class _Claimed:
    """A policy of sigstore's: the publisher whom a bundle names (check 3)."""

    publisher: Any

    def verify(self, cert: Certificate) -> None:
        try:
            self.publisher._as_policy().verify(cert)
        except Exception as error:  # also what an extension that lacks or is no string leads to
            name = _publisher(self.publisher)
            raise ValueError(f"its signature is not that of the publisher whom it names, {name}") from error


def prove(served: bytes, filename: str, sha256: Digest, root: Path = ROOT) -> tuple[Publisher, ...]:
    """The publishers of the file, from the provenance object that the index serves for it.

    `root`: Sigstore's trusted root, as JSON. Permanent with the first check that fails.
    """
    provenance = _read(served, filename)
    verifier = _verifier(root)
    found: list[Publisher] = []
    for bundle in provenance.attestation_bundles:
        for attestation in bundle.attestations:
            try:
                # Attestation.verify() would believe whatever root lies in the user's cache.
                kind, payload = verifier.verify_dsse(
                    attestation.to_bundle(), _Claimed(bundle.publisher)
                )  # 2, 3
            except Exception as error:  # strangers' certificates fail in four libraries' parsers
                raise _refused(filename, _words(error)) from error
            if kind != _DSSE:
                raise _refused(filename, f"what was signed is '{printable(kind, 60)}', no in-toto statement")
            _check(payload, filename, sha256)
        found.append(_publisher(bundle.publisher))
    return tuple(dict.fromkeys(found))


def _read(served: bytes, filename: str) -> Provenance:
    from pypi_attestations import Provenance

    what = f"What the index serves as provenance of {filename}"
    if len(served) > MAX_SIZE:  # 1
        raise Permanent(f"{what} has more than {MAX_SIZE} bytes; the file is refused.")
    try:
        provenance = Provenance.model_validate_json(served)
    except ValidationError as error:  # 1
        raise Permanent(f"{sentence(error, what).rstrip('.')}; the file is refused.") from error
    number = sum(len(bundle.attestations) for bundle in provenance.attestation_bundles)
    if not all(bundle.attestations for bundle in provenance.attestation_bundles) or not number:  # 1
        raise Permanent(f"{what} names a publisher without an attestation, or none; the file is refused.")
    if number > MAX_ATTESTATIONS:  # 1
        raise Permanent(
            f"{what} has {number} attestations, more than {MAX_ATTESTATIONS}; the file is refused."
        )
    return provenance


@lru_cache(4)
def _verifier(root: Path) -> Verifier:
    from sigstore.models import TrustedRoot
    from sigstore.verify import Verifier

    try:
        return Verifier(trusted_root=TrustedRoot.from_file(str(root)))
    except Exception as error:  # whatever its parsers make of a file that is none
        raise Permanent(f"{root} is no trusted root of Sigstore: {_words(error)}.") from error


def _check(payload: bytes, filename: str, sha256: Digest) -> None:
    statement = _Statement.read(payload, f"The statement that was signed about {filename}")
    (subject,) = statement.subject  # 4
    if _parsed(subject.name) is None or _parsed(subject.name) != _parsed(filename):  # 4
        raise _refused(filename, f"it is about another file, '{printable(subject.name, 255)}'")
    if subject.digest.get("sha256") != sha256.removeprefix("sha256:"):  # 4
        its = printable(subject.digest.get("sha256", "none"), 64)
        raise _refused(filename, f"it is about other bytes, of sha256 {its}")
    if statement.kind not in _KINDS:  # 5
        raise _refused(filename, f"it is of an unknown kind, '{printable(statement.kind, 120)}'")


def _parsed(filename: str) -> object:
    """What a file name says, as two spellings of one name are one; None if it says nothing."""
    try:
        return (parse_wheel_filename if filename.endswith(".whl") else parse_sdist_filename)(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None


def _publisher(claimed: Any) -> Publisher:
    """What check 3 has held against the certificate; what the claim says beyond it is left out."""
    match claimed.kind:
        case "GitHub":
            repository, workflow = claimed.repository, claimed.workflow
        case "GitLab":
            repository, workflow = claimed.repository, claimed.workflow_filepath
        case "CircleCI":
            repository, workflow = claimed.project_id, claimed.pipeline_definition_id
        case _:
            repository, workflow = claimed.email, ""
    names = {"repository": printable(repository, 400), "workflow": printable(workflow, 400)}
    return Publisher.check({"kind": claimed.kind, **names}, "The publisher")


def _refused(filename: str, why: str) -> Permanent:
    return Permanent(
        f"The index serves an attestation of {filename} that proves nothing: {why}. The file is refused; "
        "docs/publishers.md says what to do."
    )


def _words(error: Exception) -> str:
    """A foreign failure in one line."""
    said = " ".join(str(error).split()) or type(error).__name__
    return printable(said.removeprefix("Verification failed: ").rstrip("."), 200)
