"""`./dmz test`: style, types, import contracts, tests. The closing line is pytest's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from functions.local.layout import CHECKOUT

LINT = "lint"
WORKERS_AT_MOST = 4
"""Processes that share the tests. Many of them start a whole platform with its VMs."""
ONCE_MORE_AT_MOST = 20
"""Failed tests that get a second, lonely try (docs/decisions/0014-a-failed-test-runs-once-more-alone.md)."""
_LAST_FAILED = CHECKOUT / ".pytest_cache/v/cache/lastfailed"
_SOME_FAILED = 1
"""pytest's exit code: https://docs.pytest.org/en/stable/reference/exit-codes.html."""
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
    _LAST_FAILED.unlink(missing_ok=True)
    code = _pytest(*workers, "--durations=30", "--durations-min=15", *arguments)
    failed = _failed()
    if arguments or code != _SOME_FAILED or not 0 < len(failed) <= ONCE_MORE_AT_MOST:
        return code
    _say(f"{len(failed)} failed beside other tests; once more, alone:", failed)
    code = _pytest("--last-failed", "--last-failed-no-failures=none", "--tb=short")
    if code == 0:
        _say(
            "These passed only alone: find out what they share with others, or which clock they trust.",
            failed,
        )
    return code


def _pytest(*arguments: str) -> int:
    command = (sys.executable, "-m", "pytest", *arguments)
    return subprocess.run(command, cwd=CHECKOUT, check=False).returncode


def _failed() -> list[str]:
    """Ids of the tests that failed, as pytest's cache has them; none if it has none."""
    with suppress(OSError, ValueError):
        return sorted(json.loads(_LAST_FAILED.read_text()))
    return []


def _say(sentence: str, tests: Sequence[str]) -> None:
    print("\n  ".join((f"dmz: {sentence}", *tests)), file=sys.stderr, flush=True)


def _passes(name: str, command: Sequence[str]) -> bool:
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run((program, *command[1:]), cwd=CHECKOUT, capture_output=True, text=True, check=False)
    print(f"{name}: {'passed' if done.returncode == 0 else 'FAILED'}", flush=True)
    if done.returncode:
        print((done.stdout + done.stderr).strip(), flush=True)
    return done.returncode == 0
