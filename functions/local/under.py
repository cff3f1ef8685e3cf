"""Runs a console script of this environment so that whatever it forks dies with it.

functions-framework serves from a process that gunicorn forks; if the parent is killed, that one would go on. The
kernel clears the parent-death signal in a fork (prctl(2), PR_SET_PDEATHSIG), so each fork sets it again.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from importlib.metadata import entry_points

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """`python -m functions.local.under SCRIPT [ARGUMENT...]`"""
    name = sys.argv[1]
    (script,) = entry_points(group="console_scripts", name=name)
    sys.argv = [name, *sys.argv[2:]]
    os.register_at_fork(after_in_child=_die_with_parent)
    sys.exit(script.load()())


if __name__ == "__main__":
    main()
