"""The labels of an image: the spec's own, and the launch policy that Confidential Space reads
(https://cloud.google.com/confidential-computing/confidential-space/docs/create-customize-workloads#launch-policies;
spellings and values as launcher/spec/launch_policy.go of google/go-tpm-tools takes them).
"""

from __future__ import annotations

from shared.model.image import ImageSpec

PREFIX = "tee.launch_policy."
_MONITORING = {
    "hardened_memory": ("hardened_monitoring", "memoryonly"),
    "debug_memory": ("debug_monitoring", "memoryonly"),
    "legacy_memory": ("monitoring_memory_allow", "always"),
}


def labels(spec: ImageSpec) -> dict[str, str]:
    """What is not allowed is not written: the launcher allows nothing by itself. Monitoring has one label only, since
    the old and a new one together fail a launch."""
    policy = spec.launch_policy
    written = dict(spec.labels) | {f"{PREFIX}log_redirect": policy.log_redirect}
    if policy.allow_env_override:
        written[f"{PREFIX}allow_env_override"] = ",".join(policy.allow_env_override)
    if policy.allow_cmd_override:
        written[f"{PREFIX}allow_cmd_override"] = "true"
    if policy.monitoring in _MONITORING:
        name, value = _MONITORING[policy.monitoring]
        written[PREFIX + name] = value
    return written
