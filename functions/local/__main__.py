"""`python -m functions.local --state DIR`: the platform, in the foreground, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from functions.local.layout import CHECKOUT, KINDS, explained, layout
from functions.local.supervisor import Choice, Supervisor
from shared.errors import DmzError

KEEP = b"k"
"""Sent down the leash: stay up when the other end closes."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m functions.local", description=__doc__)
    parser.add_argument(
        "--state", type=Path, help="state directory (default: DMZ_HOME, else .dmz in the checkout)"
    )
    parser.add_argument(
        "--broker", default="auto", choices=("auto", *KINDS), help="what stands behind Pub/Sub"
    )
    parser.add_argument(
        "--leash", action="store_true", help="end when standard input closes, unless a k came first"
    )
    parser.add_argument(
        "--functions", type=Path, help="where the stages' sources stand (default: this checkout's)"
    )
    arguments = parser.parse_args()
    try:
        places = layout(os.environ, arguments.state)
        sources = arguments.functions or CHECKOUT / "functions"
        supervisor = Supervisor(Choice(places, dict(os.environ), arguments.broker, sources))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: supervisor.stop())
        if arguments.leash:
            threading.Thread(target=_hold_leash, args=(supervisor,), name="leash", daemon=True).start()
        supervisor.run()
    except DmzError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(explained(error), file=sys.stderr)
        return 1
    return 0


def _hold_leash(supervisor: Supervisor) -> None:
    # Not sys.stdin: a thread that waits inside it would keep the interpreter from ending.
    if os.read(0, 1) != KEEP:
        supervisor.stop()


if __name__ == "__main__":
    raise SystemExit(main())
