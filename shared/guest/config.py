"""What a stage tells its VM: the metadata value `dmz-config`, parsed strictly.

The same dataclasses write it (stage) and read it (guest), so neither can name a field that the other does not know.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shared.guest.failure import GuestError

T = TypeVar("T")

_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!~%-]{0,254}", re.ASCII)


@dataclass(frozen=True)
class Wheel:
    """A wheel of the user's own, kept in the staging repository as `wheels:<hex>:<filename>`."""

    filename: str
    sha256: str

    @property
    def file_id(self) -> str:
        return f"wheels:{_hex(self.sha256)}:{self.filename}"


@dataclass(frozen=True)
class InterpreterConfig:
    """Where the workload's own Python comes from."""

    version: str
    """Minor version, like 3.12."""
    url: str
    sha256: str


@dataclass(frozen=True)
class AptSource:
    """An apt repository of the workload's own, and what is taken from it."""

    name: str
    url: str
    suite: str
    components: tuple[str, ...]
    packages: tuple[str, ...]
    key: str
    """Armored OpenPGP public key."""


@dataclass(frozen=True)
class WorkloadConfig:
    """What to install; the fields of the workload file that a VM needs."""

    name: str
    install: str
    smoke: str
    apt: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    wheels: tuple[Wheel, ...] = ()
    install_minutes: int = 45
    interpreter: InterpreterConfig | None = None
    apt_sources: tuple[AptSource, ...] = ()


@dataclass(frozen=True)
class LockFile:
    """Where the lock lies in a generic repository, and its hash."""

    repository: str
    package: str
    version: str
    filename: str
    sha256: str

    @property
    def file_id(self) -> str:
        return f"{self.package}:{self.version}:{self.filename}"


@dataclass(frozen=True)
class Repositories:
    """Names of the private repositories that an inner VM installs from."""

    python: str
    apt: str
    generic: str


@dataclass(frozen=True)
class Sources:
    """What an outer VM installs from; an empty field leaves what the image has."""

    python_index: str = ""
    """Simple index (PEP 503), like https://pypi.org/simple/."""
    debian_mirror: str = ""
    debian_security_mirror: str = ""
    debian_key: str = ""
    """Armored OpenPGP key that signs the mirrors, if it is not the one that the image trusts."""


@dataclass(frozen=True)
class Config:
    """Everything that a VM is told."""

    run_id: str
    role: str
    """`outer` or `inner`."""
    report_token: str
    """Secret that goes back in the report: shows that it is about this VM."""
    project: str
    topic: str
    """Topic of the report."""
    location: str
    """Of the repositories, like us-central1."""
    event_id: str
    event_type: str
    event_source: str
    workload: WorkloadConfig
    events_project: str = ""
    """Project of the topic; empty: `project`, which is the repositories'."""
    staging: str = ""
    """Generic repository with the user's own wheels (outer)."""
    attributes: dict[str, str] = field(default_factory=dict)
    """Further attributes of the report: `replay-id`, `traceparent`."""
    workers: int = 1
    """Hosts of the slice by its type: with several, the metadata must say which of them this is."""
    lock: LockFile | None = None
    repositories: Repositories | None = None
    sources: Sources = field(default_factory=Sources)

    def to_json(self) -> str:
        """Canonical: sorted keys, no white space."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def parse(text: str) -> Config:
    """The configuration in `text`; GuestError with the mistake and its place."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise GuestError(f"The metadata value dmz-config is not JSON: {error}.") from error
    config = _build(Config, data, "dmz-config")
    if config.role not in ("outer", "inner"):
        raise GuestError(f"dmz-config.role must be outer or inner, not {config.role!r}.")
    if config.role == "inner" and (config.lock is None or config.repositories is None):
        raise GuestError("dmz-config of an inner VM must name its lock and its repositories.")
    if config.workload.wheels and config.role == "outer" and not config.staging:
        raise GuestError("dmz-config names wheels of the user's own but no staging repository.")
    for wheel in config.workload.wheels:
        if not _FILENAME.fullmatch(wheel.filename):
            raise GuestError(f"dmz-config names a wheel {wheel.filename!r}, which is no plain file name.")
        _hex(wheel.sha256)
    if config.workload.interpreter is not None:
        _hex(config.workload.interpreter.sha256)
    for name in ("run_id", "report_token", "project", "topic", "location", "event_id", "event_type"):
        if not getattr(config, name):
            raise GuestError(f"dmz-config.{name} must not be empty.")
    return config


def generic_id(sha256: str) -> str:
    """File id under which a generic repository keeps a file that a workload fetches by URL."""
    return f"generic:{_hex(sha256)}:file"


def _hex(digest: str) -> str:
    prefix, _, digits = digest.partition(":")
    if prefix != "sha256" or not _HEX.fullmatch(digits):
        raise GuestError(f"A digest is 'sha256:' and 64 hexadecimal digits, not {digest[:80]!r}.")
    return digits


def _build(cls: type[T], data: Any, where: str) -> T:
    """An instance of the dataclass `cls`: every field checked, none unknown, none missing without a default."""
    if not isinstance(data, dict):
        raise GuestError(f"{where} must be a JSON object.")
    fields = {each.name: each for each in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in data:
        if name not in fields:
            raise GuestError(f"{where} has a field {str(name)[:80]!r} that this guest does not know.")
    hints = typing.get_type_hints(cls)
    values = {}
    for name, each in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], f"{where}.{name}")
        elif each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
            raise GuestError(f"{where} lacks the field {name}.")
    return cls(**values)


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _value(arguments[0], value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise GuestError(f"{where} must be a list.")
        return tuple(_value(arguments[0], each, f"{where}[{index}]") for index, each in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise GuestError(f"{where} must be a JSON object.")
        return {_value(str, k, where): _value(str, v, f"{where}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast("type[Any]", hint), value, where)
    if not isinstance(value, hint) or isinstance(value, bool):
        raise GuestError(f"{where} must be of type {hint.__name__}, not {type(value).__name__}.")
    return value
