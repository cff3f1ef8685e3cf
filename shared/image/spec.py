"""Specs and locks on disk: `shared/data/images/NAME.yaml` and, beside it, `NAME.lock.json`."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from shared.errors import Permanent
from shared.model import yaml_file
from shared.model.image import ImageLock, ImageSpec, LockedInput, Python
from shared.model.value import canonical, printable, sha256

BUILT_IN = Path(__file__).parent.parent / "data" / "images"
SERVICES = "services"
"""The image of the stages: its sources are this project."""
_MAX_LOCK = 16 * 1024**2
_RESOLVED = ("kind", "base", "java", "native", "python")
_NOT_RESOLVED = {
    "java": ("main_class", "release"),
    "native": ("library", "flags"),
    "python": ("main", "bytecode"),
}
"""Fields of those parts that choose no input: a change of them leaves the lock as it is."""
_CAME_LATER = {"python": ("pinned",)}
"""Fields that count where they are used: locks that were made before there was such a field stay good."""


def read(path: Path) -> ImageSpec:
    """The spec in the YAML file at `path`; Permanent with the mistake and its line."""
    return yaml_file.read(path, ImageSpec, "image spec", "name, kind, source and base")


def built_in() -> tuple[str, ...]:
    """Names of the specs that come with the project."""
    return yaml_file.names(BUILT_IN)


def data_services() -> tuple[str, ...]:
    """Those whose digests are committed: all but the project's own image, which is another one with every commit."""
    return tuple(name for name in built_in() if name != SERVICES)


def find(name_or_path: str) -> Path:
    """The path of a built-in spec by name, or of the user's own by path."""
    return yaml_file.find(name_or_path, BUILT_IN, "image")


def lock_path(spec_path: Path) -> Path:
    return spec_path.with_name(f"{spec_path.stem}.lock.json")


def resolved_from(spec: ImageSpec, directory: Path) -> str:
    """The digest of what the lock's inputs follow from. `directory`: the spec's; `python.pinned` is relative to it."""
    document = spec.model_dump(mode="json")
    parts = {name: document[name] for name in _RESOLVED}
    for name, fields in _NOT_RESOLVED.items():
        if parts[name] is not None:
            parts[name] = {
                key: value
                for key, value in parts[name].items()
                if key not in fields and (value or key not in _CAME_LATER.get(name, ()))
            }
    if spec.python and spec.python.pinned:
        parts["python"]["pinned"] = sha256(pinned(spec.python, directory))
    return sha256(canonical(parts))


def pinned(python: Python, directory: Path) -> bytes:
    """The requirements file that the spec in `directory` names."""
    path = directory / python.pinned
    try:
        return path.read_bytes()
    except OSError as error:
        raise Permanent(
            f"{path} cannot be read ({error.strerror}); correct python.pinned in the image spec."
        ) from error


def read_lock(spec: ImageSpec, spec_path: Path) -> ImageLock:
    """The lock beside the spec. Permanent if it is missing, unreadable, or of other inputs than the spec asks for."""
    path = lock_path(spec_path)
    shown, advice = printable(str(path), 300), f"run `./dmz image lock {printable(str(spec_path), 300)}`"
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_LOCK + 1)
    except FileNotFoundError as error:
        raise Permanent(f"The image {spec.name} has no lock {shown}; {advice}.") from error
    except OSError as error:
        raise Permanent(f"The image lock {shown} cannot be read: {error.strerror}.") from error
    if len(data) > _MAX_LOCK:
        raise Permanent(f"The image lock {shown} is larger than {_MAX_LOCK} bytes; {advice}.")
    lock = ImageLock.read(data, f"The image lock {shown}")
    if lock.image != spec.name or lock.resolved_from != resolved_from(spec, spec_path.parent):
        raise Permanent(f"The image lock {shown} was resolved from another spec; {advice}.")
    if len({(each.role, each.name, each.url, each.path) for each in lock.inputs}) != len(lock.inputs):
        raise Permanent(f"The image lock {shown} names an input twice; {advice}.")
    # A lock's digest is signed with the image's: it must not follow the order of the file either.
    return lock.model_copy(update={"inputs": sorted_inputs(lock)})


def lock_bytes(lock: ImageLock) -> bytes:
    """The lock as its file holds it: sorted, one line for each field, the same bytes for the same lock."""
    document = lock.model_dump(mode="json", exclude_defaults=True) | {"format": lock.format}
    document["inputs"] = [each.model_dump(mode="json", exclude_defaults=True) for each in sorted_inputs(lock)]
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def sorted_inputs(lock: ImageLock) -> tuple[LockedInput, ...]:
    """The inputs in the one order that their content gives, whatever the file's is."""
    return tuple(sorted(lock.inputs, key=lambda each: (each.role, each.name, each.url, each.path)))


def write_lock(lock: ImageLock, spec_path: Path) -> Path:
    """Write the lock beside the spec, whole or not at all; its path."""
    path = lock_path(spec_path)
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".lock-", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(lock_bytes(lock))
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise Permanent(f"The image lock {path} cannot be written: {error.strerror}.") from error
    return path
