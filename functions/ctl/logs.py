"""`./dmz logs`: of a part of the platform of this machine, of a run's VMs, or of a run on Google Cloud."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from functions.ctl.status import checked
from functions.local.layout import Layout
from shared.delivery import ENDED
from shared.errors import DmzError, Inaccessible, Permanent
from shared.model.value import printable

_LINES = 200
_PAUSE = 0.5
_PAUSE_CLOUD = 5.0
_PIECE = 1 << 20
"""Bytes read of a file at once: a guest may write as much as it likes."""


def logs(arguments: argparse.Namespace, layout: Layout) -> int:
    """The exit code."""
    if arguments.project:
        return _on_google_cloud(arguments.name, arguments.project, arguments.follow, arguments.json)
    files = _files(layout, arguments.name)
    if not files and not (arguments.follow and arguments.name.startswith("run-")):
        raise Permanent(_unknown(layout, arguments.name))
    tails: dict[str, Tail] = {}
    _print(tails, files, arguments.json)
    if not arguments.follow:
        return 0
    has_ended = _end_of(layout, arguments.name)
    while True:
        over = has_ended()  # asked first: what is written until the end is printed still
        _print(tails, _files(layout, arguments.name), arguments.json)
        if over:
            return 0
        time.sleep(_PAUSE)


@dataclass
class Tail:
    """One file, read on from where it was left."""

    path: Path
    place: int = 0
    rest: bytes = b""
    """A line whose end is not written yet."""
    begun: bool = field(default=False)

    def lines(self) -> list[str]:
        """What has come since; the first time the last lines of what there is."""
        try:
            size = self.path.stat().st_size
            if size < self.place:  # it was begun anew
                self.place, self.rest = 0, b""
            if not self.begun:
                self.place = max(0, size - _PIECE)
            with self.path.open("rb") as file:
                file.seek(self.place)
                new = file.read(_PIECE)
        except OSError:
            return []
        self.place += len(new)
        *whole, self.rest = (self.rest + new).split(b"\n")
        if len(self.rest) > _PIECE:  # a line that may never end
            whole, self.rest = [*whole, self.rest], b""
        if not self.begun:
            whole = [*whole, self.rest][-_LINES:] if self.rest else whole[-_LINES:]
            self.rest, self.begun = b"", True
        return [printable(line.decode(errors="replace"), 500) for line in whole]


def _files(layout: Layout, name: str) -> dict[str, Path]:
    """Name to file of what is asked for."""
    parts = {path.stem: path for path in layout.logs.glob("*.log")}
    if name in parts:
        return {name: parts[name]}
    consoles = {path.parent.name: path for path in (layout.machines / "vms").glob("*/serial.log")}
    wanted = name.removeprefix("run-")
    return {vm: path for vm, path in sorted(consoles.items()) if wanted and vm.endswith(wanted)}


def _unknown(layout: Layout, name: str) -> str:
    parts = sorted(path.stem for path in layout.logs.glob("*.log"))
    consoles = sorted(path.parent.name for path in (layout.machines / "vms").glob("*/serial.log"))
    known = ", ".join((*parts, *consoles)) or "none yet"
    return f"There is no log '{printable(name, 60)}'; there are: {known}."


def _print(tails: dict[str, Tail], files: Mapping[str, Path], as_json: bool) -> None:
    for name, path in files.items():
        tail = tails.setdefault(name, Tail(path))
        for line in tail.lines():
            if as_json:
                print(json.dumps({"log": name, "line": line}))
            else:
                print(f"{name}: {line}" if len(files) > 1 else line)
    sys.stdout.flush()


def _end_of(layout: Layout, name: str) -> Callable[[], bool]:
    """Whether there is nothing more to follow: the run has ended, or the platform has."""
    from functions.ctl.stored import records
    from functions.local import platform

    if not name.startswith("run-"):
        return lambda: platform.read(layout.platform) is None
    stored = records(layout, "")

    def ended() -> bool:
        if platform.read(layout.platform) is None:
            return True
        try:
            return stored.run(name).get("state") in ENDED
        except DmzError:
            return False  # a store that does not answer is asked again; a run may be about to begin

    return ended


# --- on Google Cloud: what the stages have written, by the operator's own gcloud ---


def _on_google_cloud(name: str, project: str, follow: bool, as_json: bool) -> int:
    run_id = checked(name)
    gcloud = shutil.which("gcloud")
    if not gcloud:
        raise Permanent("There is no gcloud here, by which the log is read: install google-cloud-cli.")
    ended = _run_of(project, run_id) if follow else lambda: True
    last = ""
    seen: set[str] = set()
    while True:
        over = ended()
        for entry in _entries(gcloud, project, run_id, last):
            if (mark := str(entry.get("insertId"))) in seen:
                continue
            seen.add(mark)
            last = max(last, str(entry.get("timestamp", "")))
            print(json.dumps(entry) if as_json else _line(entry), flush=True)
        if over:
            return 0
        time.sleep(_PAUSE_CLOUD)


def query(run_id: str, since: str) -> str:
    """Cloud Logging's filter (https://cloud.google.com/logging/docs/view/logging-query-language)."""
    asked = f'resource.type="cloud_run_revision" AND (jsonPayload.run_id="{run_id}" OR labels.run="{run_id}")'
    return f'{asked} AND timestamp>="{since}"' if since else asked


def _entries(gcloud: str, project: str, run_id: str, since: str) -> Iterator[dict[str, Any]]:
    command = (gcloud, "logging", "read", query(run_id, since), f"--project={project}", "--format=json")
    done = subprocess.run(
        (*command, "--order=asc", "--limit=5000"), capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        said = printable(" ".join(done.stderr.split()), 500)
        raise Inaccessible(f"gcloud could not read the log of {project}: {said}", "said")
    try:
        found = json.loads(done.stdout or "[]")
    except ValueError as error:
        raise Inaccessible(
            f"gcloud's answer about the log of {project} is no JSON: {error}.", "said"
        ) from error
    yield from (entry for entry in found if isinstance(entry, dict))


def _run_of(project: str, run_id: str) -> Callable[[], bool]:
    from shared.gcp.firestore import FirestoreStore

    store = FirestoreStore(project)
    return lambda: (store.get("runs", run_id) or {}).get("state") in ENDED


def _line(entry: Mapping[str, Any]) -> str:
    payload = entry.get("jsonPayload") or {}
    words = (entry.get("timestamp", ""), entry.get("severity", ""), payload.get("stage", ""))
    said = payload.get("message") or entry.get("textPayload") or ""
    return printable(f"{' '.join(str(word) for word in words if word)}: {said}", 2000)
