"""What the user gives, checked before anything is fetched, made or started: each mistake is one sentence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from functions.local.layout import Layout
from shared.errors import Permanent


class BadInput(Permanent):
    """What was given cannot be used; nothing has begun."""


def check(
    layout: Layout, environment: Mapping[str, str], policy: str, source: str, report: Path | None = None
) -> None:
    """BadInput with the first mistake.

    1. The policy and the advisories can be read. 2. The report can be written. 3. The state directory can be made and
    written to. 4. The DMZ_ variables are right, and the ports that they name are free.
    """
    # They take a second, which ./dmz match need not wait for.
    from functions.local import advisories, platform, supervisor

    try:
        advisories.check(policy, source)  # 1
        if report:
            _check_writable(report)  # 2
        layout.prepare()  # 3
        supervisor.check(environment, is_up=platform.read(layout.platform) is not None)  # 4
    except Permanent as error:
        raise BadInput(str(error)) from error


def _check_writable(path: Path) -> None:
    refused = BadInput(
        f"The report cannot be written to {path}: name a file in a directory that you may write to."
    )
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise refused
    if path.exists() and not os.access(path, os.W_OK):
        raise refused
