"""`./dmz test`: style, types, import contracts, tests. The closing line is pytest's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from functions.local.layout import CHECKOUT

_TOOLS = (
    ("ruff check", ("ruff", "check", "--quiet")),
    ("ruff format", ("ruff", "format", "--check", "--quiet")),
    ("mypy", ("mypy", "--no-error-summary")),
    ("lint-imports", ("lint-imports", "--no-logo")),
)


def check(pytest_arguments: Sequence[str]) -> int:
    """0 if everything passes. With arguments only pytest runs, with these."""
    failed = [] if pytest_arguments else [name for name, command in _TOOLS if not _passes(name, command)]
    tests = subprocess.run(
        (sys.executable, "-m", "pytest", *pytest_arguments), cwd=CHECKOUT, check=False
    ).returncode
    if failed:
        print(
            f"dmz: these found something to mend: {', '.join(failed)} (their words stand above).",
            file=sys.stderr,
        )
        return 1
    return tests


def _passes(name: str, command: Sequence[str]) -> bool:
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run((program, *command[1:]), cwd=CHECKOUT, capture_output=True, text=True, check=False)
    print(f"{name}: {'passed' if done.returncode == 0 else 'FAILED'}", flush=True)
    if done.returncode:
        print((done.stdout + done.stderr).strip(), flush=True)
    return done.returncode == 0
