"""HTTP function `console`: pages over Firestore, which it only reads."""

from __future__ import annotations

import functools
import json
import os
import sys
import time

import functions_framework
from werkzeug.wrappers import Request, Response

from functions.console.site import Site
from shared.gcp.readings import FirestoreReadings
from shared.settings import read


def log(message: str) -> None:
    """One line in Cloud Logging's form (https://cloud.google.com/logging/docs/structured-logging)."""
    print(
        json.dumps({"severity": "ERROR", "message": message, "stage": "console"}), file=sys.stderr, flush=True
    )


@functools.cache
def _site() -> Site:
    return Site(FirestoreReadings(read(os.environ, "console").project), time.time, log)


@functions_framework.http
def handle(request: Request) -> Response:
    """One page, or one sentence that says why there is none."""
    return _site().answer(request)
