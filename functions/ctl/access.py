"""What stands between an operator and a deployment on Google Cloud, in words that say what to do."""

from __future__ import annotations

import re

from functions.ctl.inputs import BadInput
from shared.errors import DmzError, Inaccessible
from shared.model.value import printable
from shared.settings_forms import PROJECT

_WITHOUT_END = re.compile(r"[.!?…]$")


def checked(project: str) -> None:
    """BadInput unless it may be a project's id, as Google's addresses are made of it."""
    if project and not PROJECT.pattern.fullmatch(project):
        raise BadInput(f"'{printable(project, 60)}' is no project's id, like my-dmz-outer.")


def sentence(error: DmzError, project: str) -> str:
    """What happened, and what to do about it."""
    said = str(error)
    said = said if _WITHOUT_END.search(said) else f"{said}."
    return f"{said} {_todo(error.why, project)}".rstrip() if isinstance(error, Inaccessible) else said


def _todo(why: str, project: str) -> str:
    match why:
        case "nobody":
            return "Log in, then try again: gcloud auth application-default login"
        case "forbidden":
            return (
                f"Either there is no project {project}, or you lack the right: `operators` of terraform/outer have it, "
                "by the account that is logged in: gcloud auth application-default login"
            )
        case "absent":
            return (
                f"Is {project} the outer project of a deployment? ./dmz deploy makes what is asked for there."
            )
        case _:
            return ""
