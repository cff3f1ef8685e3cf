"""The serial console: every step with its time, the output of every command, and the last lines for the report."""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from pathlib import Path

TAIL_LINES = 40
TAIL_BYTES = 8 * 1024
_LINE = 500
# ECMA-48 escape sequences: colours, cursor movement, titles.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")


def clean(text: str) -> str:
    """`text` as it may stand in a log: no control or invisible characters, one line of at most 500 characters.

    A carriage return redraws a line (progress bars): what it overwrote is dropped.
    """
    last = _ESCAPE.sub("", text.rstrip("\r\n")).rpartition("\r")[2]
    return "".join(c if c.isprintable() else " " for c in last[:_LINE]).rstrip()


class Console:
    """Standard output, which a TPU VM shows on its serial port, and a copy in a file."""

    def __init__(self, copy: Path | None = None) -> None:
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)
        self._copy = copy.open("a", encoding="utf-8") if copy else None

    def step(self, text: str) -> None:
        """One line per step, with the time in UTC."""
        self.line(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} dmz: {text}")

    def line(self, text: str) -> None:
        cleaned = clean(text)
        if not cleaned:
            return
        self._lines.append(cleaned)
        for stream in (sys.stdout, self._copy):
            if stream is not None:
                stream.write(cleaned + "\n")
                stream.flush()

    def tail(self) -> str:
        """The last lines, at most 40 and 8 KB."""
        text = "\n".join(self._lines).encode("utf-8", "replace")[-TAIL_BYTES:]
        return text.decode("utf-8", "ignore")
