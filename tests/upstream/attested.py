"""Real files with real attestations, as PyPI serves them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.model.publisher import Publisher

DATA = Path(__file__).parent / "data" / "attestations"


@dataclass(frozen=True)
class Attested:
    """One file and what is served for it."""

    filename: str
    sha256: str
    publisher: Publisher
    served: bytes

    def changed(self, **publisher: Any) -> bytes:
        """The provenance with another claim about the publisher."""
        claim = json.loads(self.served)
        claim["attestation_bundles"][0]["publisher"] |= publisher
        return json.dumps(claim).encode()

    def attestations(self) -> list[dict[str, Any]]:
        found = json.loads(self.served)["attestation_bundles"][0]["attestations"]
        assert isinstance(found, list)
        return found

    def of(self, *attestations: dict[str, Any]) -> bytes:
        """The provenance with other attestations."""
        claim = json.loads(self.served)
        claim["attestation_bundles"][0]["attestations"] = attestations
        return json.dumps(claim).encode()


def statement(attestation: dict[str, Any]) -> dict[str, Any]:
    found = json.loads(base64.b64decode(attestation["envelope"]["statement"]))
    assert isinstance(found, dict)
    return found


def _read(filename: str, publisher: Publisher) -> Attested:
    served = (DATA / f"{filename}.provenance").read_bytes()
    return _attested(filename, publisher, served)


def _attested(filename: str, publisher: Publisher, served: bytes) -> Attested:
    (about,) = statement(json.loads(served)["attestation_bundles"][0]["attestations"][0])["subject"]
    return Attested(filename, f"sha256:{about['digest']['sha256']}", publisher, served)


def _gitlab() -> Attested:
    """Its asset is the bare attestation; the index would wrap it like this."""
    filename = "gitlab_oidc_project-0.0.3.tar.gz"
    attestation = json.loads((DATA / f"{filename}.publish.attestation").read_text())
    names = {"repository": "facutuesca/gitlab-oidc-project", "workflow_filepath": ".gitlab-ci.yml"}
    bundle = {"publisher": {"kind": "GitLab", **names}, "attestations": [attestation]}
    served = json.dumps({"version": 1, "attestation_bundles": [bundle]}).encode()
    publisher = Publisher(kind="GitLab", repository=names["repository"], workflow=".gitlab-ci.yml")
    return _attested(filename, publisher, served)


GITHUB = _read(
    "pypi_attestations-0.0.19.tar.gz",
    Publisher(kind="GitHub", repository="trailofbits/pypi-attestations", workflow="release.yml"),
)
SLSA = json.loads((DATA / f"{GITHUB.filename}.slsa.attestation").read_text())
"""Another attestation of the same file: of its build."""
GITLAB = _gitlab()
GOOGLE = _read(
    "gcb_attestation_test-0.0.0.tar.gz",
    Publisher(kind="Google", repository="919436158236-compute@developer.gserviceaccount.com"),
)
CIRCLECI = _read(
    "circleci_sign_publish_example-0.0.1.dev137-py3-none-any.whl",
    Publisher(
        kind="CircleCI",
        repository="fdd9283f-e619-46af-8f9c-851f7d3e8b2b",
        workflow="8e4f8ab2-8d7c-4827-9f15-de076d6d647f",
    ),
)
WHEEL = (DATA / CIRCLECI.filename).read_bytes()
ALL = (GITHUB, GITLAB, GOOGLE, CIRCLECI)
