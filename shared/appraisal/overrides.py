"""What the VM's operator changed of the container: environment and command."""

from __future__ import annotations

import re
from functools import lru_cache

from shared.appraisal.case import Case, Refused, shown
from shared.model.overrides import forbidden


def environment(case: Case) -> str:
    """Names only are shown: a value may be a secret of the workload's."""
    found = case.container.get("env_override")
    if found is None or found == {}:
        return "none"
    if type(found) is not dict:
        raise Refused(shown(type(found).__name__), "env_override is not an object.")
    allowed = case.policy.env_overrides
    for name, value in found.items():
        if type(value) is not str:
            raise Refused(shown(name), f"{shown(name)} was overridden with a value that is no text.")
        if forbidden(name):
            raise Refused(shown(name), f"{shown(name)} was overridden, which runs code or redirects trust.")
        pattern = allowed.get(name)
        if pattern is None:
            raise Refused(shown(name), f"{shown(name)} was overridden, which the policy does not allow.")
        if not _compiled(pattern).fullmatch(value):
            raise Refused(
                shown(name), f"{shown(name)} was overridden with a value that the policy's pattern refuses."
            )
    return next(iter(found)) if len(found) == 1 else ", ".join(sorted(found))


def command(case: Case) -> str:
    found = case.container.get("cmd_override")
    if found is not None and found != []:
        raise Refused(shown(found), "The image's command was overridden.")
    return "none"


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)
