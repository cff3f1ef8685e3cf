"""`./dmz test`: style, types, import contracts, tests. The closing line is pytest's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from functions.local.layout import CHECKOUT

LINT = "lint"
WORKERS_AT_MOST = 4
"""Processes that share the tests. Many of them start a whole platform with its VMs."""
_TOOLS = (
    ("ruff check", ("ruff", "check", "--quiet")),
    ("ruff format", ("ruff", "format", "--check", "--quiet")),
    ("mypy", ("mypy", "--no-error-summary")),
    ("lint-imports", ("lint-imports", "--no-logo")),
)


def check(pytest_arguments: Sequence[str]) -> int:
    """0 if everything passes. `lint` alone: all but the tests; with other arguments only pytest runs, with these."""
    lint = [*pytest_arguments] == [LINT]
    failed = (
        [name for name, command in _TOOLS if not _passes(name, command)]
        if lint or not pytest_arguments
        else []
    )
    tests = 0 if lint else _tests(pytest_arguments)
    if failed:
        print(
            f"dmz: these found something to mend: {', '.join(failed)} (their words stand above).",
            file=sys.stderr,
        )
        return 1
    return tests


def _tests(arguments: Sequence[str]) -> int:
    # A file's tests stay with one worker: they share a platform, an emulator or images that took seconds to make.
    workers = ("--numprocesses", str(min(WORKERS_AT_MOST, os.cpu_count() or 1)), "--dist", "loadfile")
    command = (sys.executable, "-m", "pytest", *workers, *arguments)
    return subprocess.run(command, cwd=CHECKOUT, check=False).returncode


def _passes(name: str, command: Sequence[str]) -> bool:
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run((program, *command[1:]), cwd=CHECKOUT, capture_output=True, text=True, check=False)
    print(f"{name}: {'passed' if done.returncode == 0 else 'FAILED'}", flush=True)
    if done.returncode:
        print((done.stdout + done.stderr).strip(), flush=True)
    return done.returncode == 0
