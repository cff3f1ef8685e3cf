"""A fault that is seeded into the Terraform files: a change of text such as a person makes by mistake or in a hurry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """`old` is replaced by `new`, once, in `file` below terraform/; an empty `old` appends."""

    name: str
    file: str
    old: str
    new: str
    caught_by: str
    """A check of `checks` or `outer_checks`; `terraform` where Terraform itself must refuse."""


SERVICE = "modules/function/service.tf"
SUBSCRIPTIONS = "modules/function/subscriptions.tf"
