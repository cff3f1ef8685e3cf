"""The labels of an image: what Confidential Space lets the VM's operator change."""

from __future__ import annotations

from shared.model.image import ImageSpec

_PREFIX = "tee.launch_policy."


def labels(spec: ImageSpec) -> dict[str, str]:
    """The labels that Confidential Space's launcher reads
    (https://cloud.google.com/confidential-computing/confidential-space/docs/reference/launch-policies), and the spec's.

    What the launcher takes for granted is left out. Monitoring stands in the launcher's new spelling or in the old one:
    it starts no image that has both.
    """
    policy = spec.launch_policy
    found = {**spec.labels, f"{_PREFIX}log_redirect": policy.log_redirect}
    if policy.allow_env_override:
        found[f"{_PREFIX}allow_env_override"] = ",".join(sorted(set(policy.allow_env_override)))
    if policy.allow_cmd_override:
        found[f"{_PREFIX}allow_cmd_override"] = "true"
    match policy.monitoring:
        case "legacy_memory":
            found[f"{_PREFIX}monitoring_memory_allow"] = "always"
        case "hardened_memory":
            found[f"{_PREFIX}hardened_monitoring"] = "memoryOnly"
            found[f"{_PREFIX}debug_monitoring"] = "memoryOnly"
        case "debug_memory":
            found[f"{_PREFIX}hardened_monitoring"] = "none"
            found[f"{_PREFIX}debug_monitoring"] = "memoryOnly"
        case "none":
            found[f"{_PREFIX}hardened_monitoring"] = "none"
            found[f"{_PREFIX}debug_monitoring"] = "none"
    return found
