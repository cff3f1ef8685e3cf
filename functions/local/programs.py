"""The processes of a platform: what each is called with, and how one sees that it answers."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from functions.local import metadata
from functions.local.children import Program
from functions.local.layout import CHECKOUT, Layout
from functions.local.ports import answers, speaks_http
from functions.local.sdk import Sdk


def sdk_emulators(sdk: Sdk, pubsub: int, firestore: int) -> tuple[Program, ...]:
    """Google's Pub/Sub and Firestore emulators. What they hold is in memory.

    What Pub/Sub held is published again (`functions.local.again`); the records in Firestore are nowhere else.
    """
    return (
        Program("the Pub/Sub emulator", "pubsub", sdk.pubsub(pubsub), lambda: speaks_http(pubsub)),
        Program(
            "the Firestore emulator",
            "firestore",
            sdk.firestore(firestore),
            lambda: speaks_http(firestore),
            restart=False,
        ),
    )


def emulator(
    name: str,
    log: str,
    module: str,
    config: Path,
    port: int,
    *,
    patience: float = 1.0,
    seconds: float = 180.0,
) -> Program:
    """One of the project's own emulators."""
    command = (sys.executable, "-P", "-m", module, "--config", os.fspath(config))
    return Program(
        name, log, command, lambda: answers(port), _python_path(), patience=patience, seconds=seconds
    )


def function(stage: str, source: Path, port: int, metadata_port: int, run: Path, scratch: Path) -> Program:
    """A stage or the console under functions-framework, as on Cloud Run. `run` is for its control socket."""
    framework = (sys.executable, "-P", "-m", "functions.local.under", "functions-framework")
    listen = ("--host", "127.0.0.1", "--port", str(port))
    return Program(
        name=f"the {stage} function",
        log=stage,
        command=(*framework, "--source", os.fspath(source), "--target", "handle", *listen),
        ready=lambda: speaks_http(port),
        environment=_python_path()
        | metadata.environment(metadata_port)
        | {"XDG_RUNTIME_DIR": os.fspath(run), "TMPDIR": os.fspath(scratch)},
        patience=0.3,  # a stage may be killed at any time: that is what claims and outboxes are for
    )


def write_config(layout: Layout, name: str, content: dict[str, Any]) -> Path:
    path = layout.configs / f"{name}.json"
    path.write_text(json.dumps(content, indent=1))
    return path


def _python_path() -> dict[str, str]:
    return {"PYTHONPATH": os.fspath(CHECKOUT)}
