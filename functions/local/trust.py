"""Whom the local platform's attestation stage trusts: two builders of its own, and its own Confidential Space.

On Google Cloud these are Cloud Build's and the rebuilders' keys, Google's root, and policies that the team writes.
Here keys are made once for a state directory; a policy is made for every image spec that comes with the project.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from functions.local.layout import Layout
from functions.local.project import PROJECT, data_account, number
from shared.appraisal.signer import FileSigner, Signer, new_key
from shared.emulators.confidential_space.issuer import JWKS
from shared.emulators.confidential_space.keys import ROOT_CERTIFICATE
from shared.image import spec as image_specs
from shared.model.image import ImageSpec

BUILDERS = ("urn:package-dmz:local:cloud-build", "urn:package-dmz:local:rebuilder")
"""Two identities, each with a key and a cache of its own."""
AUDIENCE = "https://attestation.dmz.local"
VALUE = r"[A-Za-z0-9._:-]{1,200}"
"""What an operator may set an overridable variable to."""
_VALIDITY = 90 * 24 * 3600


@dataclass(frozen=True)
class Trust:
    """Files below the state directory's `trust`."""

    directory: Path

    @property
    def policies(self) -> Path:
        return self.directory / "policies"

    @property
    def builders(self) -> Path:
        return self.directory / "builders.yaml"

    @property
    def signing_key(self) -> Path:
        return self.directory / "attestation.pem"

    def signer(self, builder: str) -> Signer:
        return _key(self._key_path(builder))

    def _key_path(self, builder: str) -> Path:
        return self.directory / f"builder-{builder.rsplit(':', 1)[-1]}.pem"

    def prepare(self) -> None:
        """Make what is missing; policies are written anew, as the specs may have changed."""
        self.policies.mkdir(mode=0o700, parents=True, exist_ok=True)
        _key(self.signing_key)
        listed = [{"id": each, "keys": [self.signer(each).public_pem]} for each in BUILDERS]
        content = {"threshold": len(BUILDERS), "validity_seconds": _VALIDITY, "builders": listed}
        self.builders.write_text(yaml.safe_dump(content, sort_keys=False))
        for name in image_specs.data_services():
            made = policy(image_specs.read(image_specs.find(name)))
            (self.policies / f"{name}.yaml").write_text(yaml.safe_dump(dict(made), sort_keys=False))

    @property
    def authority(self) -> Path:
        """Where the Confidential Space emulator keeps the root of its tokens."""
        return self.directory / "confidential-space"

    def environment(self, given: Mapping[str, str], issuer: int) -> dict[str, str]:
        """`given` with the DMZ_ variables that name these files; what the user has set stays. `issuer`: its port."""
        own = {
            "DMZ_APPRAISAL_POLICIES": str(self.policies),
            "DMZ_BUILDERS": str(self.builders),
            "DMZ_ATTESTATION_SIGNING_KEY": str(self.signing_key),
            "DMZ_ATTESTATION_ROOT": str(self.authority / ROOT_CERTIFICATE),
            "DMZ_ATTESTATION_KEYS": f"http://127.0.0.1:{issuer}{JWKS}",
        }
        return {**given, **{name: given.get(name) or value for name, value in own.items()}}


def trust(layout: Layout) -> Trust:
    return Trust(layout.home / "trust")


def policy(spec: ImageSpec) -> Mapping[str, Any]:
    """The appraisal policy of a service that runs in this machine's Confidential Space."""
    return {
        "format": "package-dmz/appraisal-policy/v1",
        "service": spec.name,
        "image": spec.name,
        "audience": AUDIENCE,
        "token_types": ["PKI", "OIDC"],
        "hwmodel": ["GCP_INTEL_TDX", "GCP_AMD_SEV"],
        "swversion_minimum": 250000,
        "projects": [{"id": PROJECT, "number": str(number())}],
        "service_accounts": [data_account(spec.name)],
        "env_overrides": dict.fromkeys(spec.launch_policy.allow_env_override, VALUE),
        "reference": {"rule": "reference", "minimum_builders": len(BUILDERS)},
    }


def _key(path: Path) -> FileSigner:
    return FileSigner(path) if path.exists() else new_key(path)
