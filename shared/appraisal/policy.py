"""Reads an appraisal policy from YAML: strict, without a rule that allows everything by being empty.

The values and what each may be stand at shared.model.appraisal.AppraisalPolicy; the policies that come with the project
in shared/data/attestation.
"""

from __future__ import annotations

from pathlib import Path

from shared.model import yaml_file
from shared.model.appraisal import AppraisalPolicy

BUILT_IN = Path(__file__).parent.parent / "data" / "attestation" / "policies"


def read(path: Path) -> AppraisalPolicy:
    """The policy in the YAML file at `path`; Permanent with the mistake and its line."""
    needs = "format, service, image, audience, token_types, hwmodel, swversion_minimum, projects, service_accounts"
    return yaml_file.read(path, AppraisalPolicy, "appraisal policy", needs)


def built_in() -> tuple[str, ...]:
    """Names of the policies that come with the project."""
    return yaml_file.names(BUILT_IN)


def find(name_or_path: str) -> AppraisalPolicy:
    """A policy that comes with the project by name, or the user's own by path."""
    return read(yaml_file.find(name_or_path, BUILT_IN, "appraisal policy"))
