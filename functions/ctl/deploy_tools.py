"""What a deployment needs on the operator's machine, asked for before anything starts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from functions.ctl.deploy_steps import Given

TERRAFORM = (1, 9)
_SECONDS = 120
# https://registry.terraform.io/providers/hashicorp/google/latest/docs/guides/provider_reference#authentication
_TERRAFORMS_OWN = ("GOOGLE_OAUTH_ACCESS_TOKEN", "GOOGLE_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS")


def missing(root: Path, environment: Mapping[str, str], given: Given) -> Iterator[str]:
    """A clause for everything that is not there."""
    builds, asks = not given.image, not given.unproved
    path = environment.get("PATH")
    if not shutil.which("terraform", path=path):
        yield "terraform 1.9 or later (https://developer.hashicorp.com/terraform/install)"
    elif complaint := _old_terraform(environment):
        yield complaint
    if not shutil.which("jq", path=path):
        yield "jq (Debian and Ubuntu: apt-get install jq)"
    if given.committed and not shutil.which("git", path=path):
        yield "git (Debian and Ubuntu: apt-get install git)"
    gcloud = shutil.which("gcloud", path=path)
    own = any(environment.get(name) for name in _TERRAFORMS_OWN)
    if not gcloud and (asks or not own):
        yield "gcloud (https://cloud.google.com/sdk/docs/install)"
    if gcloud and asks and not _answers(environment, "auth", "print-access-token"):
        yield "credentials for gcloud (gcloud auth login)"
    if gcloud and not own and not _answers(environment, "auth", "application-default", "print-access-token"):
        yield "credentials for Terraform (gcloud auth application-default login)"
    if builds and not (root / "cloudbuild.yaml").is_file():
        yield f"cloudbuild.yaml in {root}, or --image"


def _old_terraform(environment: Mapping[str, str]) -> str:
    done = _run(environment, ("terraform", "version", "-json"))
    try:
        said = str(json.loads(done.stdout)["terraform_version"]) if done else ""
    except (ValueError, KeyError, TypeError):
        said = ""
    found = re.match(r"(\d+)\.(\d+)\.", said)
    if found and (int(found[1]), int(found[2])) >= TERRAFORM:
        return ""
    have = f"the one on PATH is {said}" if found else "the one on PATH does not say its version"
    return f"terraform 1.9 or later ({have})"


def _answers(environment: Mapping[str, str], *words: str) -> bool:
    done = _run(environment, ("gcloud", *words, "--quiet"))
    return bool(done and done.returncode == 0)


def _run(environment: Mapping[str, str], words: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            words,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
