"""Generic repositories: any file, named by package, version and file name, never overwritten.

https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.genericArtifacts/upload
says what the ids may hold and that a conflict "will raise an ALREADY_EXISTS error"; gcloud's --skip-existing looks for
it in the operation, not in the answer to the upload, so that is where it is.
"""

import re
from typing import Any

from shared.emulators.registry.blobs import Staged
from shared.emulators.registry.problems import Problem
from shared.emulators.registry.store import NewFile, Store

_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,254}[A-Za-z0-9])?")
_VERSION = re.compile(r"[a-z0-9]([a-z0-9.-]{0,126}[a-z0-9])?")
# The page allows [a-zA-Z0-9-_.~@]; gcloud's --destination-path adds folders.
_FILENAME = re.compile(r"[A-Za-z0-9_.~@-]+(/[A-Za-z0-9_.~@-]+)*")


def requested(metadata: dict[str, Any]) -> NewFile:
    """The file that the upload's metadata names; 400 if an id is missing or not allowed."""
    package = _checked(metadata, "packageId", _PACKAGE)
    version = _checked(metadata, "versionId", _VERSION)
    filename = _checked(metadata, "filename", _FILENAME)
    if version == "latest":
        raise Problem(400, "Creating a version called latest is not allowed.")
    if {".", ".."} & set(filename.split("/")):
        raise Problem(400, f"filename {filename!r} leaves its folder.")
    return NewFile(f"{package}:{version}:{filename}", package, version, {"filename": filename})


def store_artifact(store: Store, repository: str, new: NewFile, staged: Staged) -> dict[str, Any]:
    """Add the file; returns the GenericArtifact, or raises ALREADY_EXISTS."""
    if store.add(repository, new, staged) is None:
        raise Problem(409, f'file "{new.key}" already exists')
    return {"name": f"{new.package}:{new.version}", "version": new.version}


def _checked(metadata: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = metadata.get(key)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Problem(400, f"Invalid value at '{key}': {value!r} does not match {pattern.pattern}.")
    return value
