"""What a stage is configured with: read from the environment once, one sentence per mistake, all at once.

On Google Cloud Terraform sets these; on one machine `functions.local` does. Nothing here says which of the two it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Annotated, get_type_hints

from shared import settings_forms as forms
from shared.errors import Permanent
from shared.model.value import printable

# As https://confidentialcomputing.googleapis.com/.well-known/openid-configuration names it.
_GOOGLE_KEYS = (
    "https://www.googleapis.com/service_accounts/v1/metadata/jwk/"
    "signer@confidentialspace-sign.iam.gserviceaccount.com"
)

_JUDGES, _APPRAISES = ("scanner", "sync"), ("attestation",)

OTHERS = {
    "DMZ_DEBUG": "The command line shows where a defect of its own is.",
    "DMZ_EMULATOR_IMAGE": "Image that `./dmz run --broker docker` takes the emulators from.",
    "DMZ_HOME": "Where the local platform keeps its state: `.dmz` in the checkout.",
    "DMZ_KMS_ENDPOINT": "Another Cloud KMS than Google's for `./dmz rebuild`, http://host:port.",
    "DMZ_MAX_HOSTS": "How many VMs one slice may have on the local platform: 8, as each is a VM of this machine.",
    "DMZ_MEMORY": "Set by the local platform: where its broker in memory answers.",
    "DMZ_NO_CAPACITY_ZONES": "Zones, separated by commas, in which the local platform has no TPU left.",
    "DMZ_OUTER_HOSTS": "Names that local outer VMs find on this machine: HOST=http://127.0.0.1:PORT,...",
    "DMZ_OUTER_INTERNET": "`no` leaves local outer VMs the hosts of this machine alone.",
    "DMZ_PLATFORM_JOURNAL": "Set by the local platform: where what is published to its emulator is written down.",
    "DMZ_PLATFORM_STATE": "Set by the local platform: marks its processes.",
    "DMZ_PORTS": "First of the consecutive ports of the local platform; free ones are found otherwise.",
    "DMZ_PROJECT": "In a data service: the project that it asks in.",
    "DMZ_RESERVATIONS": "Reserved TPUs that the local platform has: ZONE/NAME=NODES,...",
    "DMZ_SERVICE": "In a data service: its name.",
    "DMZ_SUBSCRIPTION": "In a data service: the subscription by which it learns its nonces.",
    "DMZ_WORKER": "In an install script: number of the worker of a slice.",
    "DMZ_WORKERS": "In an install script: how many workers the slice has.",
}
"""Variables with our prefix that are no setting of a stage. `DMZ_TEST_…` is the tests' own."""


@dataclass(frozen=True)
class Settings:
    """Each field is the environment variable `DMZ_<FIELD>`; the project is GOOGLE_CLOUD_PROJECT."""

    project: Annotated[str, forms.PROJECT]
    """The project whose topics and database are used."""
    inner_project: Annotated[str, forms.PROJECT] = ""
    """Project of the inner VMs and of the private repositories; empty: `project`."""
    location: Annotated[str, forms.REGION] = "us-central1"
    """Region of the private repositories."""
    zone: Annotated[str, forms.ZONE] = "us-central1-a"
    """Zone of the VMs of workloads that name none."""
    outer_network: Annotated[str, forms.NAME] = "dmz-outer"
    """Network of the outer VMs."""
    inner_network: Annotated[str, forms.NAME] = "dmz-inner"
    """Network of the inner VMs."""
    outer_subnetwork: Annotated[str, forms.NAME] = ""
    """Name of the outer VMs' subnetwork, the same in the region of each zone in use; empty: the service chooses."""
    inner_subnetwork: Annotated[str, forms.NAME] = ""
    """The same of the inner VMs."""
    outer_service_account: Annotated[str, forms.ACCOUNT] = ""
    """Account of the outer VMs; empty: outer-vm@PROJECT.iam.gserviceaccount.com."""
    inner_service_account: Annotated[str, forms.ACCOUNT] = ""
    """Account of the inner VMs; empty: inner-vm@INNER_PROJECT.iam.gserviceaccount.com."""
    python_repository: Annotated[str, forms.NAME] = "dmz-python"
    """Private repository of Python packages."""
    generic_repository: Annotated[str, forms.NAME] = "dmz-generic"
    """Private repository of files by URL and of locks."""
    staging_repository: Annotated[str, forms.NAME] = "dmz-staging"
    """Holds the user's own wheels until they are judged."""
    image_repository: Annotated[str, forms.NAME] = "dmz-images"
    """Holds the images of data services."""
    policy: Annotated[str, forms.Stored("file", _JUDGES, later=True, instead=forms.POLICY_NAME)] = "default"
    """Name of a policy that comes with the project, or a path."""
    advisories: Annotated[str, forms.Stored("directory", _JUDGES, instead=forms.ADDRESS)] = (
        "https://api.osv.dev"
    )
    """A directory of OSV zips in osv-scanner's layout, or the address of OSV.dev's API."""
    advisories_name: Annotated[str, forms.WORDS] = ""
    """How reports name the directory's origin."""
    kev: Annotated[str, forms.Stored("file", _JUDGES, later=True, instead=forms.ADDRESS)] = ""
    """CISA's catalogue of exploited flaws; empty: in the directory of zips, or at CISA where the API is asked."""
    epss: Annotated[str, forms.Stored("file", _JUDGES, later=True, instead=forms.ADDRESS)] = ""
    """FIRST's estimates of exploitation (EPSS), CSV or CSV.gz; empty: in that directory, or at FIRST likewise."""
    python_index: Annotated[str, forms.ADDRESS] = "https://pypi.org/simple/"
    """Index that Python packages are fetched from and proved against."""
    debian_mirror: Annotated[str, forms.ADDRESS] = "https://deb.debian.org/debian"
    """Archive that Debian packages are fetched from."""
    debian_security_mirror: Annotated[str, forms.ADDRESS] = "https://deb.debian.org/debian-security"
    """Archive of Debian's security updates."""
    debian_snapshot: Annotated[str, forms.ADDRESS] = "https://snapshot.debian.org/archive"
    """Archive of Debian's archives, for versions that have left the pool since the outer VM installed them."""
    ubuntu_snapshot: Annotated[str, forms.ADDRESS] = "https://snapshot.ubuntu.com/ubuntu"
    """The same of Ubuntu's."""
    keyrings: Annotated[str, forms.Stored("directory", ("sync",))] = ""
    """Directory with the pinned keys of the distributions' archives; empty: those that come with the project."""
    outer_python_index: Annotated[str, forms.ADDRESS] = ""
    """What the outer VM installs from, a corporate mirror say; empty: what its image has."""
    outer_debian_mirror: Annotated[str, forms.ADDRESS] = ""
    """The same for Debian's packages."""
    outer_debian_security_mirror: Annotated[str, forms.ADDRESS] = ""
    """The same for Debian's security updates."""
    outer_debian_key: Annotated[str, forms.KEY] = ""
    """Armored OpenPGP key of a mirror that signs anew; empty: the key that the image trusts."""
    appraisal_policies: Annotated[str, forms.Stored("directory", _APPRAISES, later=True)] = ""
    """Directory with an appraisal policy NAME.yaml for each data service; empty: those that come with the project."""
    builders: Annotated[str, forms.Stored("file", _APPRAISES, later=True)] = ""
    """Path of the policy of builders; empty: none is trusted, so no image has a reference value."""
    attestation_keys: Annotated[str, forms.ADDRESS] = _GOOGLE_KEYS
    """Address of the JSON Web Key Set that OIDC tokens are signed with."""
    attestation_root: Annotated[str, forms.Stored("file", _APPRAISES)] = ""
    """Path of the root certificate of PKI tokens, PEM; empty: Google's, which comes with the project."""
    attestation_signing_key: Annotated[str, forms.Stored("file", _APPRAISES, instead=forms.KMS_KEY)] = ""
    """Signs verification summaries: path of a PEM file, or `gcpkms://` and a Cloud KMS key version; empty: unsigned."""
    nonce_seconds: Annotated[int, forms.Whole(1, 3600)] = 300
    """A nonce that this stage issues may be used for so long."""
    prices: Annotated[str, forms.Stored("file", ("outer",))] = ""
    """Path of a price list of TPUs, for estimates; empty: Google's public one, which comes with the project."""
    sealed_by: Annotated[str, forms.WORDS] = ""
    """What keeps data in the inner network, as the run's document says it: terraform/inner's output of that name."""
    tpu_endpoint: Annotated[str, forms.HOST_PORT] = ""
    """host:port of another TPU API than Google's, without TLS."""
    registry_endpoint: Annotated[str, forms.LOOSE_ADDRESS] = ""
    """http://host:port of another Artifact Registry than Google's."""
    console: Annotated[str, forms.ADDRESS] = ""
    """Address of the console, for the links of notifications."""
    notify: Annotated[str, forms.SINK] = ""
    """CloudEvents sink that is told of failed runs, changed verdicts, refused attestations; empty: nobody is told."""
    traces: Annotated[str, forms.SINK] = ""
    """Where spans are sent to, by OTLP over HTTP, …/v1/traces; empty: they are in the database alone."""
    shard_bytes: Annotated[int, forms.Whole(1, 1 << 40)] = 64 << 20
    """A sync shard holds at most so many bytes, and so many lie on its disk at once, unless one file is larger."""
    file_bytes: Annotated[int, forms.Whole(1, 1 << 40)] = 3 << 29
    """No larger file is brought in: it lies on the disk of a sync instance, which is memory, before it is proved."""
    lease_seconds: Annotated[int, forms.Whole(1, 600)] = 20
    """A worker that stops renewing for so long has died."""
    report_grace_seconds: Annotated[int, forms.Whole(1, 86400)] = 300
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
        return {variable(f.name): str(getattr(self, f.name)) for f in fields(self)}


def read(environment: Mapping[str, str], stage: str = "") -> Settings:
    """Settings from the environment; Permanent has a sentence for each mistake, all of them.

    1. What is needed is there. 2. Each value has its form. 3. What `stage`, if one is named, opens at once is there.
    4. No other variable begins with DMZ_, but those of OTHERS: a name with a typo would leave a default in force.
    """
    kinds = get_type_hints(Settings, include_extras=True)
    given = {
        f.name: environment[variable(f.name)] for f in fields(Settings) if environment.get(variable(f.name))
    }
    mistakes = []
    if "project" not in given:  # 1
        mistakes.append(
            "GOOGLE_CLOUD_PROJECT is not set: it names the project whose topics and database are used."
        )
    for name, value in given.items():
        form: forms.Form = kinds[name].__metadata__[0]
        if complaint := form.complaint(value, stage):  # 2, 3
            mistakes.append(f"{variable(name)} {complaint}")
    mistakes += _unknown(environment)  # 4
    if mistakes:
        raise Permanent(" ".join(mistakes))
    values = {name: kinds[name].__origin__(value) for name, value in given.items()}
    return Settings(**values)


def variable(name: str) -> str:
    """The environment variable of a field."""
    return "GOOGLE_CLOUD_PROJECT" if name == "project" else f"DMZ_{name.upper()}"


def _unknown(environment: Mapping[str, str]) -> Iterator[str]:
    known = {variable(f.name) for f in fields(Settings)} | OTHERS.keys()
    for name in sorted(set(environment) - known):
        if name.startswith("DMZ_") and not name.startswith("DMZ_TEST_"):
            near = get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]}?" if near else "docs/settings.md lists all."
            yield f"There is no setting {printable(name, 60)}: {meant}"
