"""What an attestation token says, in the real order and spelling.

Source: https://cloud.google.com/confidential-computing/confidential-space/docs/reference/token-claims and real tokens
of both kinds (a production one on Intel TDX, debug ones on AMD SEV); tests/emulators/confidential_space compares
claim by claim. Real tokens leave a claim out rather than give it empty: env_override, cmd_override, eat_nonce,
support_attributes (debug images have none), attester_tcb and tdx (Intel alone).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.emulators.confidential_space.launch_spec import Monitoring
from shared.emulators.vm.spec import Place

ISSUER = "https://confidentialcomputing.googleapis.com"
DEFAULT_AUDIENCE = "https://sts.googleapis.com"
LIFETIME = 3600
GOOGLE = 11129
"""Google's IANA private enterprise number, the only `oemid`."""
PROFILE = "https://cloud.google.com/confidential-computing/confidential-space/docs/reference/token-claims"
HARDWARE = {
    "SEV": "GCP_AMD_SEV",
    "TDX": "GCP_INTEL_TDX",
    "": "GCP_SHIELDED_VM",
}
"""confidentialInstanceType to `hwmodel`; the last is a VM without confidential computing."""


@dataclass(frozen=True)
class Workload:
    """The container as it was launched. `digest`: what the reference resolved to; `image_id`: the configuration's."""

    reference: str
    digest: str
    image_id: str
    restart_policy: str
    args: tuple[str, ...]
    env: Mapping[str, str]
    cmd_override: tuple[str, ...] = ()
    env_override: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Instance:
    """The VM. `technology` is its confidentialInstanceType; `version` like "250800"."""

    name: str
    place: Place
    technology: str
    secure_boot: bool
    debug: bool
    version: str
    support: tuple[str, ...]
    service_accounts: tuple[str, ...]
    monitoring: Monitoring = Monitoring.NONE


def claims(
    instance: Instance, workload: Workload, audience: str, nonces: Sequence[str], now: int
) -> dict[str, Any]:
    """The payload of a token issued at `now` (Unix seconds)."""
    place = instance.place
    said: dict[str, Any] = {"aud": audience, "exp": now + LIFETIME, "iat": now, "iss": ISSUER, "nbf": now}
    said["sub"] = (
        f"https://www.googleapis.com/compute/v1/projects/{place.project}/zones/{place.zone}/instances/{instance.name}"
    )
    if nonces:
        said["eat_nonce"] = nonces[0] if len(nonces) == 1 else list(nonces)
    said |= {
        "eat_profile": PROFILE,
        "secboot": instance.secure_boot,
        "oemid": GOOGLE,
        "hwmodel": HARDWARE[instance.technology],
        "swname": "CONFIDENTIAL_SPACE",
        "swversion": [instance.version],
    }
    if instance.technology == "TDX":
        said["attester_tcb"] = ["INTEL"]
    said["dbgstat"] = "enabled" if instance.debug else "disabled-since-boot"
    said["submods"] = {
        "confidential_space": _space(instance),
        "container": _container(workload),
        "gce": {
            "zone": place.zone,
            "project_id": place.project,
            "project_number": str(place.numeric_project),
            "instance_name": instance.name,
            "instance_id": str(place.instance_id),
        },
    }
    if instance.technology == "TDX":
        said["tdx"] = {
            "gcp_attester_tcb_status": "UpToDate",
            "gcp_attester_tcb_date": "2024-03-13T00:00:00Z",
        }
    said["google_service_accounts"] = list(instance.service_accounts)
    return said


def _space(instance: Instance) -> dict[str, Any]:
    # As the launcher measures it (measureMemoryMonitor): with all metrics on, memory alone is not said to be.
    monitored = {"monitoring_enabled": {"memory": instance.monitoring is Monitoring.MEMORY_ONLY}}
    return monitored if instance.debug else {"support_attributes": list(instance.support), **monitored}


def _container(workload: Workload) -> dict[str, Any]:
    said: dict[str, Any] = {
        "image_reference": workload.reference,
        "image_digest": workload.digest,
        "restart_policy": workload.restart_policy,
        "image_id": workload.image_id,
    }
    if workload.env_override:
        said["env_override"] = dict(sorted(workload.env_override.items()))
    if workload.cmd_override:
        said["cmd_override"] = list(workload.cmd_override)
    return {**said, "env": dict(sorted(workload.env.items())), "args": list(workload.args)}
