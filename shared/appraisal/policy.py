"""Reads an appraisal policy from YAML: strict, without a rule that allows everything by being empty.

The values and what each may be stand at shared.model.appraisal.AppraisalPolicy; the policies that come with the project
in shared/data/attestation.
"""

from __future__ import annotations

from pathlib import Path

from shared.errors import Permanent
from shared.model import yaml_file
from shared.model.appraisal import AppraisalPolicy
from shared.model.value import printable

BUILT_IN = Path(__file__).parent.parent / "data" / "attestation" / "policies"


def read(path: Path) -> AppraisalPolicy:
    """The policy in the YAML file at `path`; Permanent with the mistake and its line."""
    needs = "format, service, image, audience, token_types, hwmodel, swversion_minimum, projects, service_accounts"
    return yaml_file.read(path, AppraisalPolicy, "appraisal policy", needs)


def built_in() -> tuple[str, ...]:
    """Names of the policies that come with the project."""
    return tuple(sorted(path.stem for path in BUILT_IN.glob("*.yaml")))


def find(name_or_path: str) -> AppraisalPolicy:
    """A policy that comes with the project by name, or the user's own by path."""
    if name_or_path in built_in():
        return read(BUILT_IN / f"{name_or_path}.yaml")
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or path.exists():
        return read(path)
    raise Permanent(
        f"There is no appraisal policy '{printable(name_or_path, 80)}': give one of {', '.join(built_in())}, "
        "or the path of a policy file."
    )
