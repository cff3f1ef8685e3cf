"""`./dmz collect`: what no remembered run needs goes out of the private repositories."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from functions.ctl.inputs import BadInput
from functions.ctl.stored import UNREACHABLE, Unreachable
from functions.local import platform
from functions.local.layout import Layout
from shared.errors import DmzError, Transient
from shared.held import collection
from shared.held.collection import Contents, Documents, Garbage, Version
from shared.ports.registry import Registry
from shared.settings import Settings


@dataclass(frozen=True)
class Place:
    """The platform of this machine, or a deployment."""

    documents: Documents
    blobs: Contents
    registry: Registry
    settings: Settings
    clock: Callable[[], float] = time.time


def collect(arguments: argparse.Namespace, layout: Layout) -> int:
    """The exit code; BadInput for what is wrong before anything is read."""
    if not math.isfinite(arguments.days) or not 0 <= arguments.days <= 3650:
        raise BadInput(f"--days is a number of days from 0 to 3650, not {arguments.days}.")
    try:
        return go(_place(arguments, layout), arguments.days, arguments.dry_run, arguments.json)
    except (Unreachable, Transient) as error:
        print(f"dmz: {error}", file=sys.stderr)
        return UNREACHABLE


def go(place: Place, days: float, dry_run: bool, as_json: bool) -> int:
    """Say what goes, and have it go unless `dry_run`; the first that cannot be deleted ends it."""
    found = collection.garbage(
        place.documents, place.blobs, place.registry, place.settings, place.clock(), days
    )
    gone: list[Version] = []
    trouble = ""
    for version in () if dry_run else found.versions:
        try:
            collection.check_still(found, place.documents)
            collection.collect(version, place.documents, place.registry, place.clock())
        except DmzError as error:
            trouble = str(error)
            break
        gone.append(version)
    _print(found, gone, dry_run, as_json, trouble)
    if trouble:
        print(f"dmz: {trouble}", file=sys.stderr)
    return 1 if trouble else 0


def _print(found: Garbage, gone: list[Version], dry_run: bool, as_json: bool, trouble: str) -> None:
    shown = found.versions if dry_run else gone
    if as_json:
        rows = [
            {
                "repository": each.repository,
                "purl": each.purl,
                "files": [file.name for file in each.files],
                "bytes": each.size,
                "came": each.came,
            }
            for each in shown
        ]
        said = {"dry_run": dry_run, "left": len(found.versions) - len(shown), "reason": trouble}
        stays = {"needed": found.needed, "young": found.young, "unknown": found.unknown}
        print(json.dumps({"versions": rows, "stays": stays} | said, indent=1))
        return
    for each in shown:
        print(f"{each.repository}  {each.purl}  {len(each.files)} files, {each.size} bytes")
    verb = "would be deleted" if dry_run else "deleted"
    print(
        f"{len(shown)} versions {verb}, {sum(each.size for each in shown)} bytes. Of the others {found.needed} are "
        f"needed, {found.young} came in lately, and of {found.unknown} nobody has a record."
    )


def _place(arguments: argparse.Namespace, layout: Layout) -> Place:
    # Google's libraries take a second to import: only commands that talk to a platform pay for it.
    if arguments.project:
        from shared.gcp.firestore import FirestoreBlobs, FirestoreStore
        from shared.gcp.registry import ArtifactRegistry

        project = arguments.project
        settings = Settings(
            project=project, inner_project=arguments.inner_project, location=arguments.location
        )
        return Place(FirestoreStore(project), FirestoreBlobs(project), ArtifactRegistry(settings), settings)
    up = platform.read(layout.platform)
    if up is None:
        raise Unreachable(
            "The platform is not up, so its repositories cannot be read: start it with ./dmz up, or name a deployment "
            "with --project."
        )
    from functions.ctl.documents import connect

    there = connect(up)
    return Place(there.documents, there.blobs, there.registry, there.settings)
