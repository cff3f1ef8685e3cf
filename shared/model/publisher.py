"""Publisher of a file: the identity under which its attestations were signed (PEP 740)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.model.value import Part

_Text = Annotated[str, Field(max_length=500)]


class Publisher(Part):
    """Only what the signing certificate proves: an environment, say, is the index's word alone."""

    kind: Literal["GitHub", "GitLab", "Google", "CircleCI"]
    repository: Annotated[_Text, Field(min_length=1)]
    """OWNER/NAME; of Google the service account, of CircleCI the project's id."""
    workflow: _Text = ""
    """File of the workflow; of CircleCI the pipeline definition's id, of Google empty."""

    def __str__(self) -> str:
        return f"{self.kind} {self.repository}" + (f" ({self.workflow})" if self.workflow else "")
