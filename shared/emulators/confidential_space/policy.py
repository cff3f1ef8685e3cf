"""The launch policy: what an image's author lets the operator of the VM change. From the image's labels.

Source: launcher/spec/launch_policy.go of go-tpm-tools; sentences of refusal are worded like the launcher's, so that
what is found in a serial log here is found on Google Cloud. Checks of `verify`, in this order; the first that fails
ends the launch:
1. only environment variables that the image lists are overridden;
2. arguments only if the image allows that;
3. output leaves the container only where the image allows it (never | debugonly | always);
4. monitoring no wider than the image allows for this kind of VM image;
5. file systems are mounted only below places that the image lists;
6. no further capabilities, no cgroup namespace, unless the image allows them.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from shared.emulators.confidential_space.launch_spec import LaunchSpec, Monitoring, boolean, monitoring
from shared.errors import Permanent

PREFIX = "tee.launch_policy."
_CAPABILITIES, _CGROUPS = f"{PREFIX}allow_capabilities", f"{PREFIX}allow_cgroups"
_CMD, _ENV = f"{PREFIX}allow_cmd_override", f"{PREFIX}allow_env_override"
_MOUNTS, _LOG = f"{PREFIX}allow_mount_destinations", f"{PREFIX}log_redirect"
_OLD_MEMORY = f"{PREFIX}monitoring_memory_allow"
_DEBUG, _HARDENED = f"{PREFIX}debug_monitoring", f"{PREFIX}hardened_monitoring"


class When(Enum):
    DEBUG_ONLY = "debugonly"
    ALWAYS = "always"
    NEVER = "never"


class _Width(IntEnum):
    """How much a kind of monitoring shows."""

    NONE = 0
    MEMORY_ONLY = 1
    ALL = 2


@dataclass(frozen=True)
class LaunchPolicy:
    """Defaults are those of an image without labels."""

    env_override: tuple[str, ...] = ()
    cmd_override: bool = False
    log_redirect: When = When.DEBUG_ONLY
    mount_destinations: tuple[str, ...] = ()
    debug_monitoring: Monitoring = Monitoring.MEMORY_ONLY
    hardened_monitoring: Monitoring = Monitoring.NONE
    capabilities: bool = False
    cgroups: bool = False
    notes: tuple[str, ...] = field(default=())
    """What the launcher says about the labels without refusing them."""


def read(labels: Mapping[str, str]) -> LaunchPolicy:
    """The policy in an image's labels; others are ignored. Permanent for a value that the launcher refuses."""
    debug, hardened, notes = _monitoring(labels)
    return LaunchPolicy(
        env_override=tuple(name for name in labels.get(_ENV, "").split(",") if name),
        cmd_override=_flag(labels, _CMD),
        log_redirect=_when(labels[_LOG], _LOG) if _LOG in labels else When.DEBUG_ONLY,
        mount_destinations=tuple(
            posixpath.normpath(path) for path in labels.get(_MOUNTS, "").split(":") if path
        ),
        debug_monitoring=debug,
        hardened_monitoring=hardened,
        capabilities=_flag(labels, _CAPABILITIES),
        cgroups=_flag(labels, _CGROUPS),
        notes=notes,
    )


def verify(policy: LaunchPolicy, spec: LaunchSpec, *, hardened: bool) -> None:
    """Permanent, in the launcher's words, unless `policy` allows what the operator asks for in `spec`."""
    for name, value in spec.envs:
        if name not in policy.env_override:  # 1
            raise Permanent(
                f"env var {{{name} {value}}} is not allowed to be overridden on this image; allowed envs to be "
                f"overridden: {_go(policy.env_override)}"
            )
    if spec.cmd and not policy.cmd_override:  # 2
        raise Permanent("CMD is not allowed to be overridden on this image")
    if spec.redirects and policy.log_redirect is When.NEVER:  # 3
        raise Permanent("logging redirection not allowed by image")
    if spec.redirects and policy.log_redirect is When.DEBUG_ONLY and hardened:
        raise Permanent("logging redirection only allowed on debug environment by image")
    _verify_monitoring(  # 4
        policy.hardened_monitoring if hardened else policy.debug_monitoring, spec.monitoring
    )
    for mount in spec.mounts:  # 5
        _verify_destination(policy, mount.destination)
    if spec.capabilities and not policy.capabilities:  # 6
        raise Permanent("additional capabilities are not allowed")
    if spec.cgroup_namespace and not policy.cgroups:
        raise Permanent("cgroups usage is not allowed")


def _monitoring(labels: Mapping[str, str]) -> tuple[Monitoring, Monitoring, tuple[str, ...]]:
    """For debug and for production images. The old label and the new ones exclude each other."""
    if _OLD_MEMORY in labels:
        if _DEBUG in labels or _HARDENED in labels:
            raise Permanent(f"use either {_OLD_MEMORY} or {_HARDENED}/{_DEBUG} in image labels,- not both")
        when = _when(labels[_OLD_MEMORY], _OLD_MEMORY)
        debug = Monitoring.NONE if when is When.NEVER else Monitoring.MEMORY_ONLY
        hardened = Monitoring.MEMORY_ONLY if when is When.ALWAYS else Monitoring.NONE
        note = f"{_OLD_MEMORY} will be deprecated, use {_HARDENED} and {_DEBUG} instead"
        return debug, hardened, (note,)
    found = {_DEBUG: Monitoring.MEMORY_ONLY, _HARDENED: Monitoring.NONE}
    for label, kind in ((_HARDENED, "hardened"), (_DEBUG, "debug")):
        if label in labels:
            try:
                found[label] = monitoring(labels[label])
            except Permanent as error:
                raise Permanent(f"invalid monitoring type for {kind} image: {error}") from None
    return found[_DEBUG], found[_HARDENED], ()


def _verify_monitoring(allowed: Monitoring, wanted: Monitoring) -> None:
    if _Width[wanted.name] <= _Width[allowed.name]:
        return
    if allowed is Monitoring.NONE:
        why = f"spec configured for {wanted.value} but policy is none"
    else:
        why = "spec configured for all monitoring, policy only allows memory"
    raise Permanent(f"error verifying monitoring config: {why}")


def _verify_destination(policy: LaunchPolicy, destination: str) -> None:
    refusal = "destination mount points are not allowed: "
    destination = posixpath.normpath(destination)
    for allowed in policy.mount_destinations:
        if not allowed.startswith("/"):
            raise Permanent(f"{refusal}received a non-absolute allowed destination path: {allowed}")
        if destination == allowed or destination.startswith(f"{allowed.rstrip('/')}/"):
            return
    raise Permanent(
        f'{refusal}destination mount point "{destination}" is invalid: policy only allows mounts in the following '
        f"paths: {_go(policy.mount_destinations)}"
    )


def _flag(labels: Mapping[str, str], label: str) -> bool:
    if label not in labels:
        return False
    try:
        return boolean(labels[label])
    except ValueError:
        raise Permanent(f"invalid image LABEL '{label}' (not a boolean)") from None


def _when(value: str, label: str) -> When:
    """The launcher is lenient in case and white space here."""
    try:
        return When(re.sub(r"^\s+|\s+$", "", value.lower()))
    except ValueError:
        raise Permanent(f"invalid image LABEL '{label}'") from None


def _go(values: tuple[str, ...]) -> str:
    return f"[{' '.join(values)}]"
