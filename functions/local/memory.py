"""The platform without Google's emulators: this project's twins of the broker and the store."""

from __future__ import annotations

import os
import sys

from functions.local.children import Program
from functions.local.layout import CHECKOUT
from functions.local.ports import answers


def program(port: int) -> Program:
    """The twins and the stages in one process, which is not restarted: it holds everything in memory."""
    command = (sys.executable, "-P", "-m", "functions.local.twins", str(port))
    return Program(
        "the in-memory broker",
        "memory",
        command,
        lambda: answers(port),
        {"PYTHONPATH": os.fspath(CHECKOUT)},
        restart=False,
    )


def environment(address: str) -> dict[str, str]:
    """What leads the command line to the twins."""
    return {"DMZ_MEMORY": address}
