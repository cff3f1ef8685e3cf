"""The emulator's configuration file: one JSON object, read strictly.

    {"listen": "127.0.0.1:0", "port_file": "/run/x/port", "state_dir": "/var/x", "token_key": "/run/x/key",
     "project": "dmz-inner", "location": "us-central1",
     "repositories": [{"name": "dmz-python", "format": "PYTHON"}],
     "iam": {"*": {"reader": ["a@b"], "writer": [], "repoAdmin": []}},
     "faults": false, "quota_bytes": 0}

`port_file` receives the port number once the server answers. `faults` and `quota_bytes` are for tests, see faults.py.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from shared.errors import Permanent

# https://cloud.google.com/artifact-registry/docs/repositories/create-repos: letters, digits, hyphens.
_REPOSITORY = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_PROJECT = re.compile(r"[a-z][a-z0-9-]{1,28}[a-z0-9]")
_LOCATION = re.compile(r"[a-z]+(-[a-z]+[0-9]+)?")
# These begin a path of another family on the bare loopback address, so a project cannot have such a name there.
_RESERVED = {"v1", "v1beta2", "upload", "resumable", "download", "projects", "doc", "v2"}
_T = TypeVar("_T")
ROLES = ("reader", "writer", "repoAdmin", "packageDmzEvictor")
_KEYS = {
    "listen", "port_file", "state_dir", "token_key", "project", "location", "repositories", "iam", "faults",
    "quota_bytes",
}  # fmt: skip


class Format(StrEnum):
    """The repository formats of Artifact Registry that are imitated here."""

    PYTHON = "PYTHON"
    APT = "APT"
    GENERIC = "GENERIC"
    DOCKER = "DOCKER"


@dataclass(frozen=True)
class Config:
    """What one emulator process serves."""

    host: str
    port: int
    port_file: Path | None
    state_dir: Path
    token_key: Path
    project: str
    location: str
    repositories: Mapping[str, Format]
    iam: Mapping[str, Mapping[str, frozenset[str]]]
    faults: bool
    quota_bytes: int


def load(path: Path) -> Config:
    """The configuration in `path`; Permanent, with one sentence, if it is unreadable or wrong."""
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise Permanent(f"Cannot read the configuration {path}: {error.strerror}.") from error
    except ValueError as error:
        raise Permanent(f"The configuration {path} is not JSON: {error}.") from error
    try:
        return parse(content)
    except Permanent as error:
        raise Permanent(f"In the configuration {path}: {error}") from error


def parse(content: Any) -> Config:
    """`content` as a Config; Permanent if a key is unknown, missing or has a value that cannot be."""
    if not isinstance(content, dict):
        raise Permanent("expected a JSON object.")
    if unknown := sorted(set(content) - _KEYS):
        raise Permanent(f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(_KEYS))}.")
    host, port = _listen(_text(content, "listen", "127.0.0.1:0"))
    project = _matching(_PROJECT, _text(content, "project"), "project")
    if project in _RESERVED:
        raise Permanent(f"project cannot be {project!r}: paths of the API begin with it.")
    repositories = _repositories(content.get("repositories"))
    return Config(
        host=host,
        port=port,
        port_file=Path(_text(content, "port_file")) if "port_file" in content else None,
        state_dir=Path(_text(content, "state_dir")),
        token_key=Path(_text(content, "token_key")),
        project=project,
        location=_matching(_LOCATION, _text(content, "location", "us-central1"), "location"),
        repositories=repositories,
        iam=_iam(content.get("iam", {}), repositories),
        faults=_typed(content.get("faults", False), bool, "faults"),
        quota_bytes=_typed(content.get("quota_bytes", 0), int, "quota_bytes"),
    )


def _text(content: dict[str, Any], key: str, default: str | None = None) -> str:
    value = content.get(key, default)
    if not isinstance(value, str) or not value:
        raise Permanent(f"{key} must be a non-empty string, not {value!r}.")
    return value


def _typed(value: Any, kind: type[_T], key: str) -> _T:
    if type(value) is not kind:
        raise Permanent(f"{key} must be of type {kind.__name__}, not {value!r}.")
    return value


def _matching(pattern: re.Pattern[str], value: str, key: str) -> str:
    if not pattern.fullmatch(value):
        raise Permanent(f"{key} {value!r} does not match {pattern.pattern}.")
    return value


def _listen(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    try:
        # There is no TLS here, and tokens come in the clear: never off this machine.
        if not ip_address(host.strip("[]")).is_loopback:
            raise Permanent(
                f"listen {value!r} is not a loopback address; put a TLS front before this one instead."
            )
        return host.strip("[]"), int(port)
    except ValueError as error:
        raise Permanent(f"listen must be ADDRESS:PORT, not {value!r}.") from error


def _repositories(value: Any) -> dict[str, Format]:
    if not isinstance(value, list) or not value:
        raise Permanent("repositories must be a non-empty list of {name, format}.")
    result: dict[str, Format] = {}
    for entry in value:
        if not isinstance(entry, dict) or set(entry) != {"name", "format"}:
            raise Permanent(f"a repository is {{name, format}}, not {entry!r}.")
        name = _matching(_REPOSITORY, _text(entry, "name"), "repository name")
        if entry["format"] not in list(Format):
            raise Permanent(
                f"the format of {name} must be one of {', '.join(Format)}, not {entry['format']!r}."
            )
        if name in result:
            raise Permanent(f"repository {name} is there twice.")
        result[name] = Format(entry["format"])
    return result


def _iam(value: Any, repositories: Mapping[str, Format]) -> dict[str, dict[str, frozenset[str]]]:
    bindings: dict[str, dict[str, frozenset[str]]] = {}
    for repository, roles in _typed(value, dict, "iam").items():
        if repository != "*" and repository not in repositories:
            raise Permanent(f"iam names {repository!r}, which is not a repository here.")
        bindings[repository] = {}
        for role, members in _typed(roles, dict, f"iam {repository}").items():
            if role not in ROLES:
                raise Permanent(f"iam {repository} has the role {role!r}; known are {', '.join(ROLES)}.")
            if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
                raise Permanent(f"iam {repository} {role} must be a list of e-mail addresses.")
            bindings[repository][role] = frozenset(members)
    return bindings
