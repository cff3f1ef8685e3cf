"""Labels and metadata: what the launcher allows and refuses, in its words."""

from __future__ import annotations

from typing import Any

import pytest

from shared.emulators.confidential_space import launch_spec, policy
from shared.emulators.confidential_space.launch_spec import Monitoring, Mount
from shared.errors import Permanent

P = policy.PREFIX
IMAGE = {launch_spec.IMAGE_REFERENCE: "h.example/i:v"}


def verify(labels: dict[str, str], attributes: dict[str, str], *, hardened: bool = True) -> None:
    policy.verify(policy.read(labels), launch_spec.read(IMAGE | attributes), hardened=hardened)


@pytest.mark.parametrize(
    ("labels", "attributes", "hardened"),
    [
        ({}, {}, True),
        ({f"{P}allow_env_override": "A,B"}, {"tee-env-A": "1", "tee-env-B": ""}, True),
        ({f"{P}allow_cmd_override": "true"}, {"tee-cmd": '["x"]'}, True),
        ({f"{P}allow_cmd_override": "T"}, {"tee-cmd": '["x"]'}, True),
        ({}, {"tee-cmd": "[]"}, True),
        ({f"{P}log_redirect": "always"}, {"tee-container-log-redirect": "true"}, True),
        ({f"{P}log_redirect": " Always\n"}, {"tee-container-log-redirect": "serial"}, True),
        ({}, {"tee-container-log-redirect": "cloud_logging"}, False),
        ({f"{P}log_redirect": "never"}, {"tee-container-log-redirect": "false"}, True),
        ({}, {"tee-monitoring-enable": "memoryOnly"}, False),
        ({f"{P}hardened_monitoring": "memoryOnly"}, {"tee-monitoring-memory-enable": "1"}, True),
        ({f"{P}monitoring_memory_allow": "always"}, {"tee-monitoring-memory-enable": "true"}, True),
        ({f"{P}monitoring_memory_allow": "debugonly"}, {"tee-monitoring-memory-enable": "true"}, False),
        ({f"{P}hardened_monitoring": "all"}, {"tee-monitoring-enable": "all"}, True),
        (
            {f"{P}allow_mount_destinations": "/tmp:/var/tmp/"},
            {"tee-mount": "type=tmpfs,source=tmpfs,destination=/var/tmp/a,size=4096"},
            True,
        ),
        ({f"{P}allow_capabilities": "1"}, {"tee-added-capabilities": '["CAP_X"]'}, True),
        ({f"{P}allow_cgroups": "true"}, {"tee-cgroup-ns": "true"}, True),
    ],
)
def test_allowed(labels: dict[str, str], attributes: dict[str, str], hardened: bool) -> None:
    verify(labels, attributes, hardened=hardened)


@pytest.mark.parametrize(
    ("labels", "attributes", "hardened", "said"),
    [
        ({}, {"tee-env-A": "1"}, False, "env var {A 1} is not allowed to be overridden on this image; allowed envs"),
        ({f"{P}allow_env_override": "AB, A"}, {"tee-env-A": "1"}, True, "overridden: [AB  A]"),
        ({f"{P}allow_env_override": "a"}, {"tee-env-A": "1"}, True, "is not allowed to be overridden"),
        ({}, {"tee-cmd": '["x"]'}, False, "CMD is not allowed to be overridden on this image"),
        ({f"{P}allow_cmd_override": "yes"}, {}, True, "(not a boolean)"),
        ({f"{P}log_redirect": "never"}, {"tee-container-log-redirect": "true"}, False, "not allowed by image"),
        ({}, {"tee-container-log-redirect": "true"}, True, "only allowed on debug environment by image"),
        ({f"{P}log_redirect": "sometimes"}, {}, True, f"invalid image LABEL '{P}log_redirect'"),
        ({}, {"tee-monitoring-memory-enable": "true"}, True, "spec configured for memoryOnly but policy is none"),
        ({}, {"tee-monitoring-enable": "all"}, False, "policy only allows memory"),
        ({f"{P}monitoring_memory_allow": "never"}, {"tee-monitoring-memory-enable": "1"}, False, "policy is none"),
        (
            {f"{P}monitoring_memory_allow": "always", f"{P}hardened_monitoring": "none"},
            {},
            True,
            f"use either {P}monitoring_memory_allow or {P}hardened_monitoring/{P}debug_monitoring",
        ),
        ({f"{P}monitoring_memory_allow": "always", f"{P}debug_monitoring": "all"}, {}, True, "not both"),
        ({f"{P}debug_monitoring": "much"}, {}, True, "invalid monitoring type for debug image"),
        ({}, {"tee-mount": "type=tmpfs,source=tmpfs,destination=/tmp"}, True, "are not allowed"),
        (
            {f"{P}allow_mount_destinations": "/tmp"},
            {"tee-mount": "type=tmpfs,source=tmpfs,destination=/tmp/../etc"},
            True,
            'destination mount point "/etc" is invalid',
        ),
        (
            {f"{P}allow_mount_destinations": "/tmp"},
            {"tee-mount": "type=tmpfs,source=tmpfs,destination=/tmpx"},
            True,
            "is invalid",
        ),
        (
            {f"{P}allow_mount_destinations": "tmp"},
            {"tee-mount": "type=tmpfs,source=tmpfs,destination=/tmp"},
            True,
            "non-absolute",
        ),
        ({}, {"tee-added-capabilities": '["CAP_SYS_ADMIN"]'}, True, "additional capabilities are not allowed"),
        ({}, {"tee-cgroup-ns": "true"}, True, "cgroups usage is not allowed"),
    ],
)  # fmt: skip
def test_refused_by_the_image(
    labels: dict[str, str], attributes: dict[str, str], hardened: bool, said: str
) -> None:
    with pytest.raises(Permanent) as error:
        verify(labels, attributes, hardened=hardened)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"tee-restart-policy": "always"}, "invalid restart policy: always"),
        ({"tee-container-log-redirect": "yes"}, "invalid logging redirect location yes"),
        ({"tee-cmd": "x"}, "JSON array of strings"),
        ({"tee-cmd": '["a", 1]'}, "JSON array of strings"),
        ({"tee-env-1A": "x"}, "malformed env name [1A]"),
        ({"tee-env-A\n": "x"}, "malformed env name"),
        ({"tee-env-": "x"}, "malformed env name []"),
        ({"tee-monitoring-memory-enable": "maybe"}, "(not a boolean)"),
        ({"tee-monitoring-memory-enable": "true", "tee-monitoring-enable": ""}, "only one is permitted"),
        ({"tee-mount": "type=bind,source=/,destination=/x"}, "expect one of types [tmpfs]"),
        ({"tee-mount": "type=tmpfs,source=/etc,destination=/x"}, "received wrong mount source"),
        ({"tee-mount": "type=tmpfs,source=tmpfs"}, "must have destination"),
        ({"tee-mount": "type=tmpfs,source=tmpfs,destination=/x,size=1k"}, "to uint64"),
        ({"tee-mount": "type=tmpfs,source=tmpfs,destination=/x,exec=1"}, "unknown mount option"),
        ({"tee-dev-shm-size-kb": "-1"}, "into uint64"),
        ({"tee-cgroup-ns": "perhaps"}, "(not a boolean)"),
        ({"tee-signed-image-repos": "x"}, "not supported by this emulator"),
        ({launch_spec.IMAGE_REFERENCE: ""}, "is not specified in the custom metadata"),
    ],
)
def test_metadata_that_the_launcher_refuses(attributes: dict[str, str], said: str) -> None:
    with pytest.raises(Permanent) as error:
        launch_spec.read(IMAGE | attributes)
    assert said in str(error.value)


def test_what_metadata_becomes() -> None:
    attributes: dict[str, Any] = {
        "tee-cmd": '["--x", "1"]',
        "tee-env-B": "2=3",
        "tee-env-A": "1",
        "tee-restart-policy": "OnFailure",
        "tee-container-log-redirect": "serial",
        "tee-monitoring-enable": "ALL",
        "tee-mount": "type=tmpfs,source=tmpfs,destination=a,size=10;type=tmpfs,source=tmpfs,destination=/b",
        "tee-dev-shm-size-kb": "64",
        "startup-script": "is nothing here",
    }
    found = launch_spec.read(IMAGE | attributes)
    assert found.cmd == ("--x", "1")
    assert found.envs == (("A", "1"), ("B", "2=3"))
    assert (found.restart_policy, found.log_redirect, found.shm_kib) == ("OnFailure", "serial", 64)
    assert found.monitoring is Monitoring.ALL
    assert found.mounts == (Mount("/a", 10), Mount("/b", 0))
    assert launch_spec.read(IMAGE).restart_policy == "Never"
