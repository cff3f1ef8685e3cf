"""What a stage is configured with: read from the environment once, one sentence per mistake.

On Google Cloud Terraform sets these; on one machine `functions.local` does. Nothing here says which of the two it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from shared.errors import Permanent

# As https://confidentialcomputing.googleapis.com/.well-known/openid-configuration names it.
_GOOGLE_KEYS = (
    "https://www.googleapis.com/service_accounts/v1/metadata/jwk/"
    "signer@confidentialspace-sign.iam.gserviceaccount.com"
)


@dataclass(frozen=True)
class Settings:
    """Each field is the environment variable `DMZ_<FIELD>`; the project is GOOGLE_CLOUD_PROJECT."""

    project: str
    inner_project: str = ""
    """Project of the inner VMs and of the private repositories; empty: `project`."""
    location: str = "us-central1"
    """Region of the private repositories."""
    zone: str = "us-central1-a"
    """Zone of the VMs of workloads that name none."""
    outer_network: str = "dmz-outer"
    inner_network: str = "dmz-inner"
    outer_subnetwork: str = ""
    """Name of the outer VMs' subnetwork, the same in the region of each zone in use; empty: the service chooses."""
    inner_subnetwork: str = ""
    outer_service_account: str = ""
    """Empty: outer-vm@PROJECT.iam.gserviceaccount.com."""
    inner_service_account: str = ""
    """Empty: inner-vm@INNER_PROJECT.iam.gserviceaccount.com."""
    python_repository: str = "dmz-python"
    generic_repository: str = "dmz-generic"
    staging_repository: str = "dmz-staging"
    """Holds the user's own wheels until they are judged."""
    image_repository: str = "dmz-images"
    """Holds the images of data services."""
    policy: str = "default"
    """Name of a policy that comes with the project, or a path."""
    advisories: str = "https://api.osv.dev"
    """A directory of OSV zips in osv-scanner's layout, or the address of OSV.dev's API."""
    advisories_name: str = ""
    """How reports name the directory's origin."""
    python_index: str = "https://pypi.org/simple/"
    debian_mirror: str = "https://deb.debian.org/debian"
    debian_security_mirror: str = "https://deb.debian.org/debian-security"
    keyrings: str = ""
    """Directory with the pinned keys of the distributions' archives; empty: those that come with the project."""
    outer_python_index: str = ""
    """What the outer VM installs from, a corporate mirror say; empty: what its image has."""
    outer_debian_mirror: str = ""
    outer_debian_security_mirror: str = ""
    outer_debian_key: str = ""
    """Armored OpenPGP key of a mirror that signs anew; empty: the key that the image trusts."""
    appraisal_policies: str = ""
    """Directory with an appraisal policy NAME.yaml for each data service; empty: those that come with the project."""
    builders: str = ""
    """Path of the policy of builders; empty: none is trusted, so no image has a reference value."""
    attestation_keys: str = _GOOGLE_KEYS
    """Address of the JSON Web Key Set that OIDC tokens are signed with."""
    attestation_root: str = ""
    """Path of the root certificate of PKI tokens, PEM; empty: Google's, which comes with the project."""
    attestation_signing_key: str = ""
    """Signs verification summaries: path of a PEM file, or `gcpkms://` and a Cloud KMS key version; empty: unsigned."""
    nonce_seconds: str = "300"
    """A nonce that this stage issues may be used for so long."""
    prices: str = ""
    """Path of a price list of TPUs, for estimates; empty: Google's public one, which comes with the project."""
    sealed_by: str = ""
    """What keeps data in the inner network, as the run's document says it: terraform/inner's output of that name."""
    tpu_endpoint: str = ""
    """host:port of another TPU API than Google's, without TLS."""
    registry_endpoint: str = ""
    """http://host:port of another Artifact Registry than Google's."""
    shard_bytes: str = "67108864"
    """A sync shard holds at most so many bytes, unless one file is larger."""
    lease_seconds: str = "20"
    """A worker that stops renewing for so long has died."""
    report_grace_seconds: str = "300"
    """For boot and report, a VM has so long beyond its workload's own limit."""

    def account(self, kind: str) -> str:
        """Service account of the outer or inner VM."""
        given = self.outer_service_account if kind == "outer" else self.inner_service_account
        return given or f"{kind}-vm@{self.project_of(kind)}.iam.gserviceaccount.com"

    def project_of(self, kind: str) -> str:
        """Project of the outer or inner VMs."""
        return self.project if kind == "outer" else self.inner_project or self.project

    def holder(self, repository: str) -> str:
        """Project of a repository: all are the inner one's but staging."""
        return self.project_of("outer" if repository == self.staging_repository else "inner")

    def machines(self, kind: str) -> Settings:
        """These settings as whoever makes the outer or inner VMs reads them: their project is the project."""
        return replace(self, project=self.project_of(kind))

    def environment(self) -> dict[str, str]:
        """The variables that `read` would read these settings from."""
        return {_variable(f.name): str(getattr(self, f.name)) for f in fields(self)}


def read(environment: Mapping[str, str]) -> Settings:
    """Settings from the environment; Permanent names the variable that is missing or wrong."""
    values = {
        f.name: environment[_variable(f.name)] for f in fields(Settings) if environment.get(_variable(f.name))
    }
    if "project" not in values:
        raise Permanent(
            "GOOGLE_CLOUD_PROJECT is not set: it names the project whose topics and database are used."
        )
    settings = Settings(**values)
    for name in ("shard_bytes", "lease_seconds", "report_grace_seconds", "nonce_seconds"):
        if not getattr(settings, name).isdigit() or int(getattr(settings, name)) < 1:
            raise Permanent(
                f"{_variable(name)} must be a whole number above 0, not '{getattr(settings, name)}'."
            )
    return settings


def _variable(name: str) -> str:
    return "GOOGLE_CLOUD_PROJECT" if name == "project" else f"DMZ_{name.upper()}"
