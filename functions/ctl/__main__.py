"""`python -m functions.ctl`: Ctrl-C ends it without a traceback, from its first moment on."""

from __future__ import annotations

import signal


def start() -> int:
    # While modules are being imported there is nothing to put in order yet.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from functions.ctl.cli import main

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return main()
    except KeyboardInterrupt:  # before main could say so, or while it did
        return 130


if __name__ == "__main__":
    raise SystemExit(start())
