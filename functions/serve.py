"""The services' one entry point: runs, under functions-framework, the stage or the console that the environment names.

`FUNCTION_SOURCE` is `functions/STAGE/main.py`, as functions-framework and Terraform call it; `FUNCTION_TARGET`, if
given, is `handle`; `PORT` is where Cloud Run asks (8080 otherwise).

1. Only a stage that is in the image is started, and only its entry point.
2. Settings are read before a port is open: a revision whose settings are wrong never takes the place of one that works
   (https://cloud.google.com/run/docs/container-contract#startup).
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Permanent
from shared.model.value import printable
from shared.settings import read

FUNCTIONS = Path(__file__).parent
TARGET = "handle"
_SOURCE = re.compile(r"functions/([a-z]+)/main\.py")
_PORT = 8080


@dataclass(frozen=True)
class Service:
    """What is to be served."""

    stage: str
    source: Path
    port: int

    @property
    def signature(self) -> str:
        """As functions-framework calls it: people look at the console, events come to all others."""
        return "http" if self.stage == "console" else "cloudevent"


def stages() -> tuple[str, ...]:
    """Those that are here."""
    return tuple(sorted(path.parent.name for path in FUNCTIONS.glob("*/main.py")))


def service(environment: Mapping[str, str]) -> Service:
    """The service that the environment names; Permanent if it names none, or is not fit for it."""
    source = environment.get("FUNCTION_SOURCE", "")
    found = _SOURCE.fullmatch(source)
    if not found or found[1] not in stages():  # 1
        raise Permanent(
            f"FUNCTION_SOURCE is '{printable(source, 100)}' and must be functions/STAGE/main.py, with one of "
            f"{', '.join(stages())} for STAGE."
        )
    target = environment.get("FUNCTION_TARGET", TARGET)
    if target != TARGET:  # 1
        raise Permanent(f"FUNCTION_TARGET is '{printable(target, 100)}'; a stage's entry point is {TARGET}.")
    port = environment.get("PORT", str(_PORT))
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise Permanent(f"PORT is '{printable(port, 40)}' and must be a port from 1 to 65535.")
    read(environment, found[1])  # 2
    return Service(found[1], FUNCTIONS / found[1] / "main.py", int(port))


def main() -> int:
    """Serves until it is ended; 1 if the environment names nothing that can be served."""
    try:
        wanted = service(os.environ)
    except Permanent as error:
        # Cloud Logging's form: https://cloud.google.com/logging/docs/structured-logging
        print(json.dumps({"severity": "CRITICAL", "message": str(error)}), file=sys.stderr, flush=True)
        return 1
    from functions_framework import create_app
    from functions_framework._http import create_server

    app = create_app(TARGET, str(wanted.source), wanted.signature)  # type: ignore[no-untyped-call]
    server = create_server(app, debug=False)  # type: ignore[no-untyped-call]
    server.run("0.0.0.0", wanted.port)  # noqa: S104 - the container's one port
    return 0


if __name__ == "__main__":
    sys.exit(main())
