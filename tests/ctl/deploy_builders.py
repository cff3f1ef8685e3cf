"""The two builders of a deployment's tests: what they keep in the provenance bucket, signed with their keys."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from shared.appraisal import dsse, statement
from tests.ctl.deploy_cloud import Cloud
from tests.provenance import makers
from tests.provenance.kms_standin import Kms

PROJECT = "dmz-outer-test"
ROLES = ("builder", "rebuilder")
KEY = f"projects/{PROJECT}/locations/us-central1/keyRings/package-dmz/cryptoKeys/{{}}/cryptoKeyVersions/1"
BUCKET = f"{PROJECT}-dmz-provenance"


@dataclass
class Builders:
    """`silent`: whose statement does not get into the bucket, as where a build fails behind its push."""

    cloud: Cloud
    keys: dict[str, Kms]
    silent: tuple[str, ...] = ()

    def built(self, build: dict[str, Any], digest: str) -> None:
        role = build["substitutions"]["_ROLE"]
        if role not in self.silent:
            self.keep(role, build["substitutions"]["_REVISION"], digest, build["id"])

    def keep(
        self, role: str, revision: str, digest: str, build: str, signer: str = "", below: str = ""
    ) -> None:
        """A statement of `role`, signed with the key of `signer`, kept as about the revision `below`."""
        lock = makers.lock("services")
        made = makers.built(of=lock).model_copy(update={"manifest": digest})
        uri = f"https://cloudbuild.googleapis.com/projects/{PROJECT}/{role}"
        ended = time.time()
        payload = statement.statement(made, lock, revision, uri, started=ended - 1, finished=ended)
        key = self.keys[signer or role].key
        keyid = dsse.keyid(key.public_key())
        envelope = dsse.envelope(payload, ((keyid, key.sign(dsse.pae(payload), ec.ECDSA(hashes.SHA256()))),))
        place = f"services/{below or revision}"
        self.cloud.stored(BUCKET, f"{place}/config-{role}-{build}.json", makers.CONFIG.encode(), None)
        self.cloud.stored(BUCKET, f"{place}/{role}-{build}.json", envelope.encode(), None)
