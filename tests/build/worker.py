"""A worker of Cloud Build on this machine: steps of cloudbuild.yaml in a workspace, against services on loopback.

Real: the scripts, ./dmz, gcloud, the registry, Pub/Sub's emulator, the image. Stand-ins: Cloud Storage
(tests/ctl/deploy_cloud.py), Cloud KMS (kms.py), the metadata server, and docker, which runs its command on the spot.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from functions.local.layout import CHECKOUT
from tests.build import config

# No container, but what one sees: of the worker's variables those that --env names; what leads to the services on
# loopback only in Cloud Build's own network; the workspace only if it is mounted, else a new folder.
_DOCKER = """#!/usr/bin/env python3
import json, os, subprocess, sys, tempfile

words = sys.argv[1:]
assert words.pop(0) == "run", words
environment = {name: os.environ[name] for name in ("PATH", "HOME", "TOLD") if name in os.environ}
options = []
while words[0].startswith("--"):
    options.append(words.pop(0))
if "--network=cloudbuild" in options:
    environment |= json.loads(os.environ["WORKER_NETWORK"])
for option in options:
    name, _, value = option.partition("=")
    if name == "--env":
        key, _, value = value.partition("=")
        environment[key] = value
stdin = None if "--interactive" in options else subprocess.DEVNULL
with tempfile.TemporaryDirectory() as empty:
    place = os.getcwd() if "--volume=/workspace:/workspace" in options else empty
    sys.exit(subprocess.run(words[1:], cwd=place, env=environment, stdin=stdin).returncode)
"""
_SENT = (".ci", "dmz", "functions", "pyproject.toml", "requirements.txt", "requirements-dev.txt", "shared")
"""Of the checkout, what the steps read."""


@dataclass
class Worker:
    """One build: `role` is its _ROLE, `environment` what leads to the services."""

    workspace: Path
    role: str
    environment: Mapping[str, str]
    substitutions: Mapping[str, str] = field(default_factory=dict)
    build: str = "00000000-0000-0000-0000-000000000001"

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        """A step, as it stands in the file."""
        document = config.read(config.PATH.read_text(encoding="utf-8"))
        step = next(step for step in document["steps"] if step["id"] == name)
        known = config.values(
            document,
            **{
                "PROJECT_ID": "dmz-test",
                "LOCATION": "us-central1",
                "BUILD_ID": self.build,
                "_ROLE": self.role,
            },
            **self.substitutions,
        )
        own = dict(config.expanded(pair, known).split("=", 1) for pair in step.get("env") or [])
        output = self.workspace.parent / f"{self.workspace.name}-{name}"
        output.mkdir(exist_ok=True)
        script = output / "script"
        script.write_text(step["script"])
        script.chmod(0o755)
        return subprocess.run(
            [script],
            cwd=self.workspace,
            env={
                **self.environment,
                **own,
                "BUILDER_OUTPUT": str(output),
                "WORKER_NETWORK": json.dumps(dict(self.environment)),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=580,
            check=False,
        )

    def output(self, name: str) -> str:
        """What the step told the build's result."""
        return (self.workspace.parent / f"{self.workspace.name}-{name}" / "output").read_text()


def workspace(to: Path) -> Path:
    """The sources as they were sent, with this checkout's environment of pinned packages."""
    to.mkdir(parents=True)
    for name in _SENT:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, to / name)
    (to / ".venv").symlink_to(Path(sys.prefix))
    return to


def programs(folder: Path, **more: str) -> str:
    """A PATH with docker as it is here, and others; scripts by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"docker": _DOCKER, **more}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
