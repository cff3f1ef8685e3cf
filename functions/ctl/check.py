"""`./dmz test`: style, types, import contracts, tests. The closing line is pytest's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from functions.local.layout import CHECKOUT

LINT = "lint"
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
    return subprocess.run((sys.executable, "-m", "pytest", *arguments), cwd=CHECKOUT, check=False).returncode


def _passes(name: str, command: Sequence[str]) -> bool:
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run((program, *command[1:]), cwd=CHECKOUT, capture_output=True, text=True, check=False)
    print(f"{name}: {'passed' if done.returncode == 0 else 'FAILED'}", flush=True)
    if done.returncode:
        print((done.stdout + done.stderr).strip(), flush=True)
    return done.returncode == 0
