"""`./dmz submit`: ask for a run, and, if wanted, wait for its end.

1. The workload is read, and its own wheels are held to their hashes, before anything is sent. 2. The wheels lie in the
staging repository before the run is asked for: its outer VM installs from there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
import uuid

from functions.ctl.inputs import BadInput
from functions.ctl.publishing import LOCAL, publisher
from functions.ctl.stored import UNREACHABLE, Unreachable, records
from functions.local import platform
from functions.local.layout import Layout
from shared.errors import DmzError, Permanent
from shared.events import Event, RunRequested, timestamp
from shared.model.workload import Workload
from shared.ports.registry import Registry

_ID = re.compile(r"[!-~]{1,128}", re.ASCII)


def submit(arguments: argparse.Namespace, layout: Layout) -> int:
    """The exit code; BadInput for what is wrong before anything is published."""
    from functions.ctl.run import prepare

    if arguments.id and not _ID.fullmatch(arguments.id):
        raise BadInput("--id is printable ASCII without spaces, at most 128 characters.")
    try:
        workload, wheels = prepare(arguments.workload)  # 1
    except DmzError as error:
        raise BadInput(str(error)) from error
    if not arguments.project and platform.read(layout.platform) is None:
        print(f"dmz: {_NOT_UP}", file=sys.stderr)
        return UNREACHABLE
    if wheels:  # 2
        repository, registry = _staging(arguments.project, layout)
        for wheel, path in zip(workload.wheels, wheels, strict=True):
            version = wheel.sha256.removeprefix("sha256:")
            registry.upload_generic(repository, "wheels", version, wheel.filename, path)
    event = requested(workload, arguments.id or uuid.uuid4().hex, time.time())
    publisher(arguments.project or LOCAL, layout)(event)
    if not arguments.wait:
        return _printed(arguments.json, event, {})
    from functions.ctl.watching import watched

    if not arguments.json:
        print(event.run_id, flush=True)
    try:
        run = watched(records(layout, arguments.project), event.run_id, layout, bool(arguments.project))
    except Unreachable as error:
        print(f"dmz: {error}", file=sys.stderr)
        return UNREACHABLE
    if arguments.json:
        _printed(True, event, {"state": run.get("state"), "reason": run.get("reason", "")})
    elif run.get("reason"):
        print(f"dmz: {run['reason']}", file=sys.stderr)
    return 0 if run.get("state") == "completed" else 1


def requested(workload: Workload, event_id: str, now: float) -> Event:
    """The event that asks for it."""
    data = RunRequested(workload=workload)
    return Event("run-requested", event_id, "/package-dmz/ctl", timestamp(now), data)


def _printed(as_json: bool, event: Event, more: dict[str, object]) -> int:
    found = {"run_id": event.run_id, "event_id": event.id, **more}
    print(json.dumps(found) if as_json else event.run_id)
    return 0


def _staging(project: str, layout: Layout) -> tuple[str, Registry]:
    """The repository of the workloads' own wheels, and what writes to it."""
    if project:
        from shared.gcp.registry import ArtifactRegistry
        from shared.settings import read

        settings = read({**os.environ, "GOOGLE_CLOUD_PROJECT": project})
        return settings.staging_repository, ArtifactRegistry(settings)
    from functions.ctl.documents import connect

    up = platform.read(layout.platform)
    if up is None:
        raise Permanent(_NOT_UP)
    connection = connect(up)
    return connection.settings.staging_repository, connection.registry


_NOT_UP = "The platform is not up: start it with ./dmz up, or name a deployment with --project."
