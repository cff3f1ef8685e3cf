"""What the operator of the VM asks for, in the instance's metadata attributes.

Source: launcher/spec/launch_spec.go of go-tpm-tools and
https://cloud.google.com/confidential-computing/confidential-space/docs/reference/metadata-variables. Refusals are
worded like the launcher's. Not imitated, and refused: GPU drivers, impersonated service accounts, signed image
repositories, Intel Trust Authority.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from shared.errors import Permanent

IMAGE_REFERENCE = "tee-image-reference"
ENV_PREFIX = "tee-env-"
_UNSUPPORTED = (
    "tee-install-gpu-driver",
    "tee-impersonate-service-accounts",
    "tee-signed-image-repos",
    "ita-region",
    "ita-api-key",
)
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_REDIRECTS = ("true", "cloud_logging", "serial", "false")
_ENV_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TMPFS_KEYS = ("type", "source", "destination", "size")
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


class Monitoring(Enum):
    NONE = "none"
    MEMORY_ONLY = "memoryOnly"
    ALL = "all"


@dataclass(frozen=True)
class Mount:
    """A file system in memory. `size` in bytes; 0: the kernel's default."""

    destination: str
    size: int


@dataclass(frozen=True)
class LaunchSpec:
    """Defaults are the launcher's."""

    image: str
    cmd: tuple[str, ...] = ()
    envs: tuple[tuple[str, str], ...] = ()
    restart_policy: str = "Never"
    log_redirect: str = "false"
    monitoring: Monitoring = Monitoring.NONE
    mounts: tuple[Mount, ...] = ()
    shm_kib: int = 0
    capabilities: tuple[str, ...] = ()
    cgroup_namespace: bool = False
    refresh_token: bool = True

    @property
    def redirects(self) -> bool:
        return self.log_redirect != "false"

    @property
    def on_serial(self) -> bool:
        return self.log_redirect in ("true", "serial")


def read(attributes: Mapping[str, str]) -> LaunchSpec:
    """The launch specification in an instance's attributes. Permanent for a value that the launcher refuses."""
    for name in _UNSUPPORTED:
        if attributes.get(name):
            raise Permanent(f"{name} is not supported by this emulator")
    if not attributes.get(IMAGE_REFERENCE):
        raise Permanent(f"{IMAGE_REFERENCE} is not specified in the custom metadata")
    return LaunchSpec(
        image=attributes[IMAGE_REFERENCE],
        cmd=_strings(attributes, "tee-cmd"),
        envs=tuple(sorted(_environment(attributes))),
        restart_policy=_one_of(
            attributes.get("tee-restart-policy") or "Never", _RESTART_POLICIES, "invalid restart policy: {}"
        ),
        log_redirect=_one_of(
            attributes.get("tee-container-log-redirect") or "false",
            _REDIRECTS,
            f"invalid logging redirect location {{}}, expect one of [{' '.join(_REDIRECTS)}]",
        ),
        monitoring=_monitoring(attributes),
        mounts=tuple(_mount(text) for text in attributes.get("tee-mount", "").split(";") if text),
        shm_kib=_unsigned(attributes.get("tee-dev-shm-size-kb") or "0", "failed to convert {} into uint64"),
        capabilities=_strings(attributes, "tee-added-capabilities"),
        cgroup_namespace=_flag(attributes, "tee-cgroup-ns"),
        refresh_token=not _flag(attributes, "tee-disable-gca-refresh"),
    )


def boolean(text: str) -> bool:
    """As Go's strconv.ParseBool; ValueError for anything else."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(text)


def monitoring(text: str) -> Monitoring:
    for kind in Monitoring:
        if text.lower() == kind.value.lower():
            return kind
    raise Permanent(f"invalid monitoring type {text}")


def environment_variable(name: str, value: str) -> tuple[str, str]:
    """Permanent unless `name` is one that the launcher takes (cel/cos_tlv.go)."""
    if not _ENV_NAME.fullmatch(name):
        raise Permanent(
            f"failed to format env var: malformed env name [{name}], env name must start with an alpha character or "
            "'_', followed by a string of alphanumeric characters or '_' (^[a-zA-Z_][a-zA-Z0-9_]*$)"
        )
    return name, value


def _environment(attributes: Mapping[str, str]) -> list[tuple[str, str]]:
    return [
        environment_variable(name.removeprefix(ENV_PREFIX), value)
        for name, value in attributes.items()
        if name.startswith(ENV_PREFIX)
    ]


def _monitoring(attributes: Mapping[str, str]) -> Monitoring:
    old, new = "tee-monitoring-memory-enable", "tee-monitoring-enable"
    if old in attributes and new in attributes:
        raise Permanent(f"both {old} and {new} are specified, only one is permitted")
    if attributes.get(old):
        return Monitoring.MEMORY_ONLY if _flag(attributes, old) else Monitoring.NONE
    return monitoring(attributes[new]) if attributes.get(new) else Monitoring.NONE


def _mount(text: str) -> Mount:
    options: dict[str, str] = {}
    for option in text.split(","):
        name, found, value = option.partition("=")
        if not found:
            raise Permanent(
                f"failed to parse mount option: malformed env var, doesn't contain '=': [{option}]"
            )
        if name not in _TMPFS_KEYS:
            raise Permanent(f"found unknown mount option: {option}, expect keys of [{' '.join(_TMPFS_KEYS)}]")
        options[name] = value
    if options.get("type") != "tmpfs":
        raise Permanent(f"found unknown or unspecified mount type: {text}, expect one of types [tmpfs]")
    if options.get("source") != "tmpfs":
        raise Permanent(f"received wrong mount source {options.get('source', '')}, expected tmpfs")
    if not options.get("destination"):
        raise Permanent('mount type "tmpfs" must have destination specified')
    size = _unsigned(options.get("size", "0"), 'failed to convert size option "{}" to uint64')
    return Mount(f"/{options['destination'].lstrip('/')}", size)


def _strings(attributes: Mapping[str, str], name: str) -> tuple[str, ...]:
    try:
        found = json.loads(attributes.get(name) or "[]")
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise Permanent(f'invalid value for {name}: it must be a JSON array of strings, like ["a","b"]')
    return tuple(found)


def _flag(attributes: Mapping[str, str], name: str) -> bool:
    try:
        return boolean(attributes[name]) if attributes.get(name) else False
    except ValueError:
        raise Permanent(f"invalid value for {name} (not a boolean): {attributes[name]}") from None


def _one_of(value: str, allowed: tuple[str, ...], refusal: str) -> str:
    if value not in allowed:
        raise Permanent(refusal.format(value))
    return value


def _unsigned(text: str, refusal: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**63):
        raise Permanent(refusal.format(text))
    return int(text)
