"""Whom the attestation stage believes: appraisal policies, builders, the keys of tokens; and what it signs with.

Files are read anew for each event, as policies are everywhere: a mistake in one fails that event with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shared.appraisal import builders as builders_file
from shared.appraisal import keys as token_keys
from shared.appraisal import policy as policy_file
from shared.appraisal.builders import Builders
from shared.appraisal.keys import TrustedKeys
from shared.appraisal.signer import FileSigner, Signer
from shared.appraisal.token import peek
from shared.errors import Permanent
from shared.gcp.kms import SCHEME, KmsSigner
from shared.model.appraisal import AppraisalPolicy
from shared.settings import Settings
from shared.upstream import http
from shared.upstream.jwks import JwksClient


def policies(settings: Settings) -> Callable[[str], AppraisalPolicy]:
    """A data service's policy by its name, from `NAME.yaml`; Permanent if there is none."""

    def policy(service: str) -> AppraisalPolicy:
        if not settings.appraisal_policies:
            raise Permanent(
                f"No appraisal policy is known for {service}: set DMZ_APPRAISAL_POLICIES to a directory with "
                f"{service}.yaml."
            )
        path = Path(settings.appraisal_policies) / f"{service}.yaml"
        if not path.is_file():
            raise Permanent(f"There is no data service '{service}': write its appraisal policy, {path}.")
        read = policy_file.read(path)
        if read.service != service:
            raise Permanent(f"The appraisal policy {path} is for the service {read.service}; rename it.")
        return read

    return policy


def builders(settings: Settings) -> Callable[[], Builders]:
    """The policy of builders; Permanent if nobody is trusted."""

    def read() -> Builders:
        if not settings.builders:
            raise Permanent("No builder is trusted: set DMZ_BUILDERS to a policy of builders.")
        return builders_file.read(Path(settings.builders))

    return read


def keys(settings: Settings) -> Callable[[str], TrustedKeys]:
    """The keys that may have signed a token: the pinned root for its kind, or the issuer's published key set."""
    client = JwksClient(http.client(), settings.attestation_keys)

    def trusted(token: str) -> TrustedKeys:
        roots = _root(settings)
        # Nothing is believed of it: an unknown name makes the client ask the issuer, as often as its own limit lets it.
        kind, kid = peek(token)
        return TrustedKeys(oidc=client.keys(kid).oidc, roots=roots.roots) if kind == "OIDC" else roots

    return trusted


def _root(settings: Settings) -> TrustedKeys:
    if not settings.attestation_root:
        return token_keys.google()
    path = Path(settings.attestation_root)
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise Permanent(f"The root certificate {path} cannot be read: {error.strerror}.") from error
    return token_keys.read_root(pem, f"The root certificate {path}")


def signer(settings: Settings) -> Signer | None:
    """What signs verification summaries; None if the settings name nothing."""
    name = settings.attestation_signing_key
    if not name:
        return None
    return KmsSigner(name) if name.startswith(SCHEME) else FileSigner(Path(name))
